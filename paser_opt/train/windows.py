"""What UNets are shown in training: windows of the images, anywhere or where f_0 misses most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Grid
from ..data import Part
from ..evaluate import image_probability
from ..models import UNet
from ..patches import IGNORE, patch_size, split_mask

__all__ = ["HARD_SHARE", "Windows", "draw_windows", "flip", "missed"]

HARD_SHARE = 0.8
"""Of the windows of ``crops = "hard"``: those drawn by what f_0 misses. The others lie anywhere."""


@dataclass(frozen=True)
class Windows:
    """Where windows lie in the images of a part."""

    image: Tensor  # (count, 1, 1)
    rows: Tensor  # (count, h, 1)
    columns: Tensor  # (count, 1, w)
    inside: Tensor  # (count, h, w) False beyond the image, where its edge is repeated

    def of(self, maps: Tensor) -> Tensor:
        """Maps (N, C, H, W) → their windows (count, C, h, w)."""
        return maps[self.image, :, self.rows, self.columns].permute(0, 3, 1, 2)

    def of_masks(self, masks: Tensor) -> Tensor:
        """Masks (N, H, W) → their windows (count, h, w); what lies beyond the image is IGNOREd."""
        return masks[self.image, self.rows, self.columns].masked_fill(~self.inside, IGNORE)


def draw_windows(
    part: Part, size: tuple[int, int], count: int, draw: torch.Generator, *, hard: Tensor | None = None
) -> Windows:
    """``count`` windows of ``size`` in the images of ``part``.

    Anywhere; or, with ``hard`` (N, gh, gw), HARD_SHARE of them around a place in a cell of that grid, the cell drawn
    in proportion to it. A window larger than the image repeats its edge, as patches.split() does at run time.
    """
    height, width = part.images.shape[-2:]
    room = (max(height - size[0], 0) + 1, max(width - size[1], 0) + 1)
    image = torch.randint(len(part), (count, 1, 1), generator=draw)
    top = torch.randint(room[0], (count, 1, 1), generator=draw)
    left = torch.randint(room[1], (count, 1, 1), generator=draw)
    if hard is not None:
        rows, columns = hard.shape[1:]
        cell = torch.multinomial(hard.flatten().cpu().double(), count, replacement=True, generator=draw)
        place = torch.rand(2, count, generator=draw)
        h, w = patch_size(height, width, (rows, columns))
        middle = (cell // columns % rows + place[0]) * h, (cell % columns + place[1]) * w
        around = [(at - side / 2).long().clamp(0, most - 1)[:, None, None]
                  for at, side, most in zip(middle, size, room, strict=True)]  # fmt: skip
        chosen = torch.rand(count, 1, 1, generator=draw) < HARD_SHARE
        image = torch.where(chosen, (cell // (rows * columns))[:, None, None], image)
        top, left = torch.where(chosen, around[0], top), torch.where(chosen, around[1], left)
    rows_at, columns_at = top + torch.arange(size[0])[:, None], left + torch.arange(size[1])
    inside = (rows_at < height) & (columns_at < width)
    device = part.images.device
    rows_at, columns_at = rows_at.clamp(max=height - 1), columns_at.clamp(max=width - 1)
    return Windows(image.to(device), rows_at.to(device), columns_at.to(device), inside.to(device))


def flip(draw: torch.Generator, flips: str, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Mirror a whole batch left-right and up-down, all tensors alike, on coins from ``draw``."""
    coins = torch.rand(2, generator=draw) < 0.5
    dims = [dim for dim, coin, kind in ((-1, coins[0], "h"), (-2, coins[1], "v")) if coin and kind in flips]
    return tuple(tensor.flip(dims) for tensor in tensors) if dims and flips != "none" else tensors


@torch.inference_mode()
def missed(screen: UNet, part: Part, weight: Tensor, *, grid: Grid, precision: str) -> Tensor:
    """What f_0, ``screen``, misses in each cell of ``grid``: its weighted cross-entropy there, (N, gh, gw).

    ``weight`` (classes,) of the cross-entropy. Where it misses nothing at all, every cell counts the same.
    """
    found = []
    for image, mask in zip(part.images, part.masks, strict=True):
        probability = image_probability(screen, image[None], samples=0, precision=precision, seed=0)
        log = probability.clamp_min(1e-6).log()
        loss = F.nll_loss(log, mask[None].long(), weight, ignore_index=IGNORE, reduction="none")  # (1, H, W)
        counted = split_mask(mask[None], grid) != IGNORE  # padding, too, counts nowhere
        found.append((split_mask(loss, grid) * counted).sum(dim=(-2, -1)).reshape(grid))
    return torch.stack(found) + 1e-6
