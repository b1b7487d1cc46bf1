"""Hypervolume against seconds and trials: TPE with rungs and the cost gate, random search, and the paper's grid.

For each seed the three search one study and one profile. They share a stage store, so that a stage is made once; on a
clock of its own each is charged, at its first use of a stage, the seconds that making it took, and the time of its
own scoring. A second clock charges a stage in every trial that uses it, as where nothing is kept. Hypervolume's
reference point is one for the three: the worst of all their points, and 10 % beyond. The grid is λ × β × S at the
study's first sizes, as the paper searches.

    python benchmarks/search_efficiency.py [quickstart] [--seeds 10] [--trials 20] [--ours 60] [--out DIR] [--part 0/2]

Each seed's points are kept in OUT/<study>-<seed>.json; the same command goes on with the next seed. It ends by writing
docs/results/search-efficiency.md and its picture, for which kaleido is to be installed, and chromium.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from paser_opt.catalog import load_device, load_study
from paser_opt.cli.live import watching
from paser_opt.config import Range, Study
from paser_opt.cost import open_bench, open_profile
from paser_opt.data import load
from paser_opt.pareto import hypervolume, reference_point
from paser_opt.progress import Progress, Silent
from paser_opt.records import Profile, TrialRecord, read_record, write_text
from paser_opt.report.figures import MODEL_COLOURS
from paser_opt.runs import RunFolder
from paser_opt.search import profile_study, search
from paser_opt.search.attempt import Job, Outcome, attempt
from paser_opt.search.executors import Here
from paser_opt.search.objective import Bench, price
from paser_opt.search.space import dimensions, suggest
from paser_opt.train import ArtifactStore, training_device
from paser_opt.train.artifacts import Artifact

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
ANEW = ", all anew"
WAYS = ("TPE, rungs, gate", "random", "grid")
SHOWN = (*WAYS, *(way + ANEW for way in WAYS[1:]))
Curve = list[tuple[float, float]]
LEVELS = 3  # of λ in the grid


@dataclass
class Clock:
    """Seconds charged so far: each stage once, and each stage in every trial."""

    once_s: float = 0.0
    anew_s: float = 0.0
    used: set[str] = field(default_factory=set)
    in_trial: set[str] = field(default_factory=set)

    def charge(self, seconds: float) -> None:
        self.once_s, self.anew_s = self.once_s + seconds, self.anew_s + seconds

    def end(self) -> tuple[float, float]:
        """Of a trial."""
        self.in_trial.clear()
        return self.once_s, self.anew_s


class Charging(ArtifactStore):
    """A store that charges what a stage took when it was made, at its first use by this clock."""

    clock: Clock

    def get_or_make(self, key: str, make: Any) -> Artifact:
        before = time.monotonic()
        artifact = super().get_or_make(key, make)
        clock = self.clock
        clock.charge(before - time.monotonic())  # the caller charges its own wall time
        if key not in clock.used:
            clock.once_s += artifact.made_in_s
        if key not in clock.in_trial:
            clock.anew_s += artifact.made_in_s
        clock.used.add(key)
        clock.in_trial.add(key)
        return artifact


def charging(store: Path, clock: Clock) -> Charging:
    made = Charging(store)
    made.clock = clock
    return made


def charged(job: Job, bench: Any, clock: Clock) -> Outcome:
    """The attempt, its wall time outside stages charged as it is, its stages as they were made."""
    before = time.monotonic()
    outcome = attempt(job, bench)
    clock.charge(time.monotonic() - before)
    return outcome


Points = list[tuple[tuple[float, float], dict[str, float] | None]]
"""Seconds charged by the end of each trial, on both clocks, and its values; None where it was stopped."""


def tpe(study: Study, profile: Path, store: Path, trials: int) -> Points:
    clock = Clock()

    class Charged(Here):
        def submit(self, job: Job, progress: Progress) -> Any:
            workshop, run = self.workshop, super().submit
            self.workshop = replace(workshop, store=charging(store, clock))
            before = time.monotonic()
            try:
                return run(job, progress)
            finally:
                clock.charge(time.monotonic() - before)
                self.workshop = workshop

    ends: dict[int, tuple[float, float]] = {}

    class Watcher(Silent):
        def started(self, number: int, total: int, tag: str) -> None: ...

        def running(self, number: int) -> Progress:
            return self

        def finished(self, trial: TrialRecord, front: list[TrialRecord], volume: float | None) -> None:
            ends[trial.number] = clock.end()

        def note(self, text: str) -> None: ...

    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        (run.path / "profiles").mkdir(parents=True)
        shutil.copy(profile, run.profile_file("cpu"))
        search(
            study, run.path, device=load_device("cpu"), trials=trials, timeout_s=None, watcher=Watcher(),
            shared_store=store, executor=Charged,
        )  # fmt: skip
        return [(ends[one.number], one.values or None) for one in run.trials()]


def given(study: Study, profile: Path, store: Path, trials: Iterator[optuna.Trial]) -> Points:
    """Trials whose parameters do not depend on one another, each trained to its end."""
    clock = Clock()
    data = load(study.data, progress=Silent())
    bench = Bench(
        study=study, data=data, store=charging(store, clock), training_device=training_device(), progress=Silent(),
        profile=open_profile(profile, open_bench(load_device("cpu"))),
    )  # fmt: skip
    points: Points = []
    for number, trial in enumerate(trials):
        config = suggest(trial, study, channels=data.channels, classes=data.classes)
        record = TrialRecord(
            number=number, state="complete", params={}, pipeline=config, started="", seconds=0, clock_s=0
        )
        outcome = charged(Job(record, price(config, bench)), bench, clock)
        points.append((clock.end(), outcome.record.values or None))
    return points


def at_random(study: Study, trials: int) -> Iterator[optuna.Trial]:
    made = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=study.seed))
    return (made.ask() for _ in range(trials))


def grid(study: Study) -> Iterator[optuna.Trial]:
    """λ × β × S, all else as the study names it first."""
    first = {one.name: one.first for one in dimensions(study.space)}
    weight = study.space.cost_weight
    assert isinstance(weight, Range)
    weights = np.geomspace(weight.low, weight.high, LEVELS).tolist()
    for value, beta, samples in itertools.product(weights, study.space.distill_weight, study.space.mc_samples):
        yield optuna.trial.FixedTrial(  # type: ignore[misc]
            {**first, "cost_weight": value, "distill_weight": beta, "mc_samples": samples}
        )


def one_seed(study: Study, profile: Path, trials: int, ours: int) -> dict[str, Points]:
    with tempfile.TemporaryDirectory() as store:
        return {
            "TPE, rungs, gate": tpe(study, profile, Path(store), ours),
            "random": given(study, profile, Path(store), at_random(study, trials)),
            "grid": given(study, profile, Path(store), grid(study)),
        }


def curves(points: dict[str, Points], objectives: tuple[str, ...]) -> dict[str, Curve]:
    """Of each way, and of random search and the grid as where nothing is kept: (seconds, hypervolume) by trial."""
    every = [values for way in points.values() for _, values in way if values]
    reference = reference_point(every, objectives)
    found: dict[str, Curve] = {}
    for way, ends in points.items():
        seen: list[dict[str, float]] = []
        volumes = []
        for _, values in ends:
            seen += [values] if values else []
            volumes.append(hypervolume(seen, objectives, reference))
        for clock, suffix in enumerate(("", ANEW)):
            if not suffix or way != WAYS[0]:
                found[way + suffix] = [(seconds[clock], now) for (seconds, _), now in zip(ends, volumes, strict=True)]
    return found


def reached(curve: Curve, volume: float) -> float | None:
    """Seconds until ``volume`` was reached, or None."""
    return next((seconds for seconds, now in curve if now >= volume), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="quickstart")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=20, help="of random search")
    parser.add_argument("--ours", type=int, default=60, help="trials of TPE, of which most are stopped early")
    parser.add_argument("--part", default="0/1", help="0/2 and 1/2: every other seed, for two processes side by side")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "search-efficiency")
    options = parser.parse_args()
    study = load_study(options.study)
    profile = options.out / f"{study.name}-profile.json"
    with watching(f"profile of {study.name}", quiet=False) as watcher:
        profile_study(study, load_device("cpu"), profile, energy=True, progress=watcher)
    first, step = (int(one) for one in options.part.split("/"))
    for seed in range(first, options.seeds, step):
        file = options.out / f"{study.name}-{seed}.json"
        if not file.exists():
            print(f"seed {seed} of {options.seeds}", flush=True)
            points = one_seed(
                study.model_copy(update={"seed": seed, "timeout_s": None}), profile, options.trials, options.ours
            )
            write_text(file, json.dumps(points, indent=1) + "\n")
    files = [options.out / f"{study.name}-{seed}.json" for seed in range(options.seeds)]
    if not all(file.exists() for file in files):
        return  # the other part is at work
    seeds = [curves(json.loads(file.read_text()), study.objectives) for file in files]
    machine = read_record(Profile, profile).machine
    page = report(
        seeds,
        machine.described,
        f"{study.name} --seeds {options.seeds} --trials {options.trials} --ours {options.ours}",
    )
    picture(seeds).write_image(RESULTS / "search-efficiency.svg")
    write_text(RESULTS / "search-efficiency.md", page)
    print(page)


def picture(seeds: list[dict[str, Curve]]) -> go.Figure:
    """Hypervolume over each seed's best, against seconds and against trials: median and quartiles."""
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.03)
    best = [max(curve[-1][1] for curve in one.values()) for one in seeds]
    ends = [seconds for one in seeds for curve in one.values() for seconds, _ in curve]
    clocks = np.geomspace(min(ends), max(ends), 200)
    for way, colour in zip(SHOWN, MODEL_COLOURS, strict=False):
        by_seconds, by_trials = [], []
        for one, top in zip(seeds, best, strict=True):
            seconds, volumes = np.array(one[way]).T
            last = np.searchsorted(seconds, clocks, side="right")  # trials ended by then
            by_seconds.append(np.concatenate([[0.0], volumes / top])[last])
            by_trials.append(volumes / top)
        anew = way.endswith(ANEW)
        _band(figure, clocks, np.stack(by_seconds), way, colour, col=1)
        if not anew:  # trial by trial the same
            _band(figure, np.arange(1, len(by_trials[0]) + 1), np.stack(by_trials), way, colour, col=2)
    figure.update_xaxes(title="seconds", type="log", dtick=1, col=1)
    figure.update_xaxes(title="trials", col=2)
    figure.update_yaxes(title="hypervolume / the seed's best", range=[0, 1.03], col=1)
    return figure.update_layout(
        template="plotly_white", width=960, height=420, margin={"l": 60, "r": 10, "t": 40, "b": 50},
        legend={"orientation": "h", "y": 1.12, "traceorder": "normal"},
    )  # fmt: skip


