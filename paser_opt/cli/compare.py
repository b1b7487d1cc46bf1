"""``paser-opt compare``: every router on the same models and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .options import Json, Quiet, Reinforce, Seeds, TrialNumber, Workers, default_folder, several

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from ..compare.records import Comparison, Difference

__all__ = ["command"]


def command(
    target: Annotated[str, typer.Argument(help="Folder of a run, or a study by name or path.")],
    trial: TrialNumber = None,
    seeds: Seeds = 1,
    points: Annotated[int, typer.Option(min=2, max=64, help="Values of λ each router is fitted for.")] = 12,
    models: Annotated[
        int,
        typer.Option(
            min=0, max=16, help="Widths of single UNets on whole images, where the study names none; 0: none."
        ),
    ] = 6,
    reinforce: Reinforce = True,
    workers: Workers = 1,
    out: Annotated[Path | None, typer.Option(help="Folder of the results (default: compare/ in the run).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold a pipeline against thresholds, a cascade, predicted gains, policies, random and the oracle, on test.

    A run's models are used as they are. A study's own pipeline is trained, from as many seeds as asked.

    Example: [bold]paser-opt compare runs/quickstart --trial 7[/bold]
    """
    from ..catalog import load_device, load_study
    from ..records import make_room
    from ..report import write_comparison, write_report
    from ..report.choice import chosen_trial
    from ..runs import RunFolder
    from ..search import Effort, compare_run, compare_study
    from .live import console, watching

    effort = Effort(seeds=seeds, points=points, static=models, reinforce=reinforce)
    if out:
        make_room(out / "compare.html")
    if Path(target).is_dir():
        run = RunFolder.open(Path(target))
        chosen = chosen_trial(run, trial)
        with watching(f"routers on trial {chosen.number} of {target}", quiet=quiet) as watcher:
            device = load_device(run.run().study.device)
            found = compare_run(run, chosen, effort=effort, device=device, progress=watcher, executor=several(workers))
    else:
        study = load_study(target)
        if trial is not None:
            raise ConfigError(f"--trial names a trial of a run; {target} is a study, which has none")
        run = RunFolder(default_folder(study.name))
        with watching(f"routers on {study.name}", quiet=quiet) as watcher:
            device = load_device(study.device)
            found = compare_study(study, run, effort=effort, device=device, progress=watcher, executor=several(workers))
    page = write_comparison(found, out or run.comparison)
    if found.trial is not None and out is None:
        write_report(run)  # which shows it too
    if json:
        typer.echo(found.model_dump_json(indent=1))
    elif not quiet:
        console.print(_tables(found))
        console.print(f"page: [bold]{page}[/bold]   table: {page.with_suffix('.csv')}", soft_wrap=True)


def _tables(found: Comparison) -> Group:
    """At the pipeline's cost, then whole fronts; narrow enough for a terminal, the page and the CSV hold the rest."""
    from rich.console import Group
    from rich.text import Text

    from ..report.compared import headline, said_of_routing

    return Group(
        _at_cost(found), _fronts(found), Text("\n".join([headline(found), *said_of_routing(found), *found.notes]))
    )


def _table(title: str, *names: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name == "router" else "right", no_wrap=True)
    return table


def _at_cost(found: Comparison) -> Table:
    from .live import figure

    names = ["router", "IoU", "latency", "GFLOPs", "IoU/GFLOP", "captured", "pipeline less this (95 %)", "p"]
    table = _table(f"{found.title}: test, at the pipeline's {found.axis}", *names)
    for one in found.routers:
        table.add_row(
            one.name,
            f"{one.iou.value:.3f}",
            figure("latency", one.latency_s.value),
            f"{one.gflops:.3g}",
            f"{one.iou_per_gflop.value:.3g}",
            "–" if one.captured is None else f"{one.captured:.0%}",
            *_difference(one.against),
        )
    return table


def _fronts(found: Comparison) -> Table:
    from .live import figure

    names = ["router", *(f"≤ {figure(found.axis, at)}" for at in found.budgets), "hypervolume"]
    table = _table(f"whole fronts: IoU within a mean {found.axis}, hypervolume", *names, "priced gains less this", "p")
    for one in found.routers:
        table.add_row(
            one.name,
            *(figure("iou", value) for value in one.iou_at),
            f"{one.hypervolume[found.axis].value:.3f}",
            *_difference(one.front_against.get(found.axis)),
        )
    return table


def _difference(difference: Difference | None) -> tuple[str, str]:
    """Its interval, and Holm's p with what follows from it."""
    if difference is None:
        return "–", ""
    interval = f"{difference.difference:+.3f} ({difference.low:+.3f} … {difference.high:+.3f})"
    verdict = "" if difference.verdict == "not told apart" else f" {difference.verdict}"
    return interval, f"{difference.p_holm:.2g}{verdict}"
