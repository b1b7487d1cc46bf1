"""The trial of a run that a command works on."""

from __future__ import annotations

from ..errors import RunError
from ..records import TrialRecord
from ..runs import RunFolder
from .info import collect, knee

__all__ = ["chosen_trial", "routing_trial"]

ROUTES = 0.9
"""A trial routes if no model takes more of the patches than this."""


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
    """The knee of those front members that route, on val; of all where none does. Raises as chosen_trial."""
    info = collect(run)
    usage = {number: trial.val.usage for number in info.front if (trial := info.trial(number)).val}
    routing = [info.point(number) for number, each in usage.items() if max(each) <= ROUTES]
    return chosen_trial(run, knee(routing, info.objectives) if routing else None)
