"""The cost of networks that were not profiled, told from those that were, with its error.

A Gaussian process over the logarithms of what a network computes (:class:`~paser_opt.records.Work`): a linear
trend, and a smooth part for what kernels add to it. It is judged as it is used, on networks it has not seen: its
settings are those under which each profiled network is best told from the others, and the standard error it
states is widened until it covers those errors (Rasmussen & Williams, *Gaussian Processes for Machine Learning*,
§ 2.2, § 2.7 and § 5.4.2, with one network at a time left out instead of one point).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..records import Work

__all__ = ["FEWEST_NETWORKS", "Regression"]

FEWEST_NETWORKS = 8
"""Under so many an error of prediction cannot be told."""

_LENGTHS = (1.0, 2.0, 4.0, 8.0)
_SMOOTH = (0.01, 0.1, 1.0)
_NOISE = (1e-4, 4e-4, 1.6e-3, 6.4e-3)  # variances of log cost: 1 %, 2 %, 4 %, 8 %

Array = NDArray[np.float64]


class Regression:
    """Told from ``works`` (P of them) and their positive ``costs`` (P,), any unit.

    Raises ValueError for fewer than FEWEST_NETWORKS networks.
    """

    def __init__(self, works: Sequence[Work], costs: Sequence[float]) -> None:
        networks = np.array([work.weights for work in works])
        self.networks = len(set(networks.tolist()))
        if self.networks < FEWEST_NETWORKS:
            raise ValueError(f"{self.networks} networks; {FEWEST_NETWORKS} are needed")
        features, logs = _features(works), np.log(np.asarray(costs))
        self._middle, self._spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
        self._z = (features - self._middle) / self._spread  # (P, F)
        self._level = logs.mean()
        groups = [np.flatnonzero(networks == one) for one in sorted(set(networks.tolist()))]
        distances = _squared_distances(self._z, self._z)
        best = -np.inf
        for length, smooth, noise in itertools.product(_LENGTHS, _SMOOTH, _NOISE):
            kernel = self._z @ self._z.T + smooth * np.exp(-distances / (2 * length**2)) + noise * np.eye(len(logs))
            inverse = np.linalg.inv(kernel)
            weights = inverse @ (logs - self._level)
            errors, variances = _left_out(inverse, weights, groups)
            likelihood = float(-0.5 * (errors**2 / variances + np.log(variances)).sum())
            if likelihood > best:
                best = likelihood
                self._length, self._smooth, self._noise = length, smooth, noise
                self._inverse, self._weights = inverse, weights
                self.left_out = np.expm1(errors)
                """Relative error on each profiled workload (P,), its network left out; in order of network."""
                self._widen = max(1.0, float(np.sqrt(np.mean(errors**2 / variances))))

    def __call__(self, works: Sequence[Work]) -> tuple[Array, Array]:
        """Costs (Q,) of ``works``, and the standard errors (Q,) of their logarithms."""
        z = (_features(works) - self._middle) / self._spread
        shared = z @ self._z.T + self._smooth * np.exp(-_squared_distances(z, self._z) / (2 * self._length**2))
        known = np.einsum("qp,pr,qr->q", shared, self._inverse, shared)
        variance = np.maximum((z**2).sum(axis=1) + self._smooth + self._noise - known, self._noise)
        return np.exp(self._level + shared @ self._weights), self._widen * np.sqrt(variance)


def _features(works: Sequence[Work]) -> Array:
    """Logarithms (P, F) of all that is counted."""
    counts = [[work.convolutions, work.batch, work.weights, *work.macs, *work.activations] for work in works]
    return np.log2(np.array(counts, dtype=np.float64))


def _squared_distances(a: Array, b: Array) -> Array:
    squares: Array = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    return squares


def _left_out(inverse: Array, weights: Array, groups: Sequence[NDArray[np.intp]]) -> tuple[Array, Array]:
    """Errors and variances (P,) of each group predicted from all others, by block inversion."""
    errors, variances = [], []
    for group in groups:
        covariance = np.linalg.inv(inverse[np.ix_(group, group)])
        errors.append(covariance @ weights[group])  # observed less predicted
        variances.append(np.diag(covariance))
    return np.concatenate(errors), np.concatenate(variances)
