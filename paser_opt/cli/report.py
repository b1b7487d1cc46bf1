"""``paser-opt report``: a run's page, again, or its fronts on several devices."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Json, Quiet, RunPath

__all__ = ["command"]


def command(
    run: RunPath,
    device: Annotated[
        list[str] | None,
        typer.Option(help="A device the run was retargeted to: its front beside the run's own. May be repeated."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's report.html, front.csv and front.json from its records; needs no torch and no network.

    With --device: devices.html and devices.json, the fronts of several devices side by side.

    Example: [bold]paser-opt report runs/quickstart[/bold]
    """
    from ..catalog import load_device
    from ..report import write_devices, write_report
    from ..runs import RunFolder

    folder = RunFolder.open(run)
    if device:
        names = [load_device(one).name if one.endswith(".toml") or "/" in one else one for one in device]
        page, answer = write_devices(folder, names), "devices.json"
    else:
        page, answer = write_report(folder), "front.json"
    if json:
        typer.echo((folder.path / answer).read_text(encoding="utf-8"))
    elif not quiet:
        typer.echo(str(page))
