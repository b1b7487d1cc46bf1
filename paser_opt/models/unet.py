"""The segmentation UNet f_i: a stem, levels down, levels up with skips, a head.

The published f_0, f_1, f_2 (PaSeR, AAAI 2024) are UNetConfig(base=8, depth=2), (16, 4) and (64, 4): with one
input channel and three classes 16,571 / 1,080,595 / 17,275,459 parameters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import UNetConfig

__all__ = ["UNet", "smallest_extent"]


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "instance":
        return nn.InstanceNorm2d(channels)  # no affine parameters, as published
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.Identity()


def _double_conv(inside: int, middle: int, outside: int, norm: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, middle, 3, padding=1),
        _norm(norm, middle),
        nn.ReLU(inplace=True),
        nn.Conv2d(middle, outside, 3, padding=1),
        _norm(norm, outside),
        nn.ReLU(inplace=True),
    )


PRODUCTS = range(8, 257)
"""Sides of maps, before and after, that two products of matrices enlarge faster on a CPU (benchmarks/enlarging.py)."""


def enlarged(maps: Tensor, size: Sequence[int], *, align_corners: bool) -> Tensor:
    """Maps (N, C, h, w) at ``size`` (H, W), bilinear, for training: on a CPU by products, whose gradient is products
    again, while F.interpolate's takes several times as long."""
    n, c, h, w = maps.shape
    if not maps.is_cpu or type(maps) is not Tensor or not {h, w, *size} <= set(PRODUCTS):
        return F.interpolate(maps, size=list(size), mode="bilinear", align_corners=align_corners)
    down, across = (_weights(before, after, align_corners) for before, after in ((h, size[0]), (w, size[1])))
    wide = (maps.reshape(-1, w) @ across.T.to(maps.dtype)).reshape(n * c, h, -1)
    return (down.to(maps.dtype) @ wide).reshape(n, c, *size)


@cache
def _weights(before: int, after: int, align_corners: bool) -> Tensor:
    """(after, before): each pixel of a longer line as a mean of the shorter one's."""
    with torch.inference_mode(False):  # what is kept may meet a gradient later
        line = torch.eye(before)[None]
        return F.interpolate(line, size=after, mode="linear", align_corners=align_corners)[0].T.contiguous()


class UNet(nn.Module):
    """Images (N, C, H, W) → logits (N, classes, H, W), any H and W ≥ :func:`smallest_extent`."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        base, depth, norm = config.base, config.depth, config.norm
        # Bilinear upsampling has no weights to halve the channels, so the deepest level keeps half its width.
        widths = [base * 2**level for level in range(depth)] + [base * 2 ** (depth - 1)]
        self.stem = nn.Conv2d(config.in_channels, base // 2, 1)
        self.entry = _double_conv(base // 2, base, base, norm)
        self.down = nn.ModuleList(
            _double_conv(above, below, below, norm) for above, below in itertools.pairwise(widths)
        )
        self.up = nn.ModuleList(
            _double_conv(2 * widths[level], widths[level], widths[max(level - 1, 0)], norm)
            for level in reversed(range(depth))
        )
        self.drop_channels = (*widths[1:], widths[max(depth - 2, 0)])  # of the levels down, and of the first one up
        self.drops = nn.ModuleList(nn.Dropout(config.dropout) for _ in self.drop_channels)
        self.head = nn.Conv2d(base, config.classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.full(self.coarse(images), images)

    def coarse(self, images: Tensor) -> Tensor:
        """Logits at the scale that the network works at: (N, C, H, W) → (N, classes, ⌈H·scale⌉, ⌈W·scale⌉)."""
        shrink = round(1 / self.config.scale)
        if shrink > 1:  # the edge is repeated up to a multiple, so that the logits line up with the pixels
            height, width = int(images.shape[-2]), int(images.shape[-1])
            if height % shrink or width % shrink:  # an exported model copies all to add nothing, and to crop nothing
                images = F.pad(images, (0, -width % shrink, 0, -height % shrink), mode="replicate")
            images = F.avg_pool2d(images, shrink)
        x = self.entry(self.stem(images))  # (N, base, h, w)
        skips = [x]
        *drops, up_drop = self.drops
        for block, drop in zip(self.down, drops, strict=True):
            x = drop(block(F.max_pool2d(x, 2)))  # (N, base·2^level, h / 2^level, w / 2^level)
            skips.append(x)
        skips.pop()
        for level, block in enumerate(self.up):
            skip = skips.pop()
            size = skip.shape[-2:]
            if self.training:
                x = enlarged(x, size, align_corners=True)
            else:
                x = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
            x = block(torch.cat([skip, x], dim=1))
            if level == 0:
                x = up_drop(x)
        logits: Tensor = self.head(x)
        return logits

    def full(self, maps: Tensor, images: Tensor) -> Tensor:
        """Maps of :meth:`coarse` at the size of ``images`` (…, H, W)."""
        height, width = int(images.shape[-2]), int(images.shape[-1])
        shrink = round(1 / self.config.scale)
        if shrink > 1:
            if self.training:
                size = maps.shape[-2] * shrink, maps.shape[-1] * shrink
                maps = enlarged(maps, size, align_corners=False)
            else:
                maps = F.interpolate(maps, scale_factor=shrink, mode="bilinear", align_corners=False)
        if height % shrink or width % shrink:
            maps = maps[..., :height, :width]
        return maps.contiguous()  # what cuts patches out of it would copy all, each time


def smallest_extent(config: UNetConfig) -> int:
    """Pixels of the smallest image side: the deepest level keeps 2 × 2, or its norm has nothing to average."""
    return int(2 ** (config.depth + 1) / config.scale)
