"""Stage 2: train f_0 on whole images of D_PT against labels and the stitched logits of f_m."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Grid, TrainConfig
from ..data import SegmentationData
from ..evaluate import data_iou, image_probability
from ..models import UNet, autocast
from ..patches import confusion, hard_labels, split, stitch
from ..progress import Progress
from .loop import WHOLE, Fitted, Span, class_weights, fit, pixel_loss
from .pretrain import flip

__all__ = ["distill", "teacher_logits"]


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
) -> Fitted:
    """Train f_0 in place, or a ``span`` of it, on (1 − β)·CE + β·D(f_0, f_m); the best epoch on val is kept.

    ``teacher`` holds f_m's logits (N, K, H, W) of D_PT, or None where β = 0. D is the mean squared error of the
    logits, or KL at a temperature T, scaled by T² (Hinton et al. 2015).
    """
    part, val = data.pretrain.to(device), data.val.to(device)
    weight = class_weights(part.masks, data.classes, config.class_weights).to(device)
    target = teacher.to(device) if teacher is not None else None

    def loss_of_batch(draw: torch.Generator) -> Tensor:
        chosen = torch.randint(len(part), (min(config.distill_batch, len(part)),), generator=draw).to(device)
        batch = [part.images[chosen], part.masks[chosen]]
        if target is not None:
            batch.append(target[chosen])
        images, masks, *teachers = flip(draw, data.flips, *batch)
        logits = student(images).float()
        loss = (1 - distill_weight) * pixel_loss(logits, masks, weight)
        if teachers:
            loss = loss + distill_weight * _distance(logits, teachers[0].float(), config)
        return loss

    def score() -> float:
        probability = image_probability(student, val.images, samples=0, precision=config.precision, seed=0)
        return data_iou(confusion(hard_labels(probability), val.masks, data.classes))

    return fit(
        student,
        loss_of_batch,
        stage="distill f_0",
        epochs=config.distill_epochs,
        steps=-(-len(part) // config.distill_batch),
        learning_rate=config.learning_rate,
        config=config,
        device=device,
        seed=seed,
        progress=progress,
        score=score,
        span=span,
    )


def _distance(logits: Tensor, teacher: Tensor, config: TrainConfig) -> Tensor:
    if config.distill_loss == "mse":
        return F.mse_loss(logits, teacher)
    warm = config.temperature
    log_student, log_teacher = F.log_softmax(logits / warm, dim=1), F.log_softmax(teacher / warm, dim=1)
    per_pixel = F.kl_div(log_student, log_teacher, log_target=True, reduction="none").sum(dim=1)
    return per_pixel.mean() * warm**2
