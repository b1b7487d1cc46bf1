"""``paser-opt predict``: masks of images from a bundle, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, DataError
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
    cap: Annotated[
        bool, typer.Option("--cap", help="Send no more patches of an image on than any image of val did.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Segment images with an exported pipeline and say where the time went.

    Example: [bold]paser-opt predict bundle photos --out masks --budget-ms 20[/bold]
    """
    import json as jsonlib
    import math

    from ..predict import Predictor

    if budget_ms is not None and not math.isfinite(budget_ms):
        raise ConfigError(f"--budget-ms {budget_ms}: give a number of milliseconds")
    masks = _files(images, out)
    predictor = Predictor(bundle, threads=threads)
    budget_s = None if budget_ms is None else budget_ms / 1e3
    rows = []
    for path, mask in _progress(list(masks.items()), quiet=quiet or json):
        prediction = predictor(predictor.read(path), budget_s=budget_s, cap=cap)
        _write(mask, prediction, predictor)
        rows.append(_row(path, mask, prediction, predictor))
    if json:
        answer = {"budget_s": budget_s, "within_budget": _within(rows, budget_s), "cap": cap, "threads": threads,
                  "steps": _summary(rows), "images": rows}  # fmt: skip
        typer.echo(jsonlib.dumps(answer, indent=1))
    elif not quiet:
        _print(rows, budget_s, cap, out)


def _files(images: list[Path], out: Path) -> dict[Path, Path]:
    """All images named or in folders named, in order → their masks in ``out``.

    Raises DataError where there is none, two of one name, or where a mask would be written over an image.
    """
    from ..images import IMAGE_SUFFIXES, is_made_here

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
    masks = {path: out / f"{path.stem}.png" for path in found.values()}
    files = {path.resolve() for path in masks}
    for mask in masks.values():
        if mask.resolve() in files:
            raise DataError(f"the image {mask} would be overwritten by a mask; give --out another folder")
        if mask.exists() and not is_made_here(mask):
            raise DataError(f"{mask} is there already and no mask of paser-opt's: give --out another folder")
    return masks


def _write(path: Path, prediction: Prediction, predictor: Predictor) -> None:
    from ..images import mask_file
    from ..records import write_bytes

    write_bytes(path, mask_file(prediction.mask, predictor.manifest.mask_values))


def _row(path: Path, mask: Path, prediction: Prediction, predictor: Predictor) -> dict[str, Any]:
    models, most = len(predictor.manifest.pipeline.models), predictor.manifest.most_patches
    wanted = [int((prediction.wanted == model).sum()) for model in range(models)]
    sent = [sum(wanted[1:]), *wanted[1:]]
    return {
        "image": str(path),
        "mask": str(mask),
        "patches": [int((prediction.route == model).sum()) for model in range(models)],
        "wanted": wanted,
        "beyond_val": any(each > limit for each, limit in zip(sent, most, strict=True)) if most else None,
        "held_back": int((prediction.route != prediction.wanted).sum()),
        "seconds": prediction.seconds,
        "total_s": prediction.total_s,
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Step → images that took it, median and total of their seconds; last, all steps together."""
    from statistics import median

    times: dict[str, list[float]] = {}
    for row in rows:
        for step, seconds in row["seconds"].items():
            times.setdefault(step, []).append(seconds)
    times["all"] = [row["total_s"] for row in rows]
    return {step: {"images": len(each), "median_s": median(each), "total_s": sum(each)} for step, each in times.items()}


def _within(rows: list[dict[str, Any]], budget_s: float | None) -> int | None:
    return None if budget_s is None else sum(row["total_s"] <= budget_s for row in rows)


def _progress(masks: list[tuple[Path, Path]], *, quiet: bool) -> Any:
    from rich.progress import track

    from .live import console

    return track(masks, "predict", console=console, disable=quiet or not console.is_terminal)


def _print(rows: list[dict[str, Any]], budget_s: float | None, cap: bool, out: Path) -> None:
    from rich.table import Table

    from .live import console, figure

    steps = _summary(rows)
    total_s = steps["all"]["total_s"]
    table = Table("step", "images", "median", "total", "share", title=f"{len(rows)} images", title_justify="left")
    for step, one in steps.items():
        share = "" if step == "all" else f"{one['total_s'] / total_s:.0%}"
        table.add_row(step, str(one["images"]), figure("latency", one["median_s"]), figure("latency", one["total_s"]),
                      share)  # fmt: skip
    console.print(table)
    if budget_s is not None:
        console.print(f"within {figure('latency', budget_s)}: {_within(rows, budget_s)} of {len(rows)} images")
    if budget_s is not None or cap:
        console.print(f"patches held back: {sum(row['held_back'] for row in rows)}")
    if beyond := sum(bool(row["beyond_val"]) for row in rows):
        console.print(
            f"{beyond} of {len(rows)} images want more patches sent on than any image of val: they may be unlike those "
            f"the models know{'' if cap else '; --cap holds them to that'}"
        )
    console.print(f"masks: [bold]{out}[/bold]", soft_wrap=True)
