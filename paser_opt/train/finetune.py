"""Stage 4: adapt f_i to the patches of D_FT that the policy sends to it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import Grid, TrainConfig
from ..data import SegmentationData
from ..evaluate import data_iou, patch_confusions
from ..models import UNet
from ..patches import IGNORE, split, split_mask
from ..progress import Progress
from .loop import History, class_weights, fit, pixel_loss
from .windows import flip

__all__ = ["FEWEST", "finetune"]

FEWEST = 8
"""Fewer routed patches than this cannot be learnt from; the model stays as it is."""


def finetune(
    model: UNet,
    route: Tensor,
    val_route: Tensor,
    data: SegmentationData,
    config: TrainConfig,
    *,
    grid: Grid,
    halo: int,
    name: str,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> History:
    """Train f_i in place on its patches: ``route`` (N, P) of D_FT and ``val_route`` of val are True where it is sent.

    A fresh optimiser at its own learning rate. The model as it came is a candidate, so on the val patches sent to
    it the result is never worse. Where fewer than FEWEST patches of either set are sent, nothing is trained.
    """
    if min(int(route.sum()), int(val_route.sum())) < FEWEST:
        return []
    part, val = data.finetune.to(device), data.val.to(device)
    weight = class_weights(part.masks, data.classes, config.class_weights).to(device)
    tiles = split(part.images, grid, halo)[route.to(device)]  # (K, C, h + 2·halo, w + 2·halo)
    masks = torch.nn.functional.pad(split_mask(part.masks, grid)[route.to(device)], (halo,) * 4, value=IGNORE)
    val_tiles = split(val.images, grid, halo)[val_route.to(device)][:, None]
    val_masks = split_mask(val.masks, grid)[val_route.to(device)][:, None]

    def loss_of_batch(draw: torch.Generator) -> Tensor:
        chosen = torch.randint(len(tiles), (min(config.pretrain_batch, len(tiles)),), generator=draw).to(device)
        images, labels = flip(draw, data.flips, tiles[chosen], masks[chosen])
        return pixel_loss(model(images), labels, weight)

    def score() -> float:
        hard, _ = patch_confusions(model, val_tiles, val_masks, data.classes, halo=halo, precision=config.precision)
        return data_iou(hard[:, 0])

    return fit(
        model,
        loss_of_batch,
        stage=f"fine-tune {name}",
        epochs=config.finetune_epochs,
        steps=-(-len(tiles) // config.pretrain_batch),
        learning_rate=config.finetune_learning_rate,
        config=config,
        device=device,
        seed=seed,
        progress=progress,
        score=score,
        keep_start=True,
    ).history
