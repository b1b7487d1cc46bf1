"""Images into a grid of patches and back, without a loop over patches.

An image whose size the grid does not divide is padded at its right and bottom edge and the padding cropped
after stitching, so every pixel of the image comes from exactly one patch and none is left over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import Context

__all__ = [
    "CELLS",
    "IGNORE",
    "captured",
    "cell_size",
    "confusion",
    "counting",
    "hard_labels",
    "in_context",
    "pad_to_grid",
    "patch_size",
    "row_moments",
    "sampled",
    "split",
    "split_mask",
    "stitch",
]

IGNORE = 255
"""Mask value of pixels that count neither in a loss nor in a score."""

CELLS = 16
"""Most cells across a patch in which routers see it."""

Grid = tuple[int, int]


def patch_size(height: int, width: int, grid: Grid) -> tuple[int, int]:
    """(height, width) of one patch, the image padded up to the grid."""
    # Rounded up without a negative number: traced to ONNX, integer division truncates.
    return (height + grid[0] - 1) // grid[0], (width + grid[1] - 1) // grid[1]


def cell_size(height: int, width: int, grid: Grid, stride: int) -> tuple[int, int]:
    """(height, width) of the cells a patch is seen in: ``stride``, more where it would have over CELLS of them a
    side, less where it is smaller. The last cell of a patch may reach beyond it; none belongs to two patches."""
    h, w = (min(side, max(stride, -(-side // CELLS))) for side in patch_size(height, width, grid))
    return h, w


def counting(like: Tensor, length: int) -> Tensor:
    """0 … length − 1, long, where ``like`` is. (An arange in a traced module stays on the device it was traced on.)"""
    return like.new_ones(length, dtype=torch.long).cumsum(0) - 1


def captured() -> bool:
    """Whether this call is traced, exported or compiled, not run: then nothing may depend on the size of the batch."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return bool(tracing or torch.onnx.is_in_onnx_export() or torch.compiler.is_compiling())


