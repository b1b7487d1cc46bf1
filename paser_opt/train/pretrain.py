"""Stage 1: train f_1 … f_m on patches of D_PT with class-weighted cross-entropy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Grid, TrainConfig
from ..data import Part, SegmentationData
from ..evaluate import data_iou, patch_confusions
from ..models import UNet
from ..patches import IGNORE, patch_size, split, split_mask
from ..progress import Progress
from .loop import WHOLE, Fitted, Span, class_weights, fit, pixel_loss

__all__ = ["flip", "pretrain", "sample_patches"]


def flip(draw: torch.Generator, flips: str, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Mirror a whole batch left-right and up-down, all tensors alike, on coins from ``draw``."""
    coins = torch.rand(2, generator=draw) < 0.5
    dims = [dim for dim, coin, kind in ((-1, coins[0], "h"), (-2, coins[1], "v")) if coin and kind in flips]
    return tuple(tensor.flip(dims) for tensor in tensors) if dims and flips != "none" else tensors


def sample_patches(part: Part, size: tuple[int, int], count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """``count`` windows anywhere in the images: (count, C, h, w) and masks (count, h, w)."""
    height, width = part.images.shape[-2:]
    image = torch.randint(len(part), (count, 1, 1), generator=draw)
    top = torch.randint(max(height - size[0], 0) + 1, (count, 1, 1), generator=draw)
    left = torch.randint(max(width - size[1], 0) + 1, (count, 1, 1), generator=draw)
    # A window larger than the image repeats its edge, as split() does at run time; no loss is taken there.
    rows, columns = top + torch.arange(size[0])[:, None], left + torch.arange(size[1])
    inside = (rows < height) & (columns < width)
    rows, columns = rows.clamp(max=height - 1), columns.clamp(max=width - 1)
    device = part.images.device
    image, rows, columns = image.to(device), rows.to(device), columns.to(device)
    masks = part.masks[image, rows, columns].masked_fill(~inside.to(device), IGNORE)
    return part.images[image, :, rows, columns].permute(0, 3, 1, 2), masks


def pretrain(
    model: UNet,
    data: SegmentationData,
    config: TrainConfig,
    *,
    grid: Grid,
    halo: int,
    name: str,
    seed: int,
    device: torch.device,
    progress: Progress,
    span: Span = WHOLE,
) -> Fitted:
    """Train one f_i (i ≥ 1) in place, or a ``span`` of it; the best epoch on the val patches is kept.

    Training windows have the extent the model meets at run time, halo included: instance norm takes its
    statistics over that extent.
    """
    part, val = data.pretrain.to(device), data.val.to(device)
    h, w = patch_size(data.height, data.width, grid)
    size = (h + 2 * halo, w + 2 * halo)
    weight = class_weights(part.masks, data.classes, config.class_weights).to(device)
    patches = grid[0] * grid[1]
    tiles = tile_masks = None
    if config.crops == "grid":
        tiles = split(part.images, grid, halo).flatten(0, 1)
        tile_masks = split_mask(part.masks, grid).flatten(0, 1)

    def loss_of_batch(draw: torch.Generator) -> Tensor:
        if tiles is not None and tile_masks is not None:
            chosen = torch.randint(len(tiles), (config.pretrain_batch,), generator=draw).to(device)
            images, masks = tiles[chosen], F.pad(tile_masks[chosen], (halo,) * 4, value=IGNORE)
        else:
            images, masks = sample_patches(part, size, config.pretrain_batch, draw)
        images, masks = flip(draw, data.flips, images, masks)
        return pixel_loss(model(images), masks, weight)

    val_tiles, val_masks = split(val.images, grid, halo), split_mask(val.masks, grid)

    def score() -> float:
        hard, _ = patch_confusions(model, val_tiles, val_masks, data.classes, halo=halo, precision=config.precision)
        return data_iou(hard.sum(dim=1))

    return fit(
        model,
        loss_of_batch,
        stage=f"pretrain {name}",
        epochs=config.pretrain_epochs,
        steps=-(-len(part) * patches // config.pretrain_batch),
        learning_rate=config.learning_rate,
        config=config,
        device=device,
        seed=seed,
        progress=progress,
        score=score,
        span=span,
    )
