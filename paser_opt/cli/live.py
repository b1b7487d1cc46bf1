"""Progress in the terminal: the trial, its stage and epoch, the front so far, the time left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from ..progress import Progress
from ..records import TrialRecord

if TYPE_CHECKING:
    from ..search import Watcher

__all__ = ["answers", "console", "figure", "literal", "watching"]

_FILE_WIDTH = 132
"""Of what is written into a file or a pipe, which has no width of its own."""


def _console(stderr: bool) -> Console:
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _FILE_WIDTH
    return made


console = _console(stderr=True)
answers = _console(stderr=False)


@contextmanager
def watching(title: str, *, quiet: bool, stages: bool = False, timeout_s: float | None = None) -> Iterator[Watcher]:
    """A watcher that draws on a terminal, prints a line a trial elsewhere (with ``stages`` a line a stage, too), and
    says nothing when ``quiet``."""
    if quiet:
        yield _Silent()
    elif console.is_terminal:
        screen = _Screen(title, timeout_s)
        with Live(get_renderable=screen.draw, console=console, refresh_per_second=4):
            yield screen
    else:
        console.print(escape(title))
        yield _Lines(stages)


def figure(name: str, value: float | None) -> str:
    """An objective's value with its unit, as people read it."""
    if value is None:
        return "–"
    if name == "iou":
        return f"{value:.3f}"
    if name == "gflops":
        return f"{value:.3g} GFLOPs"
    if name == "memory":
        return f"{value / 2**20:.3g} MiB"
    unit = "s" if name == "latency" else "J"
    return f"{value * 1e3:.3g} m{unit}" if value < 1 else f"{value:.3g} {unit}"


def literal(text: str) -> Text:
    """What a file or a board says, for a table: neither rich's markup nor a terminal's control codes."""
    return Text("".join(letter if letter.isprintable() else " " for letter in text))


def _outcome(trial: TrialRecord) -> str:
    if trial.state == "complete":
        return " · ".join(f"{name} {figure(name, value)}" for name, value in trial.values.items())
    return f"{trial.state}: {trial.reason}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes}:{rest:02d} min"


class _Silent:
    def stage(self, name: str, total: int) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...

    def started(self, number: int, total: int, tag: str) -> None: ...

    def running(self, number: int) -> Progress:
        return self

    def finished(self, trial: TrialRecord, front: list[TrialRecord], volume: float | None) -> None: ...

    def note(self, text: str) -> None: ...


_MANY = ("table ", "fold ")
"""Stages without a line: tables are many and soon made, a fold is told of where all of it is stored, too."""
_LONG_S = 60
"""Of silence, after which any stage that begins, or how far it has come, is told."""


class _Lines(_Silent):
    """For logs and pipes. With ``stages`` a line when one begins, the first time where folds come to it again."""

    def __init__(self, stages: bool, prefix: str = "") -> None:
        self.stages, self.prefix = stages, prefix
        self.told: set[str] = set()
        self.last = time.monotonic()
        self.at = ("", 0)

    def stage(self, name: str, total: int) -> None:
        self.at = (name, total)
        new = name not in self.told and not name.startswith(_MANY)
        if self.stages and (new or time.monotonic() - self.last > _LONG_S):
            console.print(escape(f"{self.prefix}{name}"), soft_wrap=True)
            self.told.add(name)
            self.last = time.monotonic()

    def advance(self, done: int, note: str = "") -> None:
        if self.stages and time.monotonic() - self.last > _LONG_S:
            name, total = self.at
            said = f"{self.prefix}{name}: {done} of {total}" + (f", {note}" if note else "")
            console.print(escape(said), soft_wrap=True)
            self.last = time.monotonic()

    def running(self, number: int) -> Progress:
        return _Lines(self.stages, f"trial {number}: ")

    def started(self, number: int, total: int, tag: str) -> None:
        self.total = total
        self.told.clear()

    def note(self, text: str) -> None:
        console.print(escape(text), soft_wrap=True)

    def finished(self, trial: TrialRecord, front: list[TrialRecord], volume: float | None) -> None:
        star = " ★ on the front" if trial in front else ""
        tag = f", {trial.tag}" if trial.tag else ""
        line = f"trial {trial.number} ({trial.number + 1} of {self.total}{tag}): {_outcome(trial)}"
        console.print(escape(f"{line}, {trial.seconds:.1f} s{star}"), soft_wrap=True)


