"""MNIST digits on a canvas, as segmentation: IDX files (LeCun), gzipped or not.

Built openly, because the paper's own was never published: digits at random places and zooms on a black canvas,
the mask says foreground or the digit. Val and test canvases hold digits of the test files only.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import DataConfig
from ..errors import DataError
from ..progress import Progress
from .folder import expand
from .raw import RawSplit

__all__ = ["make", "read_idx"]

INK = 0.35
"""Grey value above which a pixel is the digit's."""


def make(config: DataConfig, progress: Progress) -> tuple[RawSplit, RawSplit, RawSplit, tuple[str, ...]]:
    """``config.count`` canvases of ``config.size`` (default 128 × 128) with ``config.digits`` digits each."""
    root = expand(config.path or "")
    progress.stage("make canvases", 3)
    val, test = (max(1, round(share * config.count)) for share in config.holdout)
    counts = (max(1, config.count - val - test), val, test)
    sources = {stem: _digits(root, stem) for stem in ("train", "t10k")}
    splits = []
    for number, (name, stem, count) in enumerate(zip(("train", "val", "test"), ("train", "t10k", "t10k"), counts, strict=True)):
        images, labels = sources[stem]
        if stem == "t10k":  # val and test share no digit
            half = len(images) // 2
            keep = slice(0, half) if name == "val" else slice(half, None)
            images, labels = images[keep], labels[keep]
        draw = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        splits.append(_canvases(images, labels, count, name, config, draw))
        progress.advance(number + 1, name)
    names = ("background", "ink") if config.target == "foreground" else ("background", *map(str, range(10)))
    return splits[0], splits[1], splits[2], names


def read_idx(path: Path) -> NDArray[np.uint8]:
    """One IDX file of bytes, any number of dimensions. Raises DataError naming the file."""
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); it is missing, truncated or damaged") from None
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an IDX file of bytes (magic {content[:4].hex() or 'missing'})")
    header = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:header], dtype=">u4").tolist())
    if len(shape) != content[3] or len(content) - header != int(np.prod(shape)):
        raise DataError(f"{path} is truncated: {len(content) - header} bytes, its header says {shape}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _digits(root: Path, stem: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    found = []
    for kind in ("images-idx3", "labels-idx1"):
        names = [f"{stem}-{kind}-ubyte{suffix}" for suffix in ("", ".gz")]
        path = next((root / name for name in names if (root / name).is_file()), None)
        if path is None:
            raise DataError(f"{root} lacks {names[0]} (or .gz)")
        found.append(read_idx(path))
    images, labels = found
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(f"{root}: {stem} images {images.shape} and labels {labels.shape} do not belong together")
    return images, labels


def _canvases(
    digits: NDArray[np.uint8], labels: NDArray[np.uint8], count: int, name: str, config: DataConfig,
    draw: torch.Generator,
) -> RawSplit:  # fmt: skip
    height, width = config.size or (128, 128)
    side = digits.shape[1]
    if min(height, width) < side:
        raise DataError(f"data.size {height} x {width} is smaller than a digit ({side} px)")
    most = max(1, min(2, min(height, width) // (2 * side)))  # the largest zoom that leaves room to move
    canvas, owner = torch.zeros(count, height, width), torch.zeros(count, height, width, dtype=torch.uint8)
    place = torch.arange(count)[:, None, None]
    for _ in range(config.digits):
        chosen = torch.randint(len(digits), (count,), generator=draw)
        glyph = torch.from_numpy(digits[chosen.numpy()]).float() / 255  # (N, side, side)
        label = torch.from_numpy(labels[chosen.numpy()].astype(np.int64)) + 1
        zoom = torch.randint(1, most + 1, (count,), generator=draw)
        glyph, extent = _zoomed(glyph, zoom, most)
        top = (torch.rand(count, generator=draw) * (height - extent + 1)).long()
        left = (torch.rand(count, generator=draw) * (width - extent + 1)).long()
        reach = torch.arange(side * most)
        rows = (top[:, None] + reach).clamp(max=height - 1)[:, :, None]
        columns = (left[:, None] + reach).clamp(max=width - 1)[:, None, :]
        inside = (reach < extent[:, None])[:, :, None] & (reach < extent[:, None])[:, None, :]
        at = (place.expand_as(inside)[inside], rows.expand_as(inside)[inside], columns.expand_as(inside)[inside])
        ink = glyph[inside]
        canvas.index_put_(at, torch.maximum(canvas[at], ink))
        value = label[:, None, None].expand_as(inside)[inside] if config.target == "digit" else torch.ones_like(ink)
        owner.index_put_(at, torch.where(ink > INK, value.to(torch.uint8), owner[at]))
    names = tuple(f"{name}-{index:05d}" for index in range(count))
    return RawSplit(canvas[:, None], owner, names)


def _zoomed(glyph: Tensor, zoom: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Integer zoom of each glyph (N, s, s) in a (N, s·most, s·most) frame, and its extent in pixels (N,)."""
    side = glyph.shape[1]
    reach = (torch.arange(side * most) // zoom[:, None]).clamp(max=side - 1)  # (N, s·most)
    number = torch.arange(len(glyph))[:, None, None]
    return glyph[number, reach[:, :, None], reach[:, None, :]], zoom * side
