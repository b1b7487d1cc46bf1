"""``paser-opt train``: the UNets of a study, where training is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Quiet, Seeds, StudyName, Widths, Workers, default_folder

__all__ = ["command"]


def command(
    study: StudyName = "quickstart",
    seeds: Seeds = 1,
    models: Widths = 6,
    workers: Workers = 1,
    run: Annotated[Path | None, typer.Option(help="Folder of the run (default: runs/<study>).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train all UNets that a search or a record of a study can ask for, and measure nothing.

    On a machine with a GPU, say; the run's artifacts are then copied to the machine that is measured. Stop it at any
    time: the same command goes on where it stopped.

    Example: [bold]paser-opt train quickstart --seeds 5 --workers 2[/bold]
    """
    from ..catalog import load_study
    from ..runs import RunFolder
    from .live import console, watching

    chosen = load_study(study)

    from functools import partial

    from ..search import train_study  # torch takes seconds; a misspelt study should not
    from ..search.executors import Subprocesses

    folder = RunFolder(run or default_folder(chosen.name))
    with watching(f"UNets of {chosen.name}", quiet=quiet) as watcher:
        done = train_study(
            chosen, folder, seeds=seeds, static=models, progress=watcher,
            executor=partial(Subprocesses, workers=workers),
        )  # fmt: skip
    if json:
        import json as text

        typer.echo(text.dumps({"folder": str(done.folder), "pieces": done.pieces, "left": done.left,
                               "size_bytes": done.size_bytes}))  # fmt: skip
    elif not quiet:
        for one in done.left:
            console.print(f"[yellow]{one}[/yellow]", soft_wrap=True)
        trained = done.pieces - len(done.left)
        console.print(
            f"{trained} of {done.pieces} pipelines' UNets and single UNets are in [bold]{done.folder}[/bold]: "
            f"{done.size_bytes / 1e6:.0f} MB. Copied to {folder.path}/artifacts elsewhere, `paser-opt record {study} "
            f"--seeds {seeds}` finds them there",
            soft_wrap=True,
        )