class _Bar:
    """The stage at work, of one trial or of the driver."""

    def __init__(self, bars: Bars, prefix: str = "") -> None:
        self.bars, self.prefix = bars, prefix
        self.task = bars.add_task("", total=None, note="", visible=False)

    def stage(self, name: str, total: int) -> None:
        self.bars.reset(self.task, total=total, description=f"  {self.prefix}{name}", note="", visible=True)

    def advance(self, done: int, note: str = "") -> None:
        self.bars.update(self.task, completed=done, note=note)

    def remove(self) -> None:
        self.bars.remove_task(self.task)


class _Screen(_Silent):
    """For terminals."""

    def __init__(self, title: str, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self.bars = Bars(
            TextColumn("{task.description:<28}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"), console=console,
        )  # fmt: skip
        self.trials = self.bars.add_task(escape(title), total=None, note="")
        self.current = _Bar(self.bars)  # of the driver itself: what it measures and evaluates
        self.at_work: dict[int, _Bar] = {}
        self.front: list[TrialRecord] = []
        self.since = time.monotonic()
        self.asked = 0
        self.done_here = 0

    def stage(self, name: str, total: int) -> None:
        self.current.stage(name, total)

    def advance(self, done: int, note: str = "") -> None:
        self.current.advance(done, note)

    def started(self, number: int, total: int, tag: str) -> None:
        self.total = total
        self.asked = max(self.asked, number + 1)
        self.at_work[number] = _Bar(self.bars, f"{number}: ")
        self.bars.update(self.trials, total=total, completed=self._done())
        if tag:
            self.bars.update(self.trials, note=tag)

    def running(self, number: int) -> Progress:
        bar = self.at_work[number]
        bar.stage("starting", 1)
        return bar

    def finished(self, trial: TrialRecord, front: list[TrialRecord], volume: float | None) -> None:
        self.at_work.pop(trial.number).remove()
        self.done_here += 1
        self.front = front
        left = (time.monotonic() - self.since) / self.done_here * (self.total - self._done())
        if self.timeout_s is not None:
            left = min(left, max(0.0, self.timeout_s - trial.clock_s))
        note = f"about {_duration(left)} left" + (f" · hypervolume {volume:.4g}" if volume is not None else "")
        self.bars.update(self.trials, completed=self._done(), note=note)
        console.print(escape(f"trial {trial.number}: {_outcome(trial)}"), style="dim", soft_wrap=True)

    def note(self, text: str) -> None:
        console.print(escape(text), soft_wrap=True)

    def _done(self) -> int:
        return self.asked - len(self.at_work)

    def draw(self) -> Group:
        return Group(self._table() if self.front else Text(), self.bars)

    def _table(self) -> Table:
        names = list(self.front[0].values)
        table = Table(
            "trial",
            *names,
            "λ",
            "β",
            "S",
            "patches kept by each model",
            title="front so far",
            title_justify="left",
        )
        for trial in sorted(self.front, key=lambda one: one.values[names[1]])[:12]:
            config, usage = trial.pipeline, trial.val.usage if trial.val else []
            table.add_row(
                str(trial.number),
                *(figure(name, trial.values[name]) for name in names),
                f"{config.cost_weight:.3g}",
                f"{config.distill_weight:g}",
                str(config.mc_samples),
                " ".join(f"{share:.0%}" for share in usage),
            )
        return table
