"""A study of record: profile, search, static front, routers compared, every experiment, one page written by the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..compare.records import Comparison
from ..config import Device, Study
from ..records import make_room, write_text
from ..report import write_comparison, write_report
from ..report.choice import routing_trial
from ..report.info import collect
from ..runs import RunFolder
from ..search import Effort, Watcher, compare_run, profile_study, search, static_front
from ..search.executors import Here, MakeExecutor
from . import NAMES
from .page import study_page
from .records import ExperimentRecord, Origin
from .runner import run_experiments

__all__ = ["StudyOfRecord", "record_study"]


@dataclass(frozen=True)
class StudyOfRecord:
    """What was done, and where it is written."""

    page: Path
    run: RunFolder
    comparison: Comparison
    experiments: list[ExperimentRecord]


def record_study(
    study: Study,
    run: RunFolder,
    out: Path,
    *,
    device: Device,
    effort: Effort,
    trials: int,
    command: str,
    watcher: Watcher,
    say: Callable[[str], object],
    executor: MakeExecutor | None = None,
) -> StudyOfRecord:
    """Everything there is to say of ``study``, into ``out``/<study>.md; on the trial that report.routing_trial names.

    ``command`` is what the page says it was made by; ``say`` is told each step; ``executor``: where trials and UNets
    train, several at a time; None: here, one after another.
    Each step goes on where it stopped: measured steps, finished trials and trained stages are kept in ``run``. Raises
    what the steps raise.
    """
    page = out / f"{study.name}.md"
    make_room(page)
    say("profile")
    with run.locked():
        profile_study(study, device, run.profile_file(device.name), energy=True, progress=watcher)
    say("search")
    search(study, run.path, device=device, trials=trials, timeout_s=study.timeout_s, watcher=watcher,
           executor=executor or Here)  # fmt: skip
    say("single UNets on whole images")
    static_front(run, device=device, models=effort.static, int8=effort.int8, progress=watcher, executor=executor)
    write_report(run)
    trial = routing_trial(run)
    say(f"routers on trial {trial.number}, {effort.seeds} seeds")
    comparison = compare_run(run, trial, effort=effort, device=device, progress=watcher, executor=executor)
    write_comparison(comparison, run.comparison)
    write_report(run)
    say(", ".join(NAMES))

    def write_page(origin: Origin, so_far: list[ExperimentRecord]) -> None:
        write_text(page, study_page(collect(run), comparison, origin, so_far, command))

    experiments = run_experiments(
        list(NAMES), run, trial, seeds=effort.seeds, device=device, progress=watcher, after=write_page
    )
    return StudyOfRecord(page, run, comparison, experiments)
