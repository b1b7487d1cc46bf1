"""A folder of one's own images and masks, paired by file name.

    PATH/{train,val,test}/{images,masks}/NAME.png        given splits, or
    PATH/{images,masks}/NAME.png                         a seeded split by ``holdout``

Images: PNG, TIFF (8 or 16 bit), JPEG, BMP; grey or RGB. Masks: PNG, TIFF or BMP with one grey value (or palette
index) a pixel. Everything is checked while it is read, before any training.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..config import DataConfig
from ..errors import DataError
from ..patches import IGNORE
from ..progress import Progress
from .raw import RawSplit
from .splits import holdout

__all__ = ["expand", "read"]

IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
MASKS = (".png", ".tif", ".tiff", ".bmp")
GIVEN = ("train", "val", "test")
WIDE = ("I;16", "I;16B", "I;16L", "I")
"""Pillow's modes of 16-bit grey files."""


def read(config: DataConfig, progress: Progress) -> tuple[RawSplit, RawSplit, RawSplit, tuple[str, ...]]:
    """Train, val, test and the class names. Raises DataError that names the file and the mend."""
    root = expand(config.path or "")
    if not root.is_dir():
        raise DataError(f"data.path: {root} is not a folder")
    given = [root / name for name in GIVEN]
    if all(folder.is_dir() for folder in given):
        splits = [_pairs(folder, config) for folder in given]
    elif any(folder.is_dir() for folder in given):
        absent = ", ".join(folder.name for folder in given if not folder.is_dir())
        raise DataError(f"{root} has some of train, val, test but not {absent}; give all three, or none")
    else:
        pairs = _pairs(root, config)
        splits = [[pairs[i] for i in part] for part in holdout(len(pairs), config.holdout, config.seed)]
    if config.limit:
        splits[0] = splits[0][: config.limit]
    everything = [pair for split in splits for pair in split]
    rgb = _is_rgb(everything[0][0], config)
    progress.stage("read images", len(everything))
    with ThreadPoolExecutor() as pool:
        loaded = []
        for done, one in enumerate(pool.map(lambda pair: _load(*pair, config=config, rgb=rgb), everything), start=1):
            loaded.append(one)
            progress.advance(done, one[2])
    _same_size(loaded, everything)
    sizes = [len(split) for split in splits]
    parts = []
    for size in sizes:
        images, masks, names = zip(*loaded[:size], strict=True)
        loaded = loaded[size:]
        parts.append(RawSplit(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks)), tuple(names)))
    return parts[0], parts[1], parts[2], config.classes


