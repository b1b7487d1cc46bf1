"""The trial of a run that a command works on."""

from __future__ import annotations

from ..errors import RunError
from ..records import TrialRecord
from ..runs import RunFolder
from .findings import COLLAPSED
from .info import collect, knee

__all__ = ["chosen_trial", "routing_trial"]


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
    """The knee of those front members whose policy has not collapsed, on val; of all where each has.

    Raises as chosen_trial.
    """
    info = collect(run)
    usage = {number: trial.val.usage for number in info.front if (trial := info.trial(number)).val}
    routing = [info.point(number) for number, each in usage.items() if max(each) < COLLAPSED]
    return chosen_trial(run, knee(routing, info.objectives) if routing else None)
