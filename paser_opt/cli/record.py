"""``paser-opt record``: a whole study of record, one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Quiet, Reinforce, Seeds, StudyName, Widths, Workers, default_folder, several

__all__ = ["command"]


def command(
    study: StudyName = "quickstart",
    device: Annotated[str | None, typer.Option(help="A device in devices/, or a .toml (default: the study's).")] = None,
    seeds: Seeds = 5,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all (default: the study's).")] = None,
    models: Widths = 6,
    reinforce: Reinforce = True,
    workers: Workers = 1,
    run: Annotated[Path | None, typer.Option(help="Folder of the run (default: runs/<study>).")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the page <study>.md.")] = Path("docs/results"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Profile, search, static front, routers compared and every experiment on one study: all results on one page.

    Stop it at any time: the same command goes on where it stopped.

    Example: [bold]paser-opt record quickstart --seeds 5[/bold]
    """
    from ..catalog import load_device, load_study
    from ..runs import RunFolder
    from .experiment import shown
    from .live import console, watching

    chosen = load_study(study)
    target = load_device(device or chosen.device)
    chosen = chosen.model_copy(update={"device": target.name})  # a run holds one device's costs, and says whose

    from ..experiments.study import record_study  # torch takes seconds; a misspelt study should not
    from ..search import Effort

    folder = RunFolder(run or default_folder(chosen.name))
    total = trials or chosen.trials
    made_by = f"paser-opt record {chosen.name}" + (f" --device {device}" if device else "")
    made_by += f" --seeds {seeds} --trials {total} --models {models}"
    made_by += ("" if reinforce else " --no-reinforce") + (f" --workers {workers}" if workers > 1 else "")
    effort = Effort(seeds=seeds, static=models, reinforce=reinforce)
    with watching(f"study of record: {chosen.name}", quiet=quiet, timeout_s=chosen.timeout_s) as watcher:
        done = record_study(
            chosen, folder, out, device=target, effort=effort, trials=total, command=made_by, watcher=watcher,
            say=(lambda step: None) if quiet else console.print, executor=several(workers),
        )  # fmt: skip
    if json:
        typer.echo(f"[{','.join(one.model_dump_json(indent=1) for one in done.experiments)}]")
    elif not quiet:
        for one in done.experiments:
            console.print(shown(one))
        console.print(f"page: [bold]{done.page}[/bold]   run: {done.run.path}", soft_wrap=True)
