"""``paser-opt export``: a trial as a bundle that runs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Quiet, RunPath

__all__ = ["command"]


def command(
    run: RunPath,
    trial: Annotated[int, typer.Option(min=0, help="Number of the trial, such as `paser-opt pick` names.")],
    out: Annotated[Path, typer.Option(help="Folder to make; it must not be there yet.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trial as ONNX models and a manifest, for `paser-opt predict` or any other program with ONNX Runtime.

    Example: [bold]paser-opt export runs/quickstart --trial 7 --out bundle[/bold]
    """
    from ..export import export_bundle
    from ..runs import RunFolder
    from .live import console, watching

    with watching(f"export of trial {trial} of {run}", quiet=quiet) as watcher:
        manifest = export_bundle(RunFolder.open(run), trial, out, progress=watcher)
    if json:
        typer.echo(manifest.model_dump_json(indent=1))
    elif not quiet:
        console.print(f"bundle: [bold]{out}[/bold]", soft_wrap=True)
