"""What f_0's result says about each patch, cheaply enough to be asked of every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..config import Grid, PolicyConfig
from ..patches import sampled

__all__ = ["FEATURES", "STRIDE", "Describe", "Features", "patch_means"]

Features = dict[str, Tensor]
"""Name → mean over each patch (N, P, channels of the map)."""

STRIDE = PolicyConfig().stride
"""Least side of the cells of which one pixel is read: rules are given what policies get by default, as cheaply."""


def _entropy(probability: Tensor) -> Tensor:
    return -(probability * probability.clamp_min(1e-12).log()).sum(dim=1, keepdim=True)


def _margin(probability: Tensor) -> Tensor:
    top = probability.topk(2, dim=1).values
    return top[:, :1] - top[:, 1:]


FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    "entropy": _entropy,  # of f_0's class probabilities, nats
    "margin": _margin,  # highest less second highest class probability
}
"""Name → map (N, 1, h, w) of class probabilities (N, K, h, w)."""


def patch_means(maps: Tensor, grid: Grid) -> Tensor:
    """Maps (N, D, h, w) of whole cells, as :func:`paser_opt.patches.sampled` gives them → mean inside each patch
    (N, P, D)."""
    inside = int(maps.shape[-2]) // grid[0], int(maps.shape[-1]) // grid[1]
    return F.avg_pool2d(maps, inside).flatten(2).transpose(1, 2)


class Describe(nn.Module):
    """Images (N, C, H, W) and f_0's class probabilities (N, K, H, W) → the named features of every patch."""

    def __init__(self, grid: Grid, names: Sequence[str] = tuple(FEATURES)) -> None:
        super().__init__()
        self.grid, self.names = grid, tuple(names)

    def forward(self, images: Tensor, probability: Tensor) -> Features:
        seen = sampled(probability, self.grid, STRIDE)
        return {name: patch_means(FEATURES[name](seen), self.grid) for name in self.names}
