"""Images and masks in folders: one's own data.

    PATH/{train,val,test}/{images,masks}/      a split of one's own; a missing val or test is held out of train
    PATH/{images,masks}/                       val and test are held out
    split = "seeded"                           of either, all images are divided anew

An image and its mask share the file's stem. Every fault of the data is found here, before any training.
Not done: several images in one file, rotation by EXIF, 16-bit colour (Pillow reads its upper 8 bits).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..config import DataConfig
from ..errors import ConfigError, DataError
from ..images import IMAGE_SUFFIXES, VALUES, extent, header, is_grey, opened, overlap, read_image
from ..patches import IGNORE
from ..progress import Progress
from .paths import data_folder
from .splits import TRAIN_VAL_TEST, Part, Splits, divide, shares_of

__all__ = ["read"]

MASK_SUFFIXES = (".png", ".tif", ".tiff")
INDEXED = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True)
class Pair:
    image: Path
    mask: Path
    name: str


def read(config: DataConfig, progress: Progress) -> Splits:
    """The folder's images scaled to [0, 1] and their masks. Raises DataError, ConfigError."""
    assert config.path is not None  # DataConfig demands it
    table = _class_table(config)
    pairs = _splits(config, data_folder(config.path))
    every = [pair for name in TRAIN_VAL_TEST for pair in pairs[name]]
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(header, [pair.image for pair in every]))
        size = config.size or _common_size(every, [size for size, _ in headers])
        colour = config.channels == "rgb" or (config.channels == "auto" and not is_grey(headers[0][1]))
        images = np.empty((len(every), 3 if colour else 1, *size), dtype=np.float32)
        masks = np.empty((len(every), *size), dtype=np.uint8)

        def fill(index: int) -> None:
            pixels = read_image(every[index].image, colour)
            classes = _read_mask(every[index].mask, table, config)
            if classes.shape != pixels.shape[1:]:
                raise DataError(
                    f"{every[index].mask} is {extent(classes.shape)}, its image {every[index].image.name} is "
                    f"{extent(pixels.shape[1:])} (height x width); they must be the same"
                )
            images[index], masks[index] = _fit(pixels, classes, size)

        progress.stage("data", len(every))
        for done, _ in enumerate(pool.map(fill, range(len(every))), 1):
            progress.advance(done, every[done - 1].image.name)
    lengths = [len(pairs[name]) for name in TRAIN_VAL_TEST]
    train, val, test = (
        Part(image, mask, tuple(pair.name for pair in pairs[name]))
        for name, image, mask in zip(
            TRAIN_VAL_TEST,
            torch.split(torch.from_numpy(images), lengths),
            torch.split(torch.from_numpy(masks), lengths),
            strict=True,
        )
    )
    return Splits(train, val, test, config.classes)


# --- which files --------------------------------------------------------------------------------------


def _splits(config: DataConfig, root: Path) -> dict[str, list[Pair]]:
    rng = np.random.default_rng((config.seed, 0))
    split = (root / "train").is_dir()
    pairs = {"train": _pairs(root / "train" if split else root, config)}
    pairs |= {name: _pairs(root / name, config) for name in ("val", "test") if split and (root / name).is_dir()}
    if config.split == "seeded":  # val and test may have files of the same name
        joined = [replace(pair, name=f"{name}-{pair.name}") for name, each in pairs.items() for pair in each]
        pairs = {"train": joined if split else pairs["train"]}
    held_out = {
        name: share for name, share in zip(TRAIN_VAL_TEST, shares_of(config.holdout), strict=True) if name not in pairs
    }
    if held_out:
        shares = {"train": 1 - sum(held_out.values())} | held_out
        pool = pairs["train"]
        for name, chosen in zip(shares, divide(len(pool), [*shares.values()], [*shares], rng), strict=True):
            pairs[name] = [pool[index] for index in chosen]
    if config.limit is not None and config.limit < len(pairs["train"]):
        kept = np.sort(rng.permutation(len(pairs["train"]))[: config.limit])
        pairs["train"] = [pairs["train"][index] for index in kept]
    return pairs