def _places(like: Tensor, side: int, count: int, cell: int, *, middle: bool) -> Tensor:
    """Along a ``side`` of a map, cut into ``count`` patches: the pixels of every cell, or one in its middle.

    An even cell has two in its middle, which take turns: stripes of two pixels would look like none. Beyond the patch
    its last pixel, beyond the image the image's.
    """
    patch = -(-side // count)
    inside = counting(like, -(-patch // cell) * cell)
    if middle:
        inside = inside[cell // 2 :: cell]
        if cell % 2 == 0:
            inside = inside - counting(like, len(inside)) % 2
    starts = counting(like, count)[:, None] * patch
    return (starts + inside.clamp(max=patch - 1)).flatten().clamp(max=side - 1)


@dataclass(frozen=True)
class _Cells:
    """Where the cells of a map lie."""

    shape: tuple[int, int]  # cells down and across
    width: int  # pixels across one
    down: Tensor  # (cells down,) the row in the middle of each
    pixels: Tensor  # (cells down · cells across,) the pixel in the middle of each, counted row by row
    within: Tensor | None  # (cells across · width,) all columns of each, None where they are those of the map


def _cells(like: Tensor, size: tuple[int, int], grid: Grid, stride: int) -> _Cells:
    (height, width), (h, w) = size, cell_size(*size, grid, stride)
    down = _places(like, height, grid[0], h, middle=True)
    across = _places(like, width, grid[1], w, middle=True)
    within = _places(like, width, grid[1], w, middle=False)
    pixels = (down[:, None] * width + across).flatten()
    return _Cells((len(down), len(across)), w, down, pixels, None if len(within) == width else within)


@lru_cache(maxsize=64)
def _kept(size: tuple[int, int], grid: Grid, stride: int, device: torch.device) -> _Cells:
    with torch.inference_mode(mode=False):  # training reads them too
        return _cells(torch.empty(0, device=device), size, grid, stride)


def _cells_of(maps: Tensor, grid: Grid, stride: int) -> _Cells:
    """Those of images of one size are made once; a tensor that only stands for one (FakeTensor) makes none to keep."""
    size = int(maps.shape[-2]), int(maps.shape[-1])
    real = type(maps) is Tensor and not captured()
    return _kept(size, grid, stride, maps.device) if real else _cells(maps, size, grid, stride)


def sampled(maps: Tensor, grid: Grid, stride: int) -> Tensor:
    """One pixel of each cell of a patch: (N, D, H, W) → (N, D, gh·cells down a patch, gw·cells across)."""
    cells = _cells_of(maps, grid, stride)
    found = maps.flatten(2).flatten(0, 1).index_select(1, cells.pixels)  # far faster than of three dimensions
    return found.reshape(-1, int(maps.shape[1]), *cells.shape)


def row_moments(maps: Tensor, grid: Grid, stride: int) -> tuple[Tensor, Tensor]:
    """Mean (N, D, …) and, over all D maps, mean square (N, 1, …) over the middle row of each cell, as :func:`sampled`.

    A row lies together in memory: it costs hardly more than one pixel, and noise averages out. Where a cell reaches
    beyond its patch, its last pixel again. In the precision of ``maps``, under autocast too.
    """
    cells = _cells_of(maps, grid, stride)
    rows = maps.index_select(2, cells.down)
    if cells.within is not None:
        rows = rows.index_select(3, cells.within)
    rows = rows.reshape(-1, int(maps.shape[1]), *cells.shape, cells.width)
    # A product is faster than pooling (benchmarks/patch_kernels.py); fvcore counts only those of matrices.
    mean = rows.new_full((cells.width, 1), 1 / cells.width)
    with torch.autocast(maps.device.type, enabled=False):
        return (rows @ mean).squeeze(-1), (rows.square() @ mean).squeeze(-1).mean(dim=1, keepdim=True)


def pad_to_grid(images: Tensor, grid: Grid, value: float | None = None) -> Tensor:
    """(N, C, H, W) → (N, C, gh·h, gw·w): edges repeated, or filled with ``value``."""
    height, width = images.shape[-2:]
    h, w = patch_size(height, width, grid)
    extra = (0, grid[1] * w - width, 0, grid[0] * h - height)
    if not any(extra):
        return images
    return F.pad(images, extra, mode="replicate") if value is None else F.pad(images, extra, value=value)


def split(images: Tensor, grid: Grid, halo: int = 0) -> Tensor:
    """(N, C, H, W) → (N, P, C, h + 2·halo, w + 2·halo), patches row by row.

    The halo is context from the neighbouring patches; beyond the image its edge is repeated.
    """
    images = pad_to_grid(images, grid)
    n, c, height, width = images.shape
    h, w = height // grid[0], width // grid[1]
    if not halo:
        tiles = images.reshape(n, c, grid[0], h, grid[1], w).permute(0, 2, 4, 1, 3, 5)
    else:
        padded = F.pad(images, (halo, halo, halo, halo), mode="replicate")
        rows = padded.unfold(2, h + 2 * halo, h)  # (N, C, gh, width, h + 2·halo)
        tiles = rows.unfold(3, w + 2 * halo, w).permute(0, 2, 3, 1, 4, 5)
    return tiles.reshape(n, grid[0] * grid[1], c, h + 2 * halo, w + 2 * halo)


def in_context(images: Tensor, probability: Tensor, context: Context) -> Tensor:
    """What f_1 … see of images (N, C, H, W): with "screen" f_0's class probabilities (N, K, H, W) as well."""
    return torch.cat([images, probability.to(images.dtype)], dim=1) if context == "screen" else images


def split_mask(masks: Tensor, grid: Grid) -> Tensor:
    """(N, H, W) → (N, P, h, w); padding is IGNORE."""
    padded = pad_to_grid(masks[:, None], grid, value=IGNORE)
    n, _, height, width = padded.shape
    h, w = height // grid[0], width // grid[1]
    return padded.reshape(n, grid[0], h, grid[1], w).permute(0, 1, 3, 2, 4).reshape(n, -1, h, w)


def stitch(patches: Tensor, grid: Grid, height: int, width: int) -> Tensor:
    """(N, P, …, h, w) without halo → (N, …, height, width), the inverse of :func:`split`."""
    n, _, *middle, h, w = patches.shape
    tiles = patches.reshape(n, grid[0], grid[1], -1, h, w).permute(0, 3, 1, 4, 2, 5)
    return tiles.reshape(n, *middle, grid[0] * h, grid[1] * w)[..., :height, :width]


def hard_labels(scores: Tensor) -> Tensor:
    """The class with the highest score, the first of equals: (N, K, H, W) → (N, H, W) uint8.

    On a CPU torch's ``argmax`` over a strided dimension takes many times as long as this loop over classes, and a
    masked fill of bytes longer than their maximum; ONNX Runtime's ArgMax takes less than the loop does there, and
    for two classes a comparison less still (benchmarks/patch_kernels.py).
    """
    if torch.onnx.is_in_onnx_export():
        if scores.shape[1] == 2:
            return (scores[:, 1] > scores[:, 0]).to(torch.uint8)
        return scores.argmax(dim=1).to(torch.uint8)  # the first of equals, by ONNX's definition too
    best, labels = scores[:, 0], torch.zeros_like(scores[:, 0], dtype=torch.uint8)
    for label in range(1, scores.shape[1]):
        above = scores[:, label] > best
        if captured():
            labels = labels.masked_fill(above, label)
        else:  # labels rise: the last one that was above is the largest
            torch.maximum(labels, above.view(torch.uint8).mul_(label), out=labels)
        if label + 1 < scores.shape[1]:
            best = torch.maximum(best, scores[:, label])
    return labels


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Confusion matrices over the last two dimensions: (…, h, w) labels → (…, classes, classes) int64.

    Row = truth, column = prediction; pixels whose truth is IGNORE are left out.
    """
    lead = predicted.shape[:-2]
    predicted, truth = predicted.reshape(-1, *predicted.shape[-2:]), truth.reshape(-1, *truth.shape[-2:])
    count = predicted.shape[0]
    cell = truth.long() * classes + predicted.long()
    cell += torch.arange(count, device=cell.device)[:, None, None] * classes**2
    counted = torch.bincount(cell[truth != IGNORE], minlength=count * classes**2)
    return counted.reshape(*lead, classes, classes)
