"""Stage 1: train f_1 … f_m on patches of D_PT with class-weighted cross-entropy."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Grid, TrainConfig
from ..data import SegmentationData
from ..evaluate import data_iou, patch_confusions
from ..models import UNet
from ..patches import IGNORE, patch_size, split, split_mask
from ..progress import Progress
from .loop import WHOLE, Fitted, Span, class_weights, fit, pixel_loss
from .windows import draw_windows, flip, missed

__all__ = ["begin_as", "pretrain"]


@torch.no_grad()
def begin_as(model: UNet, screen: UNet) -> bool:
    """Give ``model`` the weights of ``screen``, where base, depth and norm are the same; whether they are.

    Features learnt at one scale are a better start at another than none (fine-tuning from coarse to fine). What
    ``model`` sees beyond the image, f_0's probabilities, counts nothing at first.
    """
    ours, theirs = model.config, screen.config
    if (ours.base, ours.depth, ours.norm) != (theirs.base, theirs.depth, theirs.norm):
        return False
    state = dict(screen.state_dict())
    stem = torch.zeros_like(model.stem.weight)
    stem[:, : theirs.in_channels] = state["stem.weight"]
    model.load_state_dict({**state, "stem.weight": stem})
    return True


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
    screen: UNet | None = None,
) -> Fitted:
    """Train one f_i (i ≥ 1) in place, or a ``span`` of it; the best epoch on the val patches is kept.

    Training windows have the extent the model meets at run time, halo included: instance norm takes its
    statistics over that extent. ``screen`` is f_0, by which ``crops = "hard"`` chooses windows, and with which
    ``start = "screen"`` begins: it sees the channels of the image, which come first.
    """
    part, val = data.pretrain.to(device), data.val.to(device)
    h, w = patch_size(data.height, data.width, grid)
    size = (h + 2 * halo, w + 2 * halo)
    weight = class_weights(part.masks, data.classes, config.class_weights).to(device)
    patches = grid[0] * grid[1]
    tiles = tile_masks = hard = None
    if config.start == "screen":
        assert screen is not None
        begin_as(model, screen)
    if config.crops == "hard":
        assert screen is not None
        image = replace(part, images=part.images[:, : screen.config.in_channels])
        hard = missed(screen, image, weight, grid=grid, precision=config.precision)
    if config.crops == "grid":
        tiles = split(part.images, grid, halo).flatten(0, 1)
        tile_masks = split_mask(part.masks, grid).flatten(0, 1)

    def loss_of_batch(draw: torch.Generator) -> Tensor:
        if tiles is not None and tile_masks is not None:
            chosen = torch.randint(len(tiles), (config.pretrain_batch,), generator=draw).to(device)
            images, masks = tiles[chosen], F.pad(tile_masks[chosen], (halo,) * 4, value=IGNORE)
        else:
            windows = draw_windows(part, size, config.pretrain_batch, draw, hard=hard)
            images, masks = windows.of(part.images), windows.of_masks(part.masks)
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
