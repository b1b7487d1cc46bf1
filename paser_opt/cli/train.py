"""``paser-opt train``: the UNets of a study, where training is fast."""

from __future__ import annotations

from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Quiet, Seeds, StudyName, Widths, Workers, default_folder

__all__ = ["command"]


def command(
    study: StudyName = "quickstart",
    seeds: Seeds = 5,
    models: Widths = 6,
    workers: Workers = 1,
    run: Annotated[Path | None, typer.Option(help="Folder of the run (default: runs/<study>).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the UNets that a search or a record of a study can ask for, and measure nothing.

    On a machine with a GPU, say; the run's artifacts are then copied to the machine that is measured. Policies and
    fine-tuning are left to it: they need costs. Stop it at any time: the same command goes on where it stopped.

    Example: [bold]paser-opt train quickstart --seeds 5 --workers 2[/bold]
    """
    from rich.markup import escape

    from ..catalog import load_study
    from ..errors import RunError
    from ..runs import RunFolder
    from .live import console, watching

    chosen = load_study(study)

    from ..search import train_study  # torch takes seconds; a misspelt study should not
    from ..search.executors import Subprocesses

    folder = RunFolder(run or default_folder(chosen.name))
    with watching(f"UNets of {chosen.name}", quiet=quiet, stages=not json) as watcher:
        done = train_study(
            chosen, folder, seeds=seeds, static=models, progress=watcher,
            executor=partial(Subprocesses, workers=workers),
        )  # fmt: skip
    if json:
        typer.echo(dumps({"folder": str(done.folder), "pieces": done.pieces, "left": done.left, "unfit": done.unfit,
                          "size_bytes": done.size_bytes}))  # fmt: skip
    elif not quiet:
        for one in done.unfit:
            console.print(f"left out: {escape(one)}", soft_wrap=True)
        again = f"paser-opt record {study} --seeds {seeds}" + (f" --models {models}" if models != 6 else "")
        console.print(
            f"{done.pieces} pipelines' UNets and single UNets are in [bold]{escape(str(done.folder))}[/bold], "
            f"{done.size_bytes / 1e6:.0f} MB. Where that folder is copied to, in the same place, this finds them: "
            f"{escape(again + (f' --run {run}' if run else ''))}",
            soft_wrap=True,
        )
        if any(share < 1 for share in chosen.rungs):
            console.print("This study has rungs: a search trains again up to each of them. rungs = [] spares it that.")
    if done.left:
        raise RunError(f"{len(done.left)} are still to be trained; the same command, with fewer --workers, goes on: "
                       + "; ".join(done.left))  # fmt: skip
