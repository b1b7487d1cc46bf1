"""Micrographs of a battery electrode, made from a seed: particles, binder, pores.

Active-material particles are Voronoi cells with warped outlines; what lies between them is pore, and binder
clings to it (area shares 3.7 / 10.3 / 86 %, as in the paper's set). Difficulty is uneven inside every image: in the hard
regions grains are finer, blur and noise stronger, and pores nearly as bright as particles, so that a pixel's class
shows only in texture and in the shape of its surroundings.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import DataConfig
from ..progress import Progress
from .corruptions import blur_with
from .raw import RawSplit
from .splits import holdout

__all__ = ["CLASSES", "make", "micrographs"]

CLASSES = ("binder", "pore", "active")
BINDER, PORE, ACTIVE = range(3)
SHARES = (0.037, 0.103, 0.86)
CHUNK = 32
"""Images made at once: bounds memory."""


def make(config: DataConfig, progress: Progress) -> tuple[RawSplit, RawSplit, RawSplit, tuple[str, ...]]:
    """``config.count`` images of ``config.size`` (default 128 × 128), split by ``config.holdout``."""
    height, width = config.size or (128, 128)
    progress.stage("make micrographs", config.count)
    images, masks = [], []
    for start in range(0, config.count, CHUNK):
        count = min(CHUNK, config.count - start)
        draw = torch.Generator().manual_seed(config.seed * 1_000_003 + start)
        made = micrographs(count, height, width, difficulty=config.difficulty, draw=draw)
        images.append(made[0])
        masks.append(made[1])
        progress.advance(start + count)
    names = tuple(f"micrograph-{index:04d}" for index in range(config.count))
    whole = RawSplit(torch.cat(images), torch.cat(masks), names)
    train, val, test = (whole.take(part) for part in holdout(config.count, config.holdout, config.seed))
    return train, val, test, CLASSES


def micrographs(
    count: int, height: int, width: int, *, difficulty: float, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images (N, 1, H, W) in [0, 1] and masks (N, H, W) uint8."""

    def field(sigma: float) -> Tensor:
        return _field(count, height, width, sigma, draw)

    hard = torch.sigmoid(8 * (field(18) - 1.1 + 1.2 * difficulty))  # (N, H, W): about 0.3 of the area at 0.5
    coarse, fine = (_cells(count, height, width, size, field(size / 3), field(size / 3), draw) for size in (22.0, 11.0))
    pick = hard > 0.5
    gap = torch.where(pick, fine[0] * 2, coarse[0]) + 1.2 * field(5)  # small: near a grain's edge
    grain = torch.where(pick, fine[1], coarse[1])

    between = gap <= _quantile(gap, SHARES[BINDER] + SHARES[PORE])
    clinging = torch.where(between, field(4), -torch.inf)
    binder = clinging >= _quantile(clinging, 1 - SHARES[BINDER])
    masks = torch.full((count, height, width), ACTIVE, dtype=torch.uint8)
    masks[between] = PORE
    masks[binder] = BINDER

    # Particles: each its own brightness, a fine grain. Pores: dark, but brighter where one sees into their depth.
    # Binder: between the two, coarser grain.
    active = 0.66 + 0.05 * grain + 0.035 * field(0.8)
    pore = 0.24 + 0.07 * field(6).abs() + 0.015 * field(2)
    glue = 0.44 + 0.05 * field(1.6)
    pore_hard, glue_hard = 0.55 + 0.01 * field(2), 0.60 + 0.09 * field(1.6)
    pore, glue = pore + hard * (pore_hard - pore), glue + hard * (glue_hard - glue)
    image = torch.where(binder, glue, torch.where(between, pore, active))[:, None]

    sharp, soft = blur_with(image, 0.6), blur_with(image, 1.1)
    image = sharp + hard[:, None] * (soft - sharp)
    image = image * (1 + 0.08 * field(height / 3)[:, None])  # detector shading
    noise = 0.015 + 0.02 * hard[:, None] * (0.5 + difficulty)
    white = torch.randn(image.shape, generator=draw)
    return (image + noise * white * image.clamp_min(0.05).sqrt() * 1.4).clamp(0, 1), masks


def _field(count: int, height: int, width: int, sigma: float, draw: torch.Generator) -> Tensor:
    """Smooth Gaussian random fields (N, H, W), correlation ``sigma`` pixels, mean 0, deviation 1."""
    white = torch.fft.rfft2(torch.randn(count, height, width, generator=draw))
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    smooth = torch.exp(-2 * (torch.pi * sigma) ** 2 * (rows**2 + columns**2))
    smooth[0, 0] = 0
    field = torch.fft.irfft2(white * smooth, s=(height, width))
    return field / field.std(dim=(1, 2), keepdim=True)


def _cells(
    count: int, height: int, width: int, size: float, warp_x: Tensor, warp_y: Tensor, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Voronoi cells of one jittered seed per ``size`` × ``size`` square, outlines warped.

    Returns how much nearer the nearest seed is than the second (N, H, W), 0 on an edge, and a value drawn for
    each cell (N, H, W).
    """
    rows, columns = int(height / size) + 5, int(width / size) + 5
    jitter = torch.rand(count, 2, rows, columns, generator=draw) * 0.9 + 0.05
    value = torch.randn(count, rows * columns, generator=draw)
    y = (torch.arange(height)[:, None] + size / 6 * warp_y) / size + 2  # (N, H, W), in cells
    x = (torch.arange(width) + size / 6 * warp_x) / size + 2
    row, column = y.floor().long(), x.floor().long()
    nearest = torch.full((count, height, width), torch.inf)
    second, owner = nearest.clone(), torch.zeros_like(row)
    flat = jitter.flatten(2)
    for down in range(-2, 3):
        for right in range(-2, 3):
            cell_row, cell_column = (row + down).clamp(0, rows - 1), (column + right).clamp(0, columns - 1)
            cell = cell_row * columns + cell_column
            seed_y, seed_x = (flat[:, axis].gather(1, cell.flatten(1)).view_as(y) for axis in (0, 1))
            distance = torch.hypot(cell_row + seed_y - y, cell_column + seed_x - x)
            closer = distance < nearest
            second = torch.where(closer, nearest, torch.minimum(second, distance))
            owner = torch.where(closer, cell, owner)
            nearest = torch.minimum(nearest, distance)
    return (second - nearest) * size, value.gather(1, owner.flatten(1)).view_as(y)


def _quantile(field: Tensor, share: float) -> Tensor:
    """Per image: the value below which ``share`` of the pixels lie, (N, 1, 1)."""
    pixels = field.flatten(1)
    rank = min(max(round(share * pixels.shape[1]), 1), pixels.shape[1])
    return pixels.kthvalue(rank, dim=1).values[:, None, None]
