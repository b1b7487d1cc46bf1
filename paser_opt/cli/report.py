"""``paser-opt report``: a run's page, again."""

from __future__ import annotations

import typer

from .options import Json, Quiet, RunPath

__all__ = ["command"]


def command(run: RunPath, json: Json = False, quiet: Quiet = False) -> None:
    """Write a run's report.html, front.csv and front.json from its records; needs no torch and no network.

    Example: [bold]paser-opt report runs/quickstart[/bold]
    """
    from ..report import write_report
    from ..runs import RunFolder

    folder = RunFolder.open(run)
    page = write_report(folder)
    if json:
        typer.echo((folder.path / "front.json").read_text(encoding="utf-8"))
    elif not quiet:
        typer.echo(str(page))
