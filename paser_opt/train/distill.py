"""Stage 2: train f_0 on images of D_PT, whole or in windows, against labels and the stitched logits of f_m."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Grid, TrainConfig, UNetConfig
from ..data import SegmentationData
from ..errors import DivergedError
from ..evaluate import data_iou, image_confusions
from ..models import UNet, autocast
from ..patches import patch_size, split, stitch
from ..progress import Progress
from .artifacts import ArtifactStore
from .loop import WHOLE, Fitted, Span, class_weights, fit, pixel_loss
from .windows import draw_windows, flip, missed

__all__ = ["HARD_CELLS", "distill", "distill_key", "teacher_logits"]

HARD_CELLS = (8, 8)
"""Cells of an image, in proportion to whose misses windows are drawn with ``screen_crops = "hard"``."""


def distill_key(
    store: ArtifactStore,
    common: Mapping[str, object],
    model: UNetConfig,
    training: TrainConfig,
    *,
    distill_weight: float = 0.0,
    teacher: str = "",
) -> str:
    """What an f_0 depends on. ``common``: data and seed; ``teacher``: key of the logits, where β > 0."""
    fields = (
        "distill_epochs", "distill_batch", "windows", "learning_rate", "weight_decay", "class_weights", "precision",
        *(("distill_loss", "temperature") if distill_weight > 0 else ()),
        *(("screen_crops",) if training.screen_crops == "hard" else ()),
    )  # fmt: skip
    return store.key(
        "distill", **common, model=model.model_dump(), distill_weight=distill_weight, teacher=teacher,
        **{name: getattr(training, name) for name in fields},
    )  # fmt: skip


@torch.inference_mode()
def teacher_logits(teacher: UNet, images: Tensor, *, grid: Grid, halo: int, precision: str) -> Tensor:
    """f_m on every patch, stitched: images (N, C, H, W) → logits (N, K, H, W) float16. Made once, no gradients."""
    stitched = []
    for image in torch.tensor_split(images, len(images)):
        with autocast(precision, images.device):
            logits = teacher(split(image, grid, halo)[0])  # (P, K, h + 2·halo, w + 2·halo)
        if halo:
            logits = logits[..., halo:-halo, halo:-halo]
        stitched.append(stitch(logits[None], grid, *image.shape[-2:]).half())
    return torch.cat(stitched)


def distill(
    student: UNet,
    teacher: Tensor | None,
    data: SegmentationData,
    config: TrainConfig,
    *,
    distill_weight: float,
    seed: int,
    device: torch.device,
    progress: Progress,
    span: Span = WHOLE,
    stage: str = "distill f_0",
) -> Fitted:
    """Train f_0 in place, or a ``span`` of it, on (1 − β)·CE + β·D(f_0, f_m); the best epoch on val is kept.

    It trains on windows (``config.windows``; 1 × 1: whole images) and is scored on whole images.

    ``teacher`` holds f_m's logits (N, K, H, W) of D_PT, or None where β = 0. D is the mean squared error of the
    logits, or KL at a temperature T, scaled by T² (Hinton et al. 2015).

    With ``screen_crops = "hard"`` most windows lie where it misses most, looked up before each epoch but the first.
    """
    part, val = data.pretrain.to(device), data.val.to(device)
    weight = class_weights(part.masks, data.classes, config.class_weights).to(device)
    target = teacher.to(device) if teacher is not None else None
    size = patch_size(data.height, data.width, config.windows)
    tiling = config.windows[0] * config.windows[1]
    misses: Tensor | None = None

    def look_again() -> None:
        nonlocal misses
        if config.screen_crops == "hard":
            misses = missed(student, part, weight, grid=HARD_CELLS, precision=config.precision)
            if not misses.isfinite().all():
                raise DivergedError(f"{stage} diverged: what it misses has no number; lower the learning rate")

    def loss_of_batch(draw: torch.Generator) -> Tensor:
        windows = draw_windows(part, size, config.distill_batch, draw, hard=misses)
        batch = [windows.of(part.images), windows.of_masks(part.masks)]
        if target is not None:
            batch.append(windows.of(target))
        images, masks, *teachers = flip(draw, data.flips, *batch)
        logits = student(images).float()
        loss = (1 - distill_weight) * pixel_loss(logits, masks, weight)
        if teachers:
            loss = loss + distill_weight * _distance(logits, teachers[0].float(), config)
        return loss

    def score() -> float:
        return data_iou(image_confusions(student, val.images, val.masks, precision=config.precision))

    return fit(
        student,
        loss_of_batch,
        stage=stage,
        epochs=config.distill_epochs,
        steps=-(-len(part) * tiling // config.distill_batch),
        learning_rate=config.learning_rate,
        config=config,
        device=device,
        seed=seed,
        progress=progress,
        score=score,
        span=span,
        between=look_again,
    )


def _distance(logits: Tensor, teacher: Tensor, config: TrainConfig) -> Tensor:
    if config.distill_loss == "mse":
        return F.mse_loss(logits, teacher)
    warm = config.temperature
    log_student, log_teacher = F.log_softmax(logits / warm, dim=1), F.log_softmax(teacher / warm, dim=1)
    per_pixel = F.kl_div(log_student, log_teacher, log_target=True, reduction="none").sum(dim=1)
    return per_pixel.mean() * warm**2
