"""What f_0's result and the image say about each patch, cheaply enough to be asked of every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..config import Grid
from ..patches import hard_labels, pad_to_grid

__all__ = ["FEATURES", "Describe", "Features", "patch_means"]

Features = dict[str, Tensor]
"""Name → mean over each patch (N, P, channels of the map)."""


def _entropy(images: Tensor, probability: Tensor) -> Tensor:
    return -(probability * probability.clamp_min(1e-12).log()).sum(dim=1, keepdim=True)


def _margin(images: Tensor, probability: Tensor) -> Tensor:
    top = probability.topk(2, dim=1).values
    return top[:, :1] - top[:, 1:]


def _boundary(images: Tensor, probability: Tensor) -> Tensor:
    return _steps(hard_labels(probability)[:, None]).ne(0).to(probability.dtype)


def _gradient(images: Tensor, probability: Tensor) -> Tensor:
    return _steps(images.mean(dim=1, keepdim=True))


def _steps(maps: Tensor) -> Tensor:
    """|difference| to the pixel below plus that to the pixel on the right, 0 at the edge: (N, 1, H, W)."""
    maps = maps.float()
    # Slices, not diff(), which ONNX lacks.
    down = (maps[..., 1:, :] - maps[..., :-1, :]).abs()
    right = (maps[..., 1:] - maps[..., :-1]).abs()
    return F.pad(down, (0, 0, 0, 1)) + F.pad(right, (0, 1))


FEATURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "entropy": _entropy,  # of f_0's class probabilities, nats
    "margin": _margin,  # highest less second highest class probability
    "probability": lambda images, probability: probability,
    "boundary": _boundary,  # where f_0's label changes
    "gradient": _gradient,  # edge density of the image
    "brightness": lambda images, probability: images,
    "energy": lambda images, probability: images.square().mean(dim=1, keepdim=True),
}
"""Name → map (N, channels, H, W) of images (N, C, H, W) and class probabilities (N, K, H, W)."""


def patch_means(maps: Tensor, grid: Grid) -> Tensor:
    """(N, D, H, W) → mean inside each patch (N, P, D); at a size the grid does not divide, edges are repeated."""
    padded = pad_to_grid(maps, grid)
    cell = int(padded.shape[-2]) // grid[0], int(padded.shape[-1]) // grid[1]
    return F.avg_pool2d(padded, cell).flatten(2).transpose(1, 2)


class Describe(nn.Module):
    """Images (N, C, H, W) and f_0's class probabilities (N, K, H, W) → the named features of every patch."""

    def __init__(self, grid: Grid, names: Sequence[str] = tuple(FEATURES)) -> None:
        super().__init__()
        self.grid, self.names = grid, tuple(names)

    def forward(self, images: Tensor, probability: Tensor) -> Features:
        return {name: patch_means(FEATURES[name](images, probability), self.grid) for name in self.names}
