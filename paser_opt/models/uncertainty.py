"""Monte-Carlo dropout with masks that are drawn once, so that a deployed pipeline gives what was evaluated."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .unet import UNet

__all__ = ["FixedDropout", "MonteCarlo", "class_probability"]

TILE = 32
"""Pixels after which a mask repeats: it stays small in a bundle, whatever the size of the images."""


class FixedDropout(nn.Module):
    """S dropout masks of one layer, the same for every image: x (S·N, C, h, w), sample by sample → the same shape."""

    def __init__(self, samples: int, channels: int, rate: float, draw: torch.Generator) -> None:
        super().__init__()
        kept = torch.rand(samples, 1, channels, TILE, TILE, generator=draw) >= rate
        # Persistent: the exporter takes any other buffer for a constant and unfolds it to the size of the image.
        self.register_buffer("mask", kept.float() / (1 - rate))
        self.mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        height, width = int(x.shape[-2]), int(x.shape[-1])
        mask = self.mask.repeat(1, 1, 1, -(-height // TILE), -(-width // TILE))[..., :height, :width]
        by_sample = x.reshape(len(mask), -1, *x.shape[1:])  # (S, N, C, h, w)
        return (by_sample * mask.to(x.dtype)).flatten(0, 1)


class MonteCarlo(nn.Module):
    """p̄ of f_0: images (N, C, H, W) → class probabilities (N, K, H, W), the mean of ``samples`` dropout passes.

    The passes are one batch; 0: one deterministic pass. The mean is taken at the scale that f_0 works at and brought
    to the size of the image once, which costs less than softmax over every pixel of every pass. ``seed`` gives the
    masks, on any device. The model, in eval mode, is shared and left as it is.
    """

    def __init__(self, model: UNet, samples: int, seed: int) -> None:
        super().__init__()
        self.samples = samples
        self.model = _with_masks(model, samples, seed) if samples else model

    def forward(self, images: Tensor) -> Tensor:
        passes = images.repeat(self.samples, 1, 1, 1) if self.samples else images
        probability = class_probability(self.model.coarse(passes).float())  # (S·N, K, h, w)
        if self.samples:
            probability = probability.reshape(self.samples, -1, *probability.shape[1:]).mean(dim=0)
        return self.model.full(probability, images)


def class_probability(logits: Tensor) -> Tensor:
    """Softmax over the classes of (N, K, h, w). ONNX Runtime's takes several times as long on a CPU, over a dimension
    that is not the last, as its parts do (benchmarks/patch_kernels.py)."""
    if not torch.onnx.is_in_onnx_export():
        return torch.softmax(logits, dim=1)
    power = (logits - logits.amax(dim=1, keepdim=True)).exp()
    return power * (1 / power.sum(dim=1, keepdim=True))


def _with_masks(model: UNet, samples: int, seed: int) -> UNet:
    """The same weights with other dropout layers."""
    draw = torch.Generator().manual_seed(seed)
    rate = model.config.dropout
    other = copy.copy(model)
    other._modules = dict(model._modules)
    other.drops = nn.ModuleList(FixedDropout(samples, channels, rate, draw) for channels in model.drop_channels)
    return other.to(model.head.weight.device)
