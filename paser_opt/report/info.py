"""Records → plain tuples: everything the report shows, before anything is drawn.

Values are those of the val split, as the search used them; test figures stand beside them. Symbols: λ, β, S,
f_0 … f_m as in PaSeR (arXiv 2402.11760).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

from ..config import OBJECTIVES
from ..pareto import front, hypervolume
from ..records import Alone, Cost, Evaluation, Profile, RunRecord, StaticFront, StaticModel, TrialRecord
from ..runs import RunFolder
from . import words

__all__ = [
    "Column",
    "Front",
    "History",
    "Info",
    "Interval",
    "Point",
    "alone_point",
    "collect",
    "complete",
    "figures_of",
    "front_trials",
    "knee",
    "static_point",
]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Point:
    """A routed pipeline (``model`` None), or one of a trial's models f_i used by itself."""

    trial: int
    model: int | None
    label: str
    tag: str
    figures: dict[str, float]
    """objective → value on val, SI units; a figure that is missing is left out"""
    iou: Interval | None
    test_iou: Interval | None
    rows: tuple[tuple[str, str], ...]
    """what the hover and the cards show: (name, text)"""


@dataclass(frozen=True)
class Front:
    """The front over one pair of objectives; ``x`` is minimised."""

    x: str
    y: str
    members: tuple[int, ...]
    """trial numbers by ascending x"""
    steps: tuple[tuple[float, float], ...]
    """vertices of the boundary of what is reached: right along x, then to the next member's y"""