def _band(figure: go.Figure, x: np.ndarray, y: np.ndarray, way: str, colour: str, *, col: int) -> None:
    """``y`` [seed, x]."""
    low, middle, high = np.quantile(y, [0.25, 0.5, 0.75], axis=0)
    line = {"color": colour, "shape": "hv", "dash": "dot" if way.endswith(ANEW) else "solid"}
    edge = {"x": x, "line": {"width": 0, "shape": "hv"}, "mode": "lines", "showlegend": False, "hoverinfo": "skip"}
    figure.add_scatter(y=low, **edge, col=col, row=1)
    figure.add_scatter(y=high, **edge, fill="tonexty", fillcolor=colour + "33", col=col, row=1)
    figure.add_scatter(x=x, y=middle, line=line, mode="lines", name=way, showlegend=col == 1, col=col, row=1)


def report(seeds: list[dict[str, Curve]], machine: str, arguments: str) -> str:
    lines = [
        "# What a search's seconds buy",
        "",
        f"`python benchmarks/search_efficiency.py {arguments}` wrote this page, on {machine}.",
        "Medians and quartiles over seeds. *All anew*: each trial trains all it uses, as where nothing is kept; the",
        "others take from the stage store what an earlier trial has trained.",
        "",
        "![Hypervolume against seconds and trials](search-efficiency.svg)",
        "",
        "| search | trials | seconds | hypervolume |",
        "| --- | --- | --- | --- |",
    ]
    for way in SHOWN:
        seconds, volumes = zip(*(one[way][-1] for one in seeds), strict=True)
        lines.append(f"| {way} | {len(seeds[0][way])} | {spread(seconds, '.0f')} | {spread(volumes, '.4g')} |")
    lines += ["", f"{WAYS[0]} reaches the final hypervolume of the others:", ""]
    lines += ["| of | in its seconds / theirs | seeds that reach it |", "| --- | --- | --- |"]
    for way in SHOWN[1:]:
        ratios = []
        for one in seeds:
            seconds, volume = one[way][-1]
            mine = reached(one[WAYS[0]], volume)
            ratios.append(float("inf") if mine is None else mine / seconds)
        got = sum(np.isfinite(ratios))
        lines.append(f"| {way} | {spread(ratios, '.2f')} | {got} of {len(seeds)} |")
    lines += [
        "",
        "| share of the slowest search's seconds | " + " | ".join(WAYS) + " |",
        "| --- |" + " --- |" * len(WAYS),
    ]
    for share in (0.1, 0.2, 0.33, 0.5, 0.75, 1.0):
        cells = []
        for way in WAYS:
            volumes = []
            for one in seeds:
                limit = share * max(curve[-1][0] for curve in one.values())
                best = max(curve[-1][1] for curve in one.values())
                volumes.append(max([now for seconds, now in one[way] if seconds <= limit], default=0.0) / best)
            cells.append(spread(volumes, ".2f"))
        lines.append(f"| {share:.0%} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def spread(values: Any, form: str) -> str:
    """Median and quartiles."""
    ordered = sorted(values)
    if len(ordered) < 2:
        return format(ordered[0], form)
    low, middle, high = statistics.quantiles(ordered, n=4, method="inclusive") if np.isfinite(ordered).all() else (
        ordered[len(ordered) // 4], ordered[len(ordered) // 2], ordered[3 * len(ordered) // 4]
    )  # fmt: skip
    return f"{format(middle, form)} ({format(low, form)} … {format(high, form)})"


if __name__ == "__main__":
    main()
