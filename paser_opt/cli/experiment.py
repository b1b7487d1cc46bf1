"""``paser-opt experiment``: what the paper leaves open, asked of one trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..experiments import NAMES
from .options import Json, Quiet, RunPath, Seeds

if TYPE_CHECKING:
    from rich.console import Group

    from ..experiments.records import ExperimentRecord

__all__ = ["command", "shown"]


def command(
    name: Annotated[
        str, typer.Argument(help=" ".join(f"[bold]{name}[/bold]: {question}." for name, question in NAMES.items()))
    ],
    run: RunPath,
    trial: Annotated[
        int | None, typer.Option(min=0, help="Trial of the run (default: the knee of those front members that route).")
    ] = None,
    seeds: Seeds = 1,
    out: Annotated[Path | None, typer.Option(help="Write a Markdown page too.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask one question of a trial's pipeline on test, from as many seeds as given: a table, and its record in the run.

    Example: [bold]paser-opt experiment mc-samples runs/quickstart --seeds 5[/bold]
    """
    from ..catalog import load_device
    from ..experiments.page import experiment_page
    from ..experiments.runner import known, run_experiments
    from ..records import make_room, write_text
    from ..report.choice import chosen_trial, routing_trial
    from ..runs import RunFolder
    from .live import console, watching

    folder = RunFolder.open(run)
    asked = known(name)
    chosen = routing_trial(folder) if trial is None else chosen_trial(folder, trial)
    device = load_device(folder.run().study.device)
    if out:
        make_room(out)
    with watching(f"{asked} on trial {chosen.number} of {run}", quiet=quiet) as watcher:
        (record,) = run_experiments([asked], folder, chosen, seeds=seeds, device=device, progress=watcher)
    if out:
        write_text(out, experiment_page(record))
    if json:
        typer.echo(record.model_dump_json(indent=1))
    elif not quiet:
        console.print(shown(record))
        written = f"   page: [bold]{out}[/bold]" if out else ""
        console.print(f"record: {folder.experiment_file(asked)}{written}", soft_wrap=True)


def shown(record: ExperimentRecord) -> Group:
    """Its sheets as tables, then its notes."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from ..experiments.sheets import row_texts

    tables = []
    for sheet in record.findings.sheets:
        table = Table(title=sheet.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in sheet.columns:
            table.add_column(column.name, justify="left" if column.kind == "text" else "right")
        for row in row_texts(sheet):
            table.add_row(*row)
        table.caption, table.caption_justify = "\n".join(sheet.notes), "left"
        tables.append(table)
    return Group(*tables, Text("\n".join(record.findings.notes)))