@dataclass(frozen=True)
class History:
    """Dominated hypervolume after each finished trial; None with a reason where there is no reference."""

    trials: tuple[int, ...] = ()
    """trials finished so far"""
    clock_s: tuple[float, ...] = ()
    volume: tuple[float, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Column:
    """One column of the parallel coordinates: a parameter or an objective of every complete trial."""

    name: str
    values: tuple[float | str | None, ...]
    objective: bool


@dataclass(frozen=True)
class Info:
    """One run, ready to be drawn."""

    run: RunRecord
    trials: tuple[TrialRecord, ...]
    profiles: dict[str, Profile]
    points: tuple[Point, ...] = ()
    alone: tuple[Point, ...] = ()
    """single models that no other single model with the same index beats in all objectives"""
    static: StaticFront | None = None
    """single models trained on whole images, where `paser-opt static` made them"""
    front: tuple[int, ...] = ()
    """numbers of the trials that no other trial dominates over all objectives, the cheapest first"""
    knee: int | None = None
    fronts: tuple[Front, ...] = ()
    history: History = field(default_factory=History)
    columns: tuple[Column, ...] = ()

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.run.study.objectives

    def point(self, trial: int) -> Point:
        return next(point for point in self.points if point.trial == trial)

    def trial(self, number: int) -> TrialRecord:
        return next(trial for trial in self.trials if trial.number == number)


def collect(folder: RunFolder) -> Info:
    """All that the report says about a run. Raises RunError for a missing or damaged file."""
    run, trials = folder.run(), tuple(folder.trials())
    objectives = run.study.objectives
    points = tuple(_pipeline_point(trial, val) for trial, val in complete(trials))
    numbers = front_trials(trials, objectives)
    return Info(
        run=run,
        trials=trials,
        profiles=folder.profiles(),
        points=points,
        alone=_best_alone(trials, objectives),
        static=folder.static(),
        front=numbers,
        knee=knee([point for point in points if point.trial in numbers], objectives),
        fronts=tuple(pair_front(points, *_axes(pair)) for pair in combinations(objectives, 2)) if points else (),
        history=history(trials, objectives, run.reference),
        columns=_columns(trials, objectives),
    )


def complete(trials: Iterable[TrialRecord]) -> list[tuple[TrialRecord, Evaluation]]:
    return [(trial, trial.val) for trial in trials if trial.state == "complete" and trial.val is not None]


# --- points -------------------------------------------------------------------------------------------


def figures_of(iou: float, cost: Cost) -> dict[str, float]:
    figures = {
        "iou": iou,
        "gflops": cost.gflops,
        "latency": cost.latency_s.value,
        "energy": cost.energy_j.value,
        "memory": cost.memory_bytes.value,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _interval(evaluation: Evaluation) -> Interval:
    return Interval(evaluation.iou, evaluation.iou_low, evaluation.iou_high)


def _pipeline_point(trial: TrialRecord, val: Evaluation) -> Point:
    return Point(
        trial=trial.number,
        model=None,
        label=f"trial {trial.number}",
        tag=trial.tag,
        figures={**figures_of(val.iou, val.cost), **trial.values},
        iou=_interval(val),
        test_iou=_interval(trial.test) if trial.test else None,
        rows=_rows(trial, val),
    )


def _rows(trial: TrialRecord, val: Evaluation) -> tuple[tuple[str, str], ...]:
    pipeline, cost = trial.pipeline, val.cost
    rows = [("IoU, val", words.span(val.iou, val.iou_low, val.iou_high))]
    if trial.test:
        rows.append(("IoU, test", words.span(trial.test.iou, trial.test.iou_low, trial.test.iou_high)))
    rows.append(("latency", words.quantity("latency", cost.latency_s)))
    if cost.parts_s:
        parts = (f"{name} {words.figure('latency', part)}" for name, part in cost.parts_s.items())
        rows.append(("… by step", " + ".join(parts)))
    if trial.measured_latency:
        rows.append(("… end to end", words.end_to_end(trial.measured_latency, trial.measured_pace)))
    rows += [
        ("GFLOPs", f"{cost.gflops:.3g} full convention (2·MACs); {cost.paper_macs / 1e9:.3g} the paper's"),
        ("IoU/GFLOP", f"{val.iou_per_gflop:.3g} full convention; {val.iou_per_gflop_paper:.3g} the paper's"),
        ("energy", words.quantity("energy", cost.energy_j)),
        ("peak memory", words.quantity("memory", cost.memory_bytes)),
        ("usage", words.usage(val.usage)),
        ("λ · β · S", f"{pipeline.cost_weight:.3g} · {pipeline.distill_weight:.3g} · {pipeline.mc_samples}"),
        (
            "grid",
            f"{pipeline.grid[0]} × {pipeline.grid[1]}"
            + (f", halo {pipeline.halo}" if pipeline.halo else "")
            + (", f_1 … see f_0's result" if pipeline.context == "screen" else ""),
        ),
    ]
    rows += [(f"f_{i}", words.model(config)) for i, config in enumerate(pipeline.models)]
    rows.append(("policy", f"{pipeline.policy.kind}, reward's cost: {pipeline.reward_cost}"))
    if val.random:
        gap = f"{val.random.difference:+.3f} ({val.random.low:+.3f} … {val.random.high:+.3f})"
        captured = gain_captured(val)
        rows.append(
            (
                "against random",
                gap + (f", {words.share(captured)} of the gain of the oracle (its own usage)" if captured else ""),
            )
        )
    return tuple(rows)


def gain_captured(evaluation: Evaluation) -> float | None:
    """(IoU − IoU_random) / (IoU_oracle − IoU_random); None without either baseline.

    The random route has this route's usage; the oracle maximises the same reward at a usage of its own.
    """
    if evaluation.random is None or evaluation.oracle_iou is None:
        return None
    room = evaluation.oracle_iou - evaluation.random.baseline_iou
    return (evaluation.iou - evaluation.random.baseline_iou) / room if room > 0 else None


def alone_point(trial: TrialRecord, alone: Alone) -> Point:
    cost = alone.cost
    return Point(
        trial=trial.number,
        model=alone.model,
        label=f"f_{alone.model} alone (trial {trial.number}'s)",
        tag="",
        figures=figures_of(alone.iou, cost),
        iou=None,
        test_iou=None,
        rows=(
            ("IoU, val", f"{alone.iou:.3f}"),
            ("latency", words.quantity("latency", cost.latency_s)),
            ("GFLOPs", f"{cost.gflops:.3g} full convention"),
            ("IoU/GFLOP", f"{alone.iou / cost.gflops:.3g} full convention"),
            ("energy", words.quantity("energy", cost.energy_j)),
            ("model", alone.name),
            ("parameters", f"{alone.params:,}"),
        ),
    )


def static_point(row: StaticModel) -> Point:
    """One of the static front, to be drawn beside the trials."""
    return Point(
        trial=-1,
        model=None,
        label=row.name,
        tag="",
        figures={"iou": row.val_iou, "latency": row.latency.median_s, "gflops": 2 * row.macs / 1e9},
        iou=None,
        test_iou=Interval(row.test_iou, row.test_low, row.test_high),
        rows=(
            ("IoU, val", f"{row.val_iou:.3f}"),
            ("IoU, test", words.span(row.test_iou, row.test_low, row.test_high)),
            ("latency", f"{words.figure('latency', row.latency.median_s)} ({row.latency.how}, {row.runtime})"),
            ("parameters", f"{row.params:,}"),
        ),
    )


def _best_alone(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> tuple[Point, ...]:
    points = [alone_point(trial, alone) for trial, val in complete(trials) for alone in val.alone]
    best: list[Point] = []
    for model in sorted({point.model for point in points if point.model is not None}):
        same = [p for p in points if p.model == model and all(name in p.figures for name in objectives)]
        best += [same[i] for i in front([p.figures for p in same], objectives)]
    return tuple(best)


# --- fronts -------------------------------------------------------------------------------------------


def front_trials(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> tuple[int, ...]:
    """Numbers of the complete trials that none dominates over all objectives, by ascending first cost."""
    scored = [trial for trial, _ in complete(trials)]
    cost = next(name for name in objectives if name != "iou")
    members = [scored[i] for i in front([trial.values for trial in scored], objectives)]
    return tuple(trial.number for trial in sorted(members, key=lambda trial: trial.values[cost]))


def knee(points: Sequence[Point], objectives: Sequence[str]) -> int | None:
    """The trial farthest from the plane through the front's ends, every objective scaled to 0 … 1.

    Of front members only; Das, "On characterizing the knee of the Pareto curve", Structural Optimization 18,
    1999. None without members.
    """
    if not points:
        return None
    ranges = {name: [point.figures[name] for point in points] for name in objectives}

    def goodness(point: Point) -> float:
        total = 0.0
        for name, values in ranges.items():
            low, high = min(values), max(values)
            part = (point.figures[name] - low) / (high - low) if high > low else 0.0
            total += part if OBJECTIVES[name] == "maximize" else 1 - part
        return total

    return max(points, key=goodness).trial


def _axes(pair: tuple[str, str]) -> tuple[str, str]:
    """(x, y): IoU upwards, a cost to the right."""
    return (pair[1], pair[0]) if pair[0] == "iou" else pair


def pair_front(points: Sequence[Point], x: str, y: str) -> Front:
    """Front and step line over two objectives, ``x`` minimised."""
    chosen = [points[i] for i in front([point.figures for point in points], (x, y))]
    chosen.sort(key=lambda point: point.figures[x])
    corners = [(point.figures[x], point.figures[y]) for point in chosen]
    steps = corners[:1]
    for (_, before), (right, level) in pairwise(corners):
        steps += [(right, before), (right, level)]
    return Front(x, y, tuple(point.trial for point in chosen), tuple(steps))


def history(trials: Sequence[TrialRecord], objectives: Sequence[str], reference: dict[str, float] | None) -> History:
    """Hypervolume after each finished trial (of any state), in the order they ended."""
    if reference is None:
        return History(reason="the search ended before its pilot, so no reference point was frozen")
    best: list[dict[str, float]] = []
    volumes: list[float] = []
    ordered = sorted(trials, key=lambda trial: (trial.clock_s, trial.number))
    for trial in ordered:
        if trial.state == "complete":
            best.append(trial.values)
            best = [best[i] for i in front(best, objectives)]
        volumes.append(hypervolume(best, objectives, reference))
    return History(tuple(range(1, len(ordered) + 1)), tuple(trial.clock_s for trial in ordered), tuple(volumes))


def _columns(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> tuple[Column, ...]:
    scored = [trial for trial, _ in complete(trials)]
    names = dict.fromkeys(name for trial in scored for name in trial.params)
    parameters = [Column(name, tuple(_cell(trial.params.get(name)) for trial in scored), False) for name in names]
    varied = [column for column in parameters if len(set(column.values)) > 1]
    return (*varied, *(Column(name, tuple(t.values[name] for t in scored), True) for name in objectives))


def _cell(value: Any) -> float | str | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return str(value)
