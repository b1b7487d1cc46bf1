"""``paser-opt predict``: masks of images from a bundle, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError
from .options import Json, Quiet

if TYPE_CHECKING:
    from ..predict import Prediction, Predictor

__all__ = ["command"]


def command(
    bundle: Annotated[Path, typer.Argument(help="Folder that `paser-opt export` made.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks, one PNG an image, of the same name.")],
    budget_ms: Annotated[
        float | None, typer.Option(min=0.001, help="Milliseconds an image may take: fewer patches are sent on.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Segment images with an exported pipeline and say where the time went.

    Example: [bold]paser-opt predict bundle photos --out masks --budget-ms 20[/bold]
    """
    import json as jsonlib

    from ..predict import Predictor

    paths = _files(images)
    predictor = Predictor(bundle, threads=threads)
    budget_s = None if budget_ms is None else budget_ms / 1e3
    rows = []
    for path in _progress(paths, quiet=quiet or json):
        prediction = predictor(predictor.read(path), budget_s=budget_s)
        mask = out / f"{path.stem}.png"
        _write(mask, prediction, predictor)
        rows.append(_row(path, mask, prediction, predictor))
    if json:
        typer.echo(jsonlib.dumps({"budget_s": budget_s, "threads": threads, "images": rows}, indent=1))
    elif not quiet:
        _print(rows, budget_s, out)


def _files(images: list[Path]) -> list[Path]:
    """All images named or in folders named, in order. Raises DataError where there is none, or two of one name."""
    from ..images import IMAGE_SUFFIXES

    found: dict[str, Path] = {}
    for given in images:
        if not given.exists():
            raise DataError(f"there is no {given}")
        inside = sorted(given.iterdir()) if given.is_dir() else [given]
        chosen = [one for one in inside if one.suffix.lower() in IMAGE_SUFFIXES and not one.name.startswith(".")]
        if not chosen:
            raise DataError(f"{given} holds no file that ends in {', '.join(IMAGE_SUFFIXES)}")
        for path in chosen:
            if path.stem in found:
                raise DataError(f"{found[path.stem]} and {path} would get one mask; predict them into two folders")
            found[path.stem] = path
    return list(found.values())


def _write(path: Path, prediction: Prediction, predictor: Predictor) -> None:
    import io

    from ..images import mask_picture
    from ..records import write_bytes

    buffer = io.BytesIO()
    mask_picture(prediction.mask, predictor.manifest.mask_values).save(buffer, format="PNG", optimize=True)
    write_bytes(path, buffer.getvalue())


def _row(path: Path, mask: Path, prediction: Prediction, predictor: Predictor) -> dict[str, Any]:
    models = len(predictor.manifest.pipeline.models)
    return {
        "image": str(path),
        "mask": str(mask),
        "patches": [int((prediction.route == model).sum()) for model in range(models)],
        "held_back": int((prediction.route != prediction.wanted).sum()),
        "seconds": prediction.seconds,
        "total_s": prediction.total_s,
    }


def _progress(paths: list[Path], *, quiet: bool) -> Any:
    from rich.progress import track

    from .live import console

    return track(paths, "predict", console=console, disable=quiet or not console.is_terminal)


def _print(rows: list[dict[str, Any]], budget_s: float | None, out: Path) -> None:
    from statistics import median

    from rich.table import Table

    from .live import console, figure

    steps = list(dict.fromkeys(step for row in rows for step in row["seconds"]))
    total_s = sum(row["total_s"] for row in rows)
    table = Table("step", "images", "median", "total", "share", title=f"{len(rows)} images", title_justify="left")
    for step in steps:
        times = [row["seconds"][step] for row in rows if step in row["seconds"]]
        table.add_row(step, str(len(times)), figure("latency", median(times)), figure("latency", sum(times)),
                      f"{sum(times) / total_s:.0%}")  # fmt: skip
    table.add_row("all", str(len(rows)), figure("latency", median(row["total_s"] for row in rows)),
                  figure("latency", total_s), "")  # fmt: skip
    console.print(table)
    if budget_s is not None:
        within, held = sum(row["total_s"] <= budget_s for row in rows), sum(row["held_back"] for row in rows)
        console.print(f"within {figure('latency', budget_s)}: {within} of {len(rows)} images; {held} patches held back")
    console.print(f"masks: [bold]{out}[/bold]", soft_wrap=True)
