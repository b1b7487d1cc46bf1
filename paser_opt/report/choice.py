"""The trial of a run that a command works on, and what to deploy within limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..config import OBJECTIVES
from ..errors import RunError
from ..records import TrialRecord
from ..runs import RunFolder
from .findings import COLLAPSED
from .info import Point, alone_point, collect, complete, figures_of, knee

__all__ = ["bounds", "chosen_trial", "pick", "pick_single", "routing_trial"]

EARNING = 0.5
"""Share of the gain over f_0 of the member that gains most, below which a route says little of routes."""


def chosen_trial(run: RunFolder, number: int | None) -> TrialRecord:
    """The trial of that number, or the front's knee. Raises RunError where there is none."""
    info = collect(run)
    chosen = info.knee if number is None else number
    if chosen is None:
        raise RunError(f"no trial of {run.path} is complete, so there is nothing to work on; search on")
    if chosen not in {trial.number for trial in info.trials}:
        raise RunError(f"{run.path} has no trial {chosen}; it has 0 to {len(info.trials) - 1}")
    return info.trial(chosen)


def routing_trial(run: RunFolder) -> TrialRecord:
    """The knee of those front members whose policy has not collapsed and whose route gains on val, over the best f_0
    alone of them all, at least EARNING of what the one that gains most does.

    Where there are none: of those whose policy has not collapsed; where each has, of all. Raises as chosen_trial.
    """
    info = collect(run)
    members = [(info.point(trial.number), val) for trial, val in complete(info.trials) if trial.number in info.front]
    screen = max((one.iou for _, val in members for one in val.alone if one.model == 0), default=0.0)
    routing = [(point, val.iou - screen) for point, val in members if max(val.usage) <= COLLAPSED]
    enough = EARNING * max((gain for _, gain in routing), default=0.0)
    some = [point for point, gain in routing if gain >= enough > 0] or [point for point, _ in routing]
    return chosen_trial(run, knee(some, info.objectives) if some else None)


def pick(
    trials: Sequence[TrialRecord],
    *,
    max_latency_s: float | None = None,
    max_energy_j: float | None = None,
    min_iou: float | None = None,
    max_gflops: float | None = None,
) -> TrialRecord | None:
    """The complete trial to deploy within limits, judged on val; None where no trial keeps them all.

    With a limit on a cost: the highest IoU within it (of equals, the fastest). With ``min_iou`` alone: the
    fastest (without latencies: the fewest FLOPs). A figure that is missing keeps no limit.
    """
    caps = _caps(max_latency_s, max_energy_j, max_gflops)
    kept = [
        (trial, figures)
        for trial, figures in _scored(trials)
        if _within(figures, caps) and (min_iou is None or figures["iou"] >= min_iou)
    ]

    def preference(candidate: tuple[TrialRecord, dict[str, float]]) -> tuple[float, float, float]:
        figures = candidate[1]
        cheap = (figures.get("latency", float("inf")), figures["gflops"])
        return (-figures["iou"], *cheap) if caps or min_iou is None else (*cheap, -figures["iou"])

    return min(kept, key=preference)[0] if kept else None


def bounds(trials: Sequence[TrialRecord]) -> dict[str, tuple[float, int]]:
    """The highest IoU on val and the lowest cost of each kind among complete trials, and the number of the trial that
    has it; a figure that all lack is left out."""
    found: dict[str, tuple[float, int]] = {}
    for trial, figures in _scored(trials):
        for name, value in figures.items():
            sign = 1 if OBJECTIVES[name] == "maximize" else -1
            if name not in found or sign * value > sign * found[name][0]:
                found[name] = (value, trial.number)
    return found


def pick_single(
    trials: Sequence[TrialRecord],
    *,
    better_than: float,
    max_latency_s: float | None = None,
    max_energy_j: float | None = None,
    max_gflops: float | None = None,
) -> Point | None:
    """Of the models by themselves, as trials scored them on val, the best within the limits; None where none has an IoU
    above ``better_than``."""
    caps = _caps(max_latency_s, max_energy_j, max_gflops)
    points = [alone_point(trial, alone) for trial, val in complete(trials) for alone in val.alone]
    kept = [one for one in points if _within(one.figures, caps) and one.figures["iou"] > better_than]
    return max(kept, key=lambda one: one.figures["iou"], default=None)


def _scored(trials: Sequence[TrialRecord]) -> list[tuple[TrialRecord, dict[str, float]]]:
    return [(trial, {**figures_of(val.iou, val.cost), **trial.values}) for trial, val in complete(trials)]


def _caps(latency_s: float | None, energy_j: float | None, gflops: float | None) -> dict[str, float]:
    limits = {"latency": latency_s, "energy": energy_j, "gflops": gflops}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _within(figures: Mapping[str, float], caps: Mapping[str, float]) -> bool:
    return all(figures.get(name, float("inf")) <= limit for name, limit in caps.items())
