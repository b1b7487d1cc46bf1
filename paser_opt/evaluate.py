"""What models make of labelled data: confusion matrices per patch, IoU from them, intervals over images.

The rule for IoU, stated once: a class counts where the truth or the prediction has a pixel of it. The *data-set
IoU* is the mean over classes of the IoU of the confusion matrix summed over images; the *image IoU* is the mean
over images of each image's own. Pixels of IGNORE count nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .models import MonteCarlo, UNet, autocast
from .patches import IGNORE, Grid, confusion, hard_labels, split_mask

__all__ = [
    "bootstrap",
    "class_iou",
    "data_iou",
    "image_confusions",
    "image_iou",
    "image_probability",
    "never_predicted",
    "patch_confusions",
    "resampled_iou",
    "soft_confusion",
    "whole_confusions",
]


# --- running models -----------------------------------------------------------------------------------


def _chunks(count: int, pixels: int, device: torch.device) -> Iterator[slice]:
    """Slices of a batch that stay in a CPU's cache, or fill a GPU."""
    size = max(1, (2**17 if device.type == "cpu" else 2**22) // pixels)
    return (slice(start, start + size) for start in range(0, count, size))


@torch.inference_mode()
def image_probability(model: UNet, images: Tensor, *, samples: int, precision: str, seed: int) -> Tensor:
    """p̄ of f_0 for images (N, C, H, W) → (N, K, H, W) float32; ``seed`` of the dropout masks."""
    if not len(images):
        return images.new_zeros(0, model.config.classes, *images.shape[-2:])
    pixels = images[0, 0].numel() * max(samples, 1)
    probability = MonteCarlo(model, samples, seed)
    with autocast(precision, images.device):
        return torch.cat([probability(images[part]).float() for part in _chunks(len(images), pixels, images.device)])


@torch.inference_mode()
def image_confusions(model: UNet, images: Tensor, masks: Tensor, *, precision: str) -> Tensor:
    """One UNet on whole images in one plain pass: images (N, C, H, W), masks (N, H, W) → (N, K, K)."""
    chunks = _chunks(len(images), images[0, 0].numel(), images.device)
    probability = (image_probability(model, images[part], samples=0, precision=precision, seed=0) for part in chunks)
    labels = torch.cat([hard_labels(one) for one in probability])
    return confusion(labels, masks, model.config.classes)


@torch.inference_mode()
def patch_confusions(
    model: nn.Module, tiles: Tensor, masks: Tensor, classes: int, *, halo: int, precision: str
) -> tuple[Tensor, Tensor]:
    """One f_i on every patch: tiles (N, P, C, h, w), masks (N, P, h, w) → hard and soft (N, P, K, K)."""
    flat, truth = tiles.flatten(0, 1), masks.flatten(0, 1)
    hard, soft = [], []
    for part in _chunks(len(flat), flat[0, 0].numel(), flat.device):
        with autocast(precision, flat.device):
            logits = model(flat[part])
        if halo:
            logits = logits[..., halo:-halo, halo:-halo]
        probability = torch.softmax(logits.float(), dim=1)
        hard.append(confusion(hard_labels(probability), truth[part], classes))
        soft.append(soft_confusion(probability, truth[part]))
    shape = (*masks.shape[:2], classes, classes)
    return torch.cat(hard).reshape(shape), torch.cat(soft).reshape(shape)


def whole_confusions(probability: Tensor, masks: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """f_0's share of each patch: probability (N, K, H, W), masks (N, H, W) → hard and soft (N, P, K, K)."""
    classes = probability.shape[1]
    truth = split_mask(masks, grid)
    # Padding is IGNOREd by the truth, so what the prediction holds there does not matter.
    labels = split_mask(hard_labels(probability), grid).clamp(max=classes - 1)
    planes = torch.stack([split_mask(plane, grid) for plane in probability.unbind(dim=1)], dim=2)  # (N, P, K, h, w)
    soft = soft_confusion(planes.flatten(0, 1), truth.flatten(0, 1))
    return confusion(labels, truth, classes), soft.reshape(*truth.shape[:2], classes, classes)


def soft_confusion(probability: Tensor, truth: Tensor) -> Tensor:
    """(N, K, h, w) probabilities, (N, h, w) truth → (N, K, K) expected confusion, row = truth."""
    counted = (truth != IGNORE).unsqueeze(-1)
    one_hot = F.one_hot(truth.long().clamp(max=probability.shape[1] - 1), probability.shape[1]) * counted
    return torch.einsum("nhwt,nphw->ntp", one_hot.to(probability.dtype), probability)


# --- IoU ----------------------------------------------------------------------------------------------


def class_iou(matrix: Tensor) -> Tensor:
    """Confusion matrices (…, K, K) → IoU of each class (…, K), NaN where neither truth nor prediction has it."""
    matrix = matrix.cpu().double()
    hit = matrix.diagonal(dim1=-2, dim2=-1)
    union = matrix.sum(dim=-1) + matrix.sum(dim=-2) - hit
    return torch.where(union > 0, hit / union, torch.nan)


def data_iou(matrices: Tensor) -> float:
    """Data-set IoU of confusion matrices per image (N, K, K)."""
    return class_iou(matrices.sum(dim=0)).nanmean().item()


def never_predicted(matrices: Tensor) -> int:
    """Classes that the truth of all images (N, K, K) has and that are predicted nowhere."""
    total = matrices.sum(dim=0)
    return int(((total.sum(dim=-1) > 0) & (total.sum(dim=-2) == 0)).sum())


def image_iou(matrices: Tensor) -> Tensor:
    """IoU of each image: (N, K, K) → (N,)."""
    return class_iou(matrices).nanmean(dim=-1)


def bootstrap(
    matrices: Tensor, other: Tensor | None = None, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval over images of the data-set IoU of (N, K, K), or of its difference to ``other``'s.

    The same resampled images serve both sides, so the interval is paired; the ratio is recomputed in each
    resample. ``other`` may be (R, N, K, K): R draws of a random baseline, whose mean IoU is taken.
    """
    count = len(matrices)
    drawn = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(seed))
    weight = torch.zeros(resamples, count, dtype=torch.float64)
    weight.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    value = resampled_iou(weight, matrices)
    if other is not None:
        draws = other if other.dim() == 4 else other[None]
        value = value - torch.stack([resampled_iou(weight, one) for one in draws]).mean(dim=0)
    low, high = torch.quantile(value, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def resampled_iou(weight: Tensor, matrices: Tensor) -> Tensor:
    """Data-set IoU (B,) with image n counted ``weight[b, n]`` times: weight (B, N) float64, matrices (N, K, K)."""
    return class_iou(torch.einsum("bn,nij->bij", weight, matrices.cpu().double())).nanmean(dim=-1)
