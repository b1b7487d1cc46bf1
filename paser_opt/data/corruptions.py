"""Named corruptions of images, in five severities.

Strengths are those of ImageNet-C (Hendrycks and Dietterich 2019, arXiv 1903.12261) for Gaussian noise, impulse
noise, speckle noise, Gaussian blur and contrast; occlusion is this project's own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CORRUPTIONS", "NONE", "SEVERITIES", "Corrupt", "corrupt"]

SEVERITIES = range(1, 6)

Corrupt = Callable[[Tensor, int, torch.Generator], Tensor]
"""(images (N, C, H, W) in [0, 1], severity 1 … 5, generator) → images of the same shape, not yet clamped."""


def gaussian(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Additive normal noise."""
    sigma = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return images + sigma * torch.randn(images.shape, generator=generator)


def salt_and_pepper(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """A share of the pixels becomes black or white, all channels of a pixel together."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    draw = torch.rand((len(images), 1, *images.shape[2:]), generator=generator)
    return images.masked_fill(draw < share / 2, 0.0).masked_fill(draw > 1 - share / 2, 1.0)


def speckle(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Normal noise in proportion to the grey level."""
    sigma = (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1]
    return images * (1 + sigma * torch.randn(images.shape, generator=generator))


def blur(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Gaussian blur; beyond the image its edge is repeated."""
    sigma = (1, 2, 3, 4, 6)[severity - 1]
    reach = 3 * sigma
    channels = images.shape[1]
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).repeat(channels, 1, 1, 1)  # (C, 1, 1, 2·reach + 1)
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=channels), kernel.mT, groups=channels)


def contrast(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Grey levels drawn towards the mean of their image and channel."""
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    mean = images.mean(dim=(2, 3), keepdim=True)
    return (images - mean) * factor + mean


def occlusion(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """As many black squares as the severity says, each a fifth of the shorter side wide."""
    height, width = images.shape[2:]
    side = max(1, min(height, width) // 5)

    def inside(length: int) -> Tensor:  # (N, severity, length): 1 where a square lies
        start = torch.randint(length - side + 1, (len(images), severity, 1), generator=generator)
        at = torch.arange(length)
        return ((at >= start) & (at < start + side)).float()

    covered = torch.einsum("nkh,nkw->nhw", inside(height), inside(width)) > 0
    return images.masked_fill(covered[:, None], 0.0)


NONE = "none"
"""An image as it is, among others that are not."""

CORRUPTIONS: dict[str, Corrupt] = {  # the names that config/base.py knows
    "gaussian": gaussian,
    "salt_and_pepper": salt_and_pepper,
    "speckle": speckle,
    "blur": blur,
    "contrast": contrast,
    "occlusion": occlusion,
}


def corrupt(images: Tensor, name: str, severity: int, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W) in [0, 1] with the named corruption, again in [0, 1]; "none" leaves them be."""
    return images if name == NONE else CORRUPTIONS[name](images, severity, generator).clamp(0, 1)
