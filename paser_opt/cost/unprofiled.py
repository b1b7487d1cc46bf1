"""Entries for workloads that a profile lacks, told from those it holds, where that is sure enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..records import Energy, Entry, Latency, Memory, Work
from .bench import NOT_ASKED, entry
from .energy import no_energy
from .flops import count
from .memory import weight_bytes
from .regression import FEWEST_NETWORKS, Regression
from .workload import Workload

__all__ = ["tell", "uncertainty"]

_NORMAL_95 = 1.96  # two-sided 95 % quantile of the normal distribution
_UNSURE = 30.0  # logarithm of the widest factor that is stated; a wider one says no more, and overflows

Measured = Sequence[tuple[Entry, Work]]


def tell(workloads: Sequence[Workload], known: Mapping[str, Entry], *, within: float) -> dict[str, Entry]:
    """Predicted entries by key, of those ``workloads`` whose latency is told ``within`` this share, at 95 %.

    Told from measured entries of the same architecture. Each workload is run once, where it lies, to be counted.
    """
    told: dict[str, Entry] = {}
    for architecture in {load.architecture for load in workloads} - {""}:
        measured = [
            (one, one.work)
            for one in known.values()
            if one.architecture == architecture and one.work and one.latency.how == "measured"
        ]
        if len({work.weights for _, work in measured}) >= FEWEST_NETWORKS:
            for one in _told([load for load in workloads if load.architecture == architecture], measured):
                if uncertainty(one.latency) <= within:
                    told[one.key] = one
    return told


def uncertainty(latency: Latency) -> float:
    """How far above the median its 95 % interval reaches, as a share."""
    return latency.high_s / latency.median_s - 1


def _told(workloads: Sequence[Workload], measured: Measured) -> list[Entry]:
    counts = [count(load.module.eval(), load.inputs) for load in workloads]
    works = [counted.work for counted in counts if counted.work]
    networks = len({work.weights for _, work in measured})
    source = f"told from {networks} other networks of the profile"
    seconds, factors = Regression([work for _, work in measured], [one.latency.median_s for one, _ in measured])(works)
    factors = np.exp(np.minimum(_NORMAL_95 * factors, _UNSURE))
    joules = _regress(measured, works, lambda one: one.energy.gross_j)
    peaks = _regress(measured, works, lambda one: one.memory.peak_bytes)
    entries = []
    for load, counted, median_s, factor, gross_j, peak in zip(
        workloads, counts, seconds.tolist(), factors.tolist(), joules, peaks, strict=True
    ):
        latency = Latency(
            how="predicted",
            median_s=median_s,
            low_s=median_s / factor,
            high_s=median_s * factor,
            samples=0,
            stable=True,
            verdict=f"{source}, within ±{factor - 1:.0%} at 95 %",
        )
        memory = Memory(
            peak_bytes=None if peak is None else round(peak),
            weight_bytes=weight_bytes(load.module),
            how="predicted",
            source=source,
            reason=measured[0][0].memory.reason,
        )
        energy = _energy(gross_j, [one.energy for one, _ in measured], source)
        entries.append(entry(load, counted, latency, energy, memory))
    return entries


def _regress(
    measured: Measured, works: Sequence[Work], cost: Callable[[Entry], float | None]
) -> list[float] | list[None]:
    """Costs of ``works``; None throughout where one of the ``measured`` has none."""
    costs = [cost(one) for one, _ in measured]
    known = [one for one in costs if one]
    if len(known) < len(costs):
        return [None] * len(works)
    values: list[float] = Regression([work for _, work in measured], known)(works)[0].tolist()
    return values


def _energy(gross_j: float | None, measured: Sequence[Energy], source: str) -> Energy:
    """An estimate stays an estimate, what a meter saw becomes a prediction. Where no network has energy, the reason is
    the device's: that it was not asked for only where none was asked for it."""
    like = measured[0]
    if gross_j is None:
        if any(one.gross_j for one in measured):
            return no_energy("not measured of every network it is to be told from")
        return no_energy(next((one.reason for one in measured if one.reason and one.reason != NOT_ASKED), NOT_ASKED))
    how = "estimated" if like.how == "estimated" else "predicted"
    return Energy(gross_j=gross_j, net_j=None, how=how, source=f"{source}; {like.source}", reason=like.reason)
