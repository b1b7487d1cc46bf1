"""Image files to arrays and masks to image files; no torch in here, since a deployed bundle uses it too."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from .errors import DataError

__all__ = [
    "IMAGE_SUFFIXES",
    "VALUES",
    "extent",
    "header",
    "is_grey",
    "is_made_here",
    "mask_file",
    "mask_picture",
    "opened",
    "overlap",
    "read_image",
]

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
VALUES = 2**16  # of an 8- or 16-bit file
_SOFTWARE = "paser-opt"
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
_PALETTE = bytes.fromhex("332288 44aa99 ddcc77 cc6677 88ccee 117733 999933 882255 aa4499 dddddd 661100 ee7733")
"""Paul Tol's muted scheme, colour-blind safe; class index → RGB, repeated beyond twelve."""


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The image in a file. Raises DataError where it is damaged, no image, or several."""
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise DataError(f"{path} holds several images; save each in a file of its own")
            # As viewers show it, and as masks are drawn over it. Pillow turns a TIFF by itself.
            turned = "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            yield ImageOps.exif_transpose(image) if turned else image
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot read {path}: {reason}; the file is damaged or no image") from None


def header(path: Path) -> tuple[tuple[int, int], str]:
    """(height, width) and Pillow's mode, without decoding the pixels."""
    with opened(path) as image:
        return (image.height, image.width), image.mode


def is_grey(mode: str) -> bool:
    return mode in _GREY


def extent(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"


def read_image(path: Path, colour: bool) -> npt.NDArray[np.float32]:
    """(C, H, W) in [0, 1], three channels for ``colour``. Raises DataError."""
    with opened(path) as image:
        if image.mode == "F":
            raise DataError(f"{path} holds floating-point pixels; save it with 8 or 16 bits")
        if image.mode.startswith("I"):
            pixels, top = np.asarray(image, dtype=np.int64), VALUES - 1
            if pixels.min() < 0 or pixels.max() > top:
                raise DataError(f"{path} has grey levels outside 0 … {top}; save it with 8 or 16 bits")
            pixels = np.repeat(pixels[..., None], 3 if colour else 1, axis=2)
        else:
            pixels, top = np.asarray(image.convert("RGB" if colour else "L")), 255
            pixels = pixels.reshape(*pixels.shape[:2], -1)
    return np.moveaxis(pixels.astype(np.float32) / np.float32(top), 2, 0)


def overlap(have: Sequence[int], want: Sequence[int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where an image of (height, width) ``have``, centre-cropped and padded to ``want``, keeps its pixels:
    the rows and columns of the image, and those of the result."""
    inside, placed = [], []
    for has, wants in zip(have, want, strict=True):
        start, begin, length = max(0, has - wants) // 2, max(0, wants - has) // 2, min(has, wants)
        inside.append(slice(start, start + length))
        placed.append(slice(begin, begin + length))
    return (inside[0], inside[1]), (placed[0], placed[1])


def mask_picture(classes: npt.NDArray[np.uint8], values: Sequence[int] | None = None) -> Image.Image:
    """(H, W) class indices as a palette image; 255 is black. ``values``: pixel value of each class, else its index."""
    colours = [(0, 0, 0)] * 256
    for index, value in enumerate(values or range(255)):
        start = index % (len(_PALETTE) // 3) * 3
        colours[value] = (_PALETTE[start], _PALETTE[start + 1], _PALETTE[start + 2])
    table = np.arange(256, dtype=np.uint8)
    if values is not None:
        table[: len(values)] = values
    picture = Image.fromarray(table[classes], mode="P")
    picture.putpalette([one for colour in colours for one in colour])
    return picture


def mask_file(classes: npt.NDArray[np.uint8], values: Sequence[int] | None = None) -> bytes:
    """:func:`mask_picture` as a PNG that says who made it, so that it may be written over when it is made again."""
    buffer = io.BytesIO()
    mask_picture(classes, values).save(buffer, format="PNG", optimize=True, pnginfo=_made_here())
    return buffer.getvalue()


def is_made_here(path: Path) -> bool:
    """Whether the file is a mask of :func:`mask_file`."""
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == _SOFTWARE
    except OSError:
        return False


def _made_here() -> PngInfo:
    words = PngInfo()
    words.add_text("Software", _SOFTWARE)
    return words
