"""Which parameters decide each objective: PED-ANOVA over the finished trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import PedAnovaImportanceEvaluator

from ..config import OBJECTIVES
from ..records import TrialRecord

__all__ = ["FEWEST", "Importances", "importances"]

FEWEST = 10
"""Complete trials below which importances would be noise."""


@dataclass(frozen=True)
class Importances:
    """Parameter → share of one objective's importance (they sum to 1), or why there is none."""

    objective: str
    shares: tuple[tuple[str, float], ...]
    reason: str | None = None


def importances(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> tuple[Importances, ...]:
    """PED-ANOVA (Watanabe et al., arXiv 2304.10255) of each objective by itself.

    The study is rebuilt in memory, one an objective so that Optuna knows its direction; ranges are the
    observed ones. The "good" trials are the best 10 %, or five where that is fewer.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if len(complete) < FEWEST:
        reason = f"{len(complete)} complete trials are too few: importances need {FEWEST}"
        return tuple(Importances(name, (), reason) for name in objectives)
    spaces = _distributions([trial.params for trial in complete])
    if not spaces:
        return tuple(Importances(name, (), "every parameter had one value only") for name in objectives)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, 5 / len(complete)))
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return tuple(_one(complete, spaces, name, evaluator) for name in objectives)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _one(
    trials: Sequence[TrialRecord],
    spaces: dict[str, BaseDistribution],
    objective: str,
    evaluator: PedAnovaImportanceEvaluator,
) -> Importances:
    study = optuna.create_study(direction=OBJECTIVES[objective])
    for trial in trials:
        params = {name: _value(value) for name, value in trial.params.items() if name in spaces}
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions={name: spaces[name] for name in params},
                value=trial.values[objective],
            )
        )
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importances(objective, tuple(found.items()))


def _distributions(params: Sequence[dict[str, Any]]) -> dict[str, BaseDistribution]:
    """Observed ranges of the parameters that varied."""
    spaces: dict[str, BaseDistribution] = {}
    for name in dict.fromkeys(name for each in params for name in each):
        values = [_value(each[name]) for each in params if name in each]
        if len(set(values)) < 2:
            continue
        if all(type(value) is int for value in values):
            spaces[name] = IntDistribution(min(values), max(values))
        elif all(type(value) in (int, float) for value in values):
            spaces[name] = FloatDistribution(min(values), max(values))
        else:
            spaces[name] = CategoricalDistribution(tuple(dict.fromkeys(values)))
    return spaces


def _value(value: Any) -> Any:
    """Lists (a grid) as text: a choice must be hashable."""
    return value if isinstance(value, str | int | float | bool | None) else str(value)
