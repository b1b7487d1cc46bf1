"""``paser-opt retarget``: the front for another device, from a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Estimate, Host, Json, Precision, Quiet, RunPath, Runtime

__all__ = ["command"]


def command(
    run: RunPath,
    device: Annotated[str, typer.Option(help="A device in devices/, or a .toml.")],
    host: Host = None,
    runtime: Runtime = None,
    precision: Precision = None,
    estimate: Estimate = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run (default: <RUN>-<device>).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Price a run's trials on another device and train their policies for its costs; no UNet is trained again.

    The result is a run like any other: report, pick, export and validate work on it.

    Example: [bold]paser-opt retarget runs/quickstart --device jetson --host me@board[/bold]
    """
    from ..catalog import load_device
    from ..report import write_report
    from ..runs import RunFolder
    from ..search import retarget
    from .live import console, watching

    source = RunFolder.open(run)
    target = load_device(device, host=host, runtime=runtime, precision=precision)
    folder = out or source.retargeted(target.name).path
    with watching(f"{run} for {target.name}", quiet=quiet) as watcher:
        made = retarget(source, folder, device=target, watcher=watcher, estimate=estimate)
    page = write_report(made)
    if json:
        typer.echo((made.path / "front.json").read_text(encoding="utf-8"))
    elif not quiet:
        console.print(f"report: [bold]{page}[/bold]   front: {made.path / 'front.csv'}", soft_wrap=True)
