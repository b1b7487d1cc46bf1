"""Short trainings first: at a share of its epochs (a rung) a trial is trained on, or stopped.

Optuna does not prune with several objectives, so the rule is ours: successive halving (Jamieson & Talwalkar 2016; as
trials come, Li et al. 2020) on the ranks of non-dominated sorting (Deb et al. 2002).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..pareto import Values, ranks

__all__ = ["KEPT", "promoted"]

KEPT = 1 / 3
"""The share of trials that a rung lets through; all that nothing dominates pass besides."""


def promoted(mine: Values, others: Sequence[Values], objectives: Sequence[str]) -> bool:
    """Whether fewer than KEPT of all trials at a rung lie in better fronts than the trial with the values ``mine``."""
    own, *theirs = ranks([mine, *others], objectives)
    return sum(rank < own for rank in theirs) < KEPT * (1 + len(theirs))