def expand(path: str) -> Path:
    """``~`` and ${NAME} of the environment. Raises DataError for a variable that is not set."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise DataError(f"data.path: the environment variable {found[1]} is not set (path = {path!r})")
        return os.environ[found[1]]

    return Path(re.sub(r"\$\{(\w+)\}", value, path)).expanduser()


def _pairs(folder: Path, config: DataConfig) -> list[tuple[Path, Path]]:
    """Images and masks of equal stem, sorted by it."""
    images, masks = _by_stem(folder / config.images, IMAGES), _by_stem(folder / config.masks, MASKS)
    if not images:
        raise DataError(f"{folder / config.images} holds no images ({', '.join(IMAGES)})")
    for stem in sorted(images.keys() - masks.keys()):
        raise DataError(f"{images[stem]} has no mask: {folder / config.masks / stem}.png is missing")
    for stem in sorted(masks.keys() - images.keys()):
        raise DataError(f"{masks[stem]} has no image: {folder / config.images / stem}.png is missing")
    return [(images[stem], masks[stem]) for stem in sorted(images)]


def _by_stem(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; name it in [data] with images = … or masks = …")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise DataError(f"{path} and {found[path.stem].name} have the same name; remove one of them")
            found[path.stem] = path
    return found


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); it is truncated or damaged") from None
    return picture


def _is_rgb(path: Path, config: DataConfig) -> bool:
    """"auto" follows the first image."""
    if config.channels != "auto":
        return config.channels == "rgb"
    return _open(path).mode not in ("1", "L", "LA", "F", *WIDE)


def _load(
    image_path: Path, mask_path: Path, *, config: DataConfig, rgb: bool
) -> tuple[NDArray[np.float32], NDArray[np.uint8], str]:
    """One checked pair: (C, H, W) in [0, 1], (H, W), name."""
    picture = _open(image_path)
    if picture.mode in WIDE:
        grey = np.asarray(picture).astype(np.float32) / 65535
        image = np.repeat(grey[None], 3, axis=0) if rgb else grey[None]
    else:
        pixels = np.asarray(picture.convert("RGB" if rgb else "L"), dtype=np.float32) / 255
        image = pixels.transpose(2, 0, 1) if rgb else pixels[None]
    mask = _classes(mask_path, config)
    if mask.shape != image.shape[1:]:
        raise DataError(
            f"{mask_path} is {_size(mask)} (height x width), its image {image_path.name} is {_size(image[0])}"
        )
    if config.size:
        image, mask = _fit(image, config.size, 0), _fit(mask, config.size, IGNORE)
    return image, mask, image_path.stem


def _classes(path: Path, config: DataConfig) -> NDArray[np.uint8]:
    """Values of the file → class indices, IGNORE where ignored."""
    picture = _open(path)
    if picture.mode not in ("1", "L", "P", *WIDE):
        raise DataError(f"{path} is a {picture.mode} image; a mask has one grey value (or palette index) a pixel")
    values = np.asarray(picture).astype(np.int64)
    table = {int(value): index for value, index in config.mask_values.items()} if config.mask_values else None
    known = table or {index: index for index in range(len(config.classes))}
    lookup: Callable[[int], int | None] = known.get
    result = np.full(values.shape, IGNORE, dtype=np.uint8)
    present, counts = np.unique(values, return_counts=True)
    for value, count in zip(present.tolist(), counts.tolist(), strict=True):
        if value == config.ignore_index:
            continue
        index = lookup(value)
        if index is None or not 0 <= index < len(config.classes):
            expected = ", ".join(str(one) for one in sorted(known))
            raise DataError(
                f"{path} holds the value {value} ({count} pixels), which is no class; known: {expected}; "
                "name it in [data] mask_values, or set ignore_index"
            )
        result[values == value] = index
    return result


def _fit(array: NDArray, size: tuple[int, int], fill: int) -> NDArray:  # type: ignore[type-arg]
    """Centre-crop or pad the last two dimensions to ``size``; images repeat their edge, masks take ``fill``."""
    for axis, wanted in zip((-2, -1), size, strict=True):
        extra = wanted - array.shape[axis]
        if extra < 0:
            start = -extra // 2
            array = np.take(array, range(start, start + wanted), axis=axis)
        elif extra > 0:
            width = [(0, 0)] * array.ndim
            width[axis] = (extra // 2, extra - extra // 2)
            array = (
                np.pad(array, width, mode="edge") if array.ndim == 3 else np.pad(array, width, constant_values=fill)
            )
    return np.ascontiguousarray(array)


def _same_size(
    loaded: list[tuple[NDArray[np.float32], NDArray[np.uint8], str]], pairs: list[tuple[Path, Path]]
) -> None:
    first = loaded[0][1]
    for (_, mask, _), (path, _) in zip(loaded, pairs, strict=True):
        if mask.shape != first.shape:
            raise DataError(
                f"{path} is {_size(mask)} (height x width), {pairs[0][0].name} is {_size(first)}; "
                f"set size = [{first.shape[0]}, {first.shape[1]}] in [data] to crop and pad to one size"
            )


def _size(array: NDArray) -> str:  # type: ignore[type-arg]
    return f"{array.shape[0]} x {array.shape[1]}"
