"""Test images with their routes drawn over the patches, as HTML."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..records import GalleryItem
from ..runs import RunFolder
from . import words
from .figures import MODEL_COLOURS

__all__ = ["CLASS_COLOURS", "Gallery", "gallery"]

CLASS_COLOURS = (
    *("#332288", "#DDCC77", "#117733", "#88CCEE", "#CC6677", "#44AA99"),
    *("#AA4499", "#999933", "#882255", "#DDDDDD", "#661100", "#6699CC"),
)
"""Paul Tol's muted palette (colour-blind safe) and two more; repeated beyond twelve classes."""
_IGNORED = "#202020"


@dataclass(frozen=True)
class Gallery:
    """``figures``: HTML; ``images``: file name → data URI, each once however many trials show it."""

    figures: str
    images: dict[str, str]
    trials: tuple[int, ...]
    models: int


def gallery(folder: RunFolder) -> Gallery:
    """The run's gallery; a file that is missing or no image is said so in its place."""
    run = folder.run()
    images: dict[str, str] = {}
    figures: list[str] = []
    for item in run.gallery:
        sizes = [
            _embed(folder.gallery / name, images, masks)
            for name, masks in (
                (item.image, 0),
                (item.truth, len(run.data.class_names)),
                (item.mask, len(run.data.class_names)),
            )
        ]
        figures.append(_figure(item, images, sizes[0]))
    return Gallery(
        figures="\n".join(figures),
        images=images,
        trials=tuple(sorted({item.trial for item in run.gallery})),
        models=1 + max((model for item in run.gallery for row in item.route for model in row), default=0),
    )


def _embed(path: Path, images: dict[str, str], classes: int) -> tuple[int, int] | None:
    """Put the image at ``path`` into ``images``; returns (width, height), None where it cannot be read.

    ``classes`` > 0: a grey or palette image of class indices is painted in CLASS_COLOURS.
    """
    try:
        with Image.open(path) as opened:
            image = opened.copy()
    except (OSError, UnidentifiedImageError):
        return None
    if path.name not in images:
        content = io.BytesIO()
        (_painted(image, classes) if classes else image).save(content, "PNG", optimize=True)
        images[path.name] = "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
    return image.size


def _painted(image: Image.Image, classes: int) -> Image.Image:
    if image.mode not in ("L", "P"):
        return image
    indices = np.asarray(image)
    if np.any((indices >= classes) & (indices != 255)):
        return image  # drawn already, not indices
    colours = [CLASS_COLOURS[i % len(CLASS_COLOURS)] for i in range(255)] + [_IGNORED]
    painted = Image.fromarray(indices).convert("P")
    painted.putdata(indices.ravel())
    painted.putpalette(bytes.fromhex("".join(colour[1:] for colour in colours)))
    return painted


def _figure(item: GalleryItem, images: dict[str, str], size: tuple[int, int] | None) -> str:
    counts = Counter(model for row in item.route for model in row)
    usage = words.usage([counts[model] / counts.total() for model in range(max(counts) + 1)])
    panels = (
        _panel(item.image, images, f"{item.name}, image", "image and route", _route(item, size) if size else ""),
        _panel(item.truth, images, f"{item.name}, truth", "truth"),
        _panel(item.mask, images, f"{item.name}, prediction", "prediction"),
    )
    return (
        f'<figure class="shot" data-trial="{item.trial}"><div class="panels">{"".join(panels)}</div>'
        f"<figcaption><b>{html.escape(item.name)}</b> trial {item.trial} · IoU {item.iou:.3f} · {usage}"
        "</figcaption></figure>"
    )


def _panel(file: str, images: dict[str, str], alt: str, caption: str, overlay: str = "") -> str:
    name = Path(file).name
    if name not in images:
        return f'<div class="panel"><p class="missing">{html.escape(file)} cannot be read</p></div>'
    return (
        '<div class="panel"><div class="stack">'
        f'<img data-file="{html.escape(name)}" alt="{html.escape(alt)}">'
        f"{overlay}</div><span>{caption}</span></div>"
    )


def _route(item: GalleryItem, size: tuple[int, int]) -> str:
    """SVG over the image: a rectangle a patch, coloured by model, the fuller the surer the policy."""
    rows, columns = len(item.route), len(item.route[0])
    width, height = size
    w, h = -(-width // columns), -(-height // rows)
    cells: list[str] = []
    for r, (models, sure) in enumerate(zip(item.route, item.confidence, strict=True)):
        for c, (model, confidence) in enumerate(zip(models, sure, strict=True)):
            box = f'x="{c * w}" y="{r * h}" width="{w}" height="{h}"'
            title = f"row {r + 1}, column {c + 1}: f_{model}, confidence {confidence:.2f}"
            if item.gain and item.best:
                title += f"; best: f_{item.best[r][c]}, gain {item.gain[r][c]:+.3f}"
            label = ""
            if max(rows, columns) <= 12:
                label = (
                    f'<text x="{c * w + w / 2:g}" y="{r * h + h / 2:g}" font-size="{0.34 * min(w, h):.3g}">'
                    f"{model}</text>"
                )
            cells.append(
                f'<g><title>{title}</title><rect {box} fill="{MODEL_COLOURS[model]}" '
                f'fill-opacity="{0.1 + 0.32 * confidence:.2f}"/>{label}</g>'
            )
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="route">{"".join(cells)}</svg>'
