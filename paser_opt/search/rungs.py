"""Short trainings first: at a share of its epochs, and before fine-tuning, a trial is trained on, or stopped.

Optuna does not prune with several objectives, so the rule is ours: successive halving (Jamieson & Talwalkar 2016; as
trials come, Li et al. 2020) on the ranks of non-dominated sorting (Deb et al. 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..config import Study
from ..pareto import Values, ranks

__all__ = ["KEPT", "Rung", "promoted", "rungs", "shares"]

KEPT = 1 / 3
"""The share of trials that a rung lets through; all that nothing dominates pass besides."""


class Rung(NamedTuple):
    """A place at which a training may stop: at this share of its epochs, without fine-tuning."""

    share: float

    @property
    def name(self) -> str:
        return f"{self.share:g}"

    @property
    def words(self) -> str:
        return f"at {self.share:.0%} of the epochs" if self.share < 1 else "before fine-tuning"


def rungs(study: Study) -> list[Rung]:
    """Of every trial of ``study``, in order; the one before fine-tuning only where that follows."""
    return [Rung(share) for share in study.rungs if share < 1 or study.training.finetune_epochs]


def shares(study: Study, rung: Rung | None) -> tuple[float, ...]:
    """Of the epochs, at which a training on its way to ``rung`` (None: to its end) may have been left; the last now."""
    every = (*(share for share in study.rungs if share < 1), 1.0)
    return every if rung is None else every[: every.index(rung.share) + 1]


def promoted(mine: Values, others: Sequence[Values], objectives: Sequence[str]) -> bool:
    """Whether fewer than KEPT of all trials at a rung lie in better fronts than the trial with the values ``mine``."""
    own, *theirs = ranks([mine, *others], objectives)
    return sum(rank < own for rank in theirs) < KEPT * (1 + len(theirs))