def _pairs(folder: Path, config: DataConfig) -> list[Pair]:
    """Image and mask of each stem, in the order of the stems."""
    images = _by_stem(folder / config.images, IMAGE_SUFFIXES)
    masks = _by_stem(folder / config.masks, MASK_SUFFIXES)
    for stem in sorted(images.keys() ^ masks.keys()):
        if stem in images:
            wanted = " or ".join(f"{stem}{suffix}" for suffix in MASK_SUFFIXES)
            raise DataError(f"{images[stem]} has no mask; put {wanted} into {folder / config.masks}")
        raise DataError(f"{masks[stem]} has no image in {folder / config.images}; add it or remove the mask")
    return [Pair(images[stem], masks[stem], stem) for stem in sorted(images)]


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}; expected PATH/{{train,val,test}}/{{images,masks}} or PATH/{{images,masks}}, "
            "and other names than these in images = and masks = of [data]"
        )
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
            if path.stem in found:
                raise DataError(f"{found[path.stem]} and {path.name} have the same stem; keep one of them")
            found[path.stem] = path
    if not found:
        raise DataError(f"{folder} holds no file that ends in {', '.join(suffixes)}")
    return found


# --- what is in them ----------------------------------------------------------------------------------


def _common_size(pairs: list[Pair], sizes: list[tuple[int, int]]) -> tuple[int, int]:
    for pair, size in zip(pairs, sizes, strict=True):
        if size != sizes[0]:
            raise DataError(
                f"{pair.image} is {extent(size)} (height x width) but {pairs[0].image.name} is {extent(sizes[0])}; "
                "set size = [height, width] in [data] to crop and pad all to one size"
            )
    return sizes[0]


def _read_mask(path: Path, table: npt.NDArray[np.int16], config: DataConfig) -> npt.NDArray[np.uint8]:
    """(H, W) class indices, IGNORE where the file has ``ignore_index``."""
    with opened(path) as image:
        if image.mode not in INDEXED:
            raise DataError(
                f"{path} is {image.mode}, not one class value a pixel; save it with one 8- or 16-bit channel, "
                "or a palette"
            )
        values = np.asarray(image).astype(np.int64)
    classes = np.where((values < 0) | (values >= VALUES), np.int16(-1), table[values.clip(0, VALUES - 1)])
    if classes.min() < 0:
        unknown, pixels = np.unique(values[classes < 0], return_counts=True)
        listed = ", ".join(f"{value} ({count} pixels)" for value, count in zip(unknown[:5], pixels, strict=False))
        known = (
            f"mask_values names {', '.join(config.mask_values)}"
            if config.mask_values
            else f"classes names {len(config.classes)}, so values 0 … {len(config.classes) - 1}"
        )
        raise DataError(
            f"{path} has unknown values: {listed}{' …' if len(unknown) > 5 else ''}; {known}; "
            "add them to classes or mask_values, or leave one out by ignore_index"
        )
    return classes.astype(np.uint8)


def _class_table(config: DataConfig) -> npt.NDArray[np.int16]:
    """(65536,) value in a mask file → class index, IGNORE, or −1 where the value is unknown."""
    classes = len(config.classes)
    if classes > IGNORE:
        raise ConfigError(f"[data] classes has {classes} names; at most {IGNORE} are possible")
    table = np.full(VALUES, -1, dtype=np.int16)
    if config.mask_values is None:
        table[:classes] = np.arange(classes)
    for key, index in (config.mask_values or {}).items():
        if not key.isdecimal() or int(key) >= VALUES:
            raise ConfigError(f"[data] mask_values: {key!r} is not a grey value between 0 and {VALUES - 1}")
        if not 0 <= index < classes:
            raise ConfigError(f"[data] mask_values: {key} = {index} is no class; classes has 0 … {classes - 1}")
        table[int(key)] = index
    if config.ignore_index is not None:
        if not 0 <= config.ignore_index < VALUES:
            raise ConfigError(f"[data] ignore_index = {config.ignore_index} is not between 0 and {VALUES - 1}")
        if str(config.ignore_index) in (config.mask_values or {}):
            raise ConfigError(f"[data] ignore_index = {config.ignore_index} is in mask_values too; keep one of them")
        table[config.ignore_index] = IGNORE
    return table


def _fit(
    image: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8], size: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Centre-crop, then pad to ``size``: the image's edge is repeated, the mask's padding is IGNORE."""
    inside, placed = overlap(mask.shape, size)
    pad = [(one.start, want - one.stop) for one, want in zip(placed, size, strict=True)]
    return (
        np.pad(image[(slice(None), *inside)], [(0, 0), *pad], mode="edge"),
        np.pad(mask[inside], pad, constant_values=IGNORE),
    )
