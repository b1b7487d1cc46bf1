"""MNIST digits on a canvas, as a segmentation task (the paper's own noisy MNIST was never published).

Training canvases are made of the train files' digits; val and test of disjoint halves of the t10k files'.
A digit keeps its pixels, enlarged by a whole number; its ink is where they are at least half bright.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..config import DataConfig
from ..errors import ConfigError, DataError
from ..progress import Progress
from .paths import data_folder
from .splits import TRAIN_VAL_TEST, Part, Splits, shares_of, sizes

__all__ = ["read", "read_idx"]

Bytes = npt.NDArray[np.uint8]

DEFAULT_SIZE = (128, 128)
LARGEST_ZOOM = 2
TRIES = 64  # places looked at for each digit
CLASS_NAMES = {"foreground": ("background", "digit"), "digit": ("background", *"0123456789")}


def read(config: DataConfig, progress: Progress) -> Splits:
    """Canvases scaled to [0, 1] and their masks. Raises DataError, ConfigError."""
    assert config.path is not None  # DataConfig demands it
    folder = data_folder(config.path)
    train, unseen = _digits(folder, "train"), _digits(folder, "t10k")
    rng = np.random.default_rng((config.seed, 0))
    order = rng.permutation(len(unseen[1]))
    half = len(order) // 2
    pools = (train, *((unseen[0][part], unseen[1][part]) for part in (order[:half], order[half:])))
    counts = sizes(config.count, shares_of(config.holdout), TRAIN_VAL_TEST)
    train_canvases, val_canvases, test_canvases = (
        _canvases(name, pool, count, config, rng)
        for name, pool, count in zip(TRAIN_VAL_TEST, pools, counts, strict=True)
    )
    return Splits(train_canvases, val_canvases, test_canvases, CLASS_NAMES[config.target])


def _digits(folder: Path, part: str) -> tuple[Bytes, Bytes]:
    """Images (N, h, w) and labels (N,)."""
    images, labels = (_existing(folder, f"{part}-{rest}-ubyte") for rest in ("images-idx3", "labels-idx1"))
    pixels, digits = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(digits):
        raise DataError(f"{labels} has {len(digits)} labels for the {len(pixels)} images of {images.name}")
    if len(digits) < 2:
        raise DataError(f"{labels} has {len(digits)} labels; at least 2 are needed")
    if digits.max() > 9:
        raise DataError(f"{labels} has label {digits.max()}, which is no digit; give the labels of MNIST")
    return pixels, digits


def _existing(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DataError(f"{folder} lacks {name} (or {name}.gz); put the four IDX files of MNIST there")


def read_idx(path: Path, dimensions: int) -> Bytes:
    """An IDX file of unsigned bytes, gzipped or not, as an array. Raises DataError naming the file.

    Format: two zero bytes, type 0x08, number of dimensions, each dimension as a big-endian uint32, the bytes.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}; fetch it again") from None
    if content[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(
            f"{path} starts with 0x{content[:4].hex()}, not 0x000008{dimensions:02x}: it is no IDX file of bytes in "
            f"{dimensions} dimension{'s' if dimensions > 1 else ''}; fetch it again"
        )
    expected = header = 4 + 4 * dimensions
    if len(content) >= header:
        shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4).tolist()
        expected += math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{path} has {len(content)} bytes where its header needs {expected}; fetch it again")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _canvases(part: str, pool: tuple[Bytes, Bytes], count: int, config: DataConfig, rng: np.random.Generator) -> Part:
    size = config.size or DEFAULT_SIZE
    pixels, digits = pool
    digit = pixels.shape[1:]
    if min(size[0] - digit[0], size[1] - digit[1]) < 0:
        raise ConfigError(f"[data] size = {list(size)} is smaller than one digit, {digit[0]} x {digit[1]}; enlarge it")
    images = np.zeros((count, *size), dtype=np.uint8)
    masks = np.zeros((count, *size), dtype=np.uint8)
    # Each digit is used once before any is used again.
    chosen = np.resize(rng.permutation(len(pixels)), (count, config.digits))
    for image, mask, members in zip(images, masks, chosen, strict=True):
        for member, (top, left, zoom) in zip(members, _places(size, digit, config.digits, rng), strict=True):
            ink = pixels[member].repeat(zoom, axis=0).repeat(zoom, axis=1)
            window = np.s_[top : top + ink.shape[0], left : left + ink.shape[1]]
            image[window] = np.maximum(image[window], ink)
            mask[window][ink >= 128] = digits[member] + 1 if config.target == "digit" else 1
    scaled = torch.from_numpy(images).float().div(255)[:, None]
    return Part(scaled, torch.from_numpy(masks), tuple(f"{part}-{index:05d}" for index in range(count)))


def _places(
    size: tuple[int, int], digit: tuple[int, ...], count: int, rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """(top, left, zoom) of each digit; of some random places the one that overlaps earlier digits least."""
    room = np.sqrt(size[0] * size[1] / count) / max(digit)
    largest = int(min(max(1, room), LARGEST_ZOOM, *(have // want for have, want in zip(size, digit, strict=True))))
    boxes = np.zeros((0, 2, 2))  # (digits so far, start and end, row and column)
    places = []
    for _ in range(count):
        zoom = int(rng.integers(1, largest + 1))
        extent = np.multiply(digit, zoom)
        starts = rng.integers(0, np.subtract(size, extent) + 1, size=(TRIES, 2))
        tried = np.stack([starts, starts + extent], axis=1)  # (TRIES, 2, 2)
        shared = np.minimum(tried[:, None, 1], boxes[None, :, 1]) - np.maximum(tried[:, None, 0], boxes[None, :, 0])
        best = shared.clip(0).prod(axis=2).sum(axis=1).argmin()
        boxes = np.concatenate([boxes, tried[best : best + 1]])
        places.append((int(starts[best, 0]), int(starts[best, 1]), zoom))
    return places
