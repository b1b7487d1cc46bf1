"""Fronts and hypervolumes over named objectives (moocore does the arithmetic)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import moocore
import numpy as np

from .config import OBJECTIVES

__all__ = ["front", "hypervolume", "reference_point"]

Values = Mapping[str, float]


def _matrix(points: Sequence[Values], objectives: Sequence[str]) -> tuple[np.ndarray, list[bool]]:
    matrix = np.array([[point[name] for name in objectives] for point in points], dtype=float)
    return matrix.reshape(len(points), len(objectives)), [OBJECTIVES[name] == "maximize" for name in objectives]


def front(points: Sequence[Values], objectives: Sequence[str]) -> list[int]:
    """Indices of the points no other point dominates, in the order given; of equal points, the first."""
    if not points:
        return []
    matrix, maximise = _matrix(points, objectives)
    return [int(i) for i in np.flatnonzero(moocore.is_nondominated(matrix, maximise=maximise))]


def ranks(points: Sequence[Values], objectives: Sequence[str]) -> list[int]:
    """Of each point the front it lies in: 0 if nothing dominates it, 1 if only points of front 0 do, and so on."""
    matrix, maximise = _matrix(points, objectives)
    return [int(rank) for rank in moocore.pareto_rank(matrix, maximise=maximise)]


def hypervolume(points: Sequence[Values], objectives: Sequence[str], reference: Values) -> float:
    """Volume between the points and ``reference``; points beyond the reference add nothing."""
    matrix, maximise = _matrix(points, objectives)
    if not len(matrix):
        return 0.0
    return float(moocore.hypervolume(matrix, ref=[reference[name] for name in objectives], maximise=maximise))


def reference_point(points: Sequence[Values], objectives: Sequence[str]) -> dict[str, float]:
    """The worst of the points in every objective, and 10 % of their range beyond."""
    reference = {}
    for name in objectives:
        seen = [point[name] for point in points]
        worst, best = (max(seen), min(seen)) if OBJECTIVES[name] == "minimize" else (min(seen), max(seen))
        reference[name] = worst + 0.1 * (worst - best)
    return reference
