"""Named corruptions × severity, on images in [0, 1]. A new one is one function and one entry of CORRUPTIONS."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError

__all__ = ["CORRUPTIONS", "blur_with", "corrupt"]


def _noise(images: Tensor, draw: torch.Generator) -> Tensor:
    return torch.randn(images.shape, generator=draw)


def blur_with(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, C, H, W) by ``sigma`` pixels, edges repeated."""
    radius = max(1, round(3 * sigma))
    x = torch.arange(-radius, radius + 1, dtype=images.dtype)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    channels = images.shape[1]
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    across = F.conv2d(padded, kernel.expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(across, kernel[:, None].expand(channels, 1, -1, 1), groups=channels)


def gaussian(images: Tensor, severity: int, draw: torch.Generator) -> Tensor:
    return images + (0.04, 0.08, 0.14, 0.20, 0.28)[severity - 1] * _noise(images, draw)


def salt_and_pepper(images: Tensor, severity: int, draw: torch.Generator) -> Tensor:
    share = (0.01, 0.03, 0.06, 0.12, 0.20)[severity - 1]
    coin = torch.rand(images[:, :1].shape, generator=draw)
    return torch.where(coin < share / 2, 0.0, torch.where(coin > 1 - share / 2, 1.0, images))


def speckle(images: Tensor, severity: int, draw: torch.Generator) -> Tensor:
    return images * (1 + (0.1, 0.2, 0.3, 0.45, 0.6)[severity - 1] * _noise(images, draw))


def blur(images: Tensor, severity: int, draw: torch.Generator) -> Tensor:
    return blur_with(images, (0.6, 1.0, 1.5, 2.2, 3.0)[severity - 1])


def contrast(images: Tensor, severity: int, draw: torch.Generator) -> Tensor:
    mean = images.mean(dim=(-2, -1), keepdim=True)
    return mean + (0.75, 0.55, 0.4, 0.28, 0.18)[severity - 1] * (images - mean)


def occlusion(images: Tensor, severity: int, draw: torch.Generator) -> Tensor:
    """One grey rectangle of 4 … 30 % of the image's area, somewhere in each image."""
    count, _, height, width = images.shape
    side = (0.04, 0.08, 0.14, 0.21, 0.30)[severity - 1] ** 0.5
    top, left = (torch.rand(2, count, 1, 1, 1, generator=draw) * (1 - side)).unbind()
    rows = torch.linspace(0, 1, height)[:, None]
    columns = torch.linspace(0, 1, width)
    hidden = (rows >= top) & (rows <= top + side) & (columns >= left) & (columns <= left + side)
    return torch.where(hidden, 0.5, images)


CORRUPTIONS: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "gaussian": gaussian,
    "salt_and_pepper": salt_and_pepper,
    "speckle": speckle,
    "blur": blur,
    "contrast": contrast,
    "occlusion": occlusion,
}


def corrupt(images: Tensor, name: str, severity: int, *, seed: int) -> Tensor:
    """Images (N, C, H, W) in [0, 1] → corrupted, clamped to [0, 1]; severity 1 … 5. Raises ConfigError."""
    if name not in CORRUPTIONS:
        raise ConfigError(f"data.corruption: unknown corruption {name!r}; known: {', '.join(CORRUPTIONS)}")
    return CORRUPTIONS[name](images, severity, torch.Generator().manual_seed(seed)).clamp(0, 1)
