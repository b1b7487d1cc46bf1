"""Cost over the number of patches, from the batch sizes that were measured.

A call has a cost of its own and patches share its kernels: a curve, not a constant per patch. Straight lines between
measured points, exact at them, and 0 at 0 patches.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve"]

Counts = NDArray[np.int64]


class Curve:
    """Piecewise-linear through (0, 0) and ``points``: number of patches → cost, in the points' unit."""

    def __init__(self, points: Mapping[int, float]) -> None:
        self._n = np.array([0, *sorted(points)])
        self._cost = np.array([0.0, *(points[n] for n in sorted(points))])

    def __call__(self, counts: Counts) -> NDArray[np.float64]:
        """Cost of ``counts`` patches, any shape. Raises ValueError beyond the largest measured number."""
        if counts.size and counts.max() > self._n[-1]:
            raise ValueError(f"{counts.max()} patches, but the profile was measured up to {self._n[-1]}")
        return np.asarray(np.interp(counts, self._n, self._cost), dtype=np.float64)
