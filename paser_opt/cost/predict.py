"""Cost of a routed pipeline from the measured cost of its steps.

image → screen (f_0, S passes) → policy → each f_i on its n_i patches → mask
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import CostKind
from ..errors import DeviceError
from ..records import Cost, Entry, How, Quantity
from .curve import Curve

__all__ = ["RoutePlan", "alone", "cost_per_patch", "least", "predict"]

Counts = NDArray[np.int64]
Entries = Mapping[str, Entry]


@dataclass(frozen=True)
class RoutePlan:
    """The profile entry of each step. ``models[i - 1]``: f_i's number of patches → entry key."""

    screen: str
    screen_once: str
    """f_0 on the whole image in one deterministic pass."""
    policy: str
    models: tuple[Mapping[int, str], ...]
    context: bool = False
    """f_1 … see what f_0 made of the image, so none of them runs without it."""


@dataclass(frozen=True)
class _Step:
    """One step: its measured points, n → entry, and the n that each image asks of it, (N,)."""

    name: str
    points: Mapping[int, Entry]
    counts: Counts

    def curve(self, values: Mapping[int, float]) -> NDArray[np.float64]:
        return Curve(values)(self.counts)  # (N,)


def predict(entries: Entries, plan: RoutePlan, counts: Counts) -> Cost:
    """Mean cost of one image over the routes ``counts``, (N, M) patches of each image kept by f_0 … f_m.

    latency_s: the parts' medians summed, their 95 % intervals combined in quadrature (the points of one
    step are taken as fully correlated). energy_j: gross. memory_bytes: the largest step's peak over all
    images, and all weights; images and f_0's result, which live on beside a step, are not in it.
    """
    models = tuple(
        _Step(f"f_{i}", {n: entries[key] for n, key in points.items()}, counts[:, i])
        for i, points in enumerate(plan.models, start=1)
    )
    images = len(counts)
    steps = (
        _once(entries, "screen", plan.screen, images),
        _once(entries, "policy", plan.policy, images),
        *models,
    )
    return _compose(steps, _macs((_once(entries, "screen", plan.screen_once, images), *models)))


def alone(entries: Entries, plan: RoutePlan, model: int, patches: int) -> Cost:
    """One model by itself: f_0 on the whole image in one pass; f_i on ``patches``, with the screen whose result it
    sees."""
    if model == 0:
        steps: tuple[_Step, ...] = (_once(entries, "f_0", plan.screen_once, 1),)
        return _compose(steps, _macs(steps))
    points = {n: entries[key] for n, key in plan.models[model - 1].items()}
    step = _Step(f"f_{model}", points, np.array([patches]))
    if not plan.context:
        return _compose((step,), _macs((step,)))
    once = _once(entries, "screen", plan.screen_once, 1)
    return _compose((_once(entries, "screen", plan.screen, 1), step), _macs((once, step)))


def least(entries: Entries, plan: RoutePlan) -> Cost:
    """The cheapest possible route, every patch kept by f_0: what no route of this pipeline can undercut."""
    return predict(entries, plan, np.zeros((1, 1 + len(plan.models)), dtype=np.int64))


def cost_per_patch(entries: Entries, plan: RoutePlan, kind: CostKind, patches: int) -> tuple[float, ...]:
    """C(i) of Eq. 3 for f_0 … f_m, summing to 1.

    params: the paper's, parameters. Others: f_0's one pass over the whole image and f_i over all ``patches``
    (the common factor 1/patches cancels); memory is peak and weights; energy is gross.
    Raises DeviceError when the profile lacks the kind.
    """
    whole = [entries[plan.screen_once], *(entries[points[patches]] for points in plan.models)]
    if kind == "params":
        costs = [float(entry.params) for entry in whole]
    elif kind == "flops":
        costs = [float(entry.macs) for entry in whole]
    elif kind == "latency":
        costs = [entry.latency.median_s for entry in whole]
    elif kind == "energy":
        costs = [_known(entry.energy.gross_j, entry.key, kind, entry.energy.reason) for entry in whole]
    else:
        costs = [
            _known(entry.memory.peak_bytes, entry.key, kind, entry.memory.reason) + entry.memory.weight_bytes
            for entry in whole
        ]
    return tuple(cost / sum(costs) for cost in costs)


def _known(value: float | None, key: str, kind: CostKind, reason: str | None) -> float:
    if value is None:
        raise DeviceError(f'{kind} of {key} is missing ({reason}): choose reward_cost = "latency" or "flops"')
    return float(value)


def _once(entries: Entries, name: str, key: str, images: int) -> _Step:
    return _Step(name, {1: entries[key]}, np.ones(images, dtype=np.int64))


def _compose(steps: Sequence[_Step], paper_macs: float) -> Cost:
    parts_s: dict[str, float] = {}
    below = above = 0.0
    for step in steps:
        middle, low, high = (
            float(step.curve({n: getattr(entry.latency, bound) for n, entry in step.points.items()}).mean())
            for bound in ("median_s", "low_s", "high_s")
        )
        parts_s[step.name] = middle
        below += (middle - low) ** 2
        above += (high - middle) ** 2
    total_s = sum(parts_s.values())
    how, source = _origin([entry for step in steps for entry in step.points.values()])
    return Cost(
        macs=_macs(steps),
        paper_macs=paper_macs,
        latency_s=Quantity(
            value=total_s,
            how=how,
            source=source,
            low=total_s - below**0.5,
            high=total_s + above**0.5,
        ),
        energy_j=_energy(steps),
        memory_bytes=_memory(steps),
        parts_s=parts_s,
    )


def _origin(entries: Sequence[Entry]) -> tuple[How, str]:
    """A sum is no better than its worst part, which it names."""
    estimated = [entry for entry in entries if entry.latency.how == "estimated"]
    if estimated:
        return "estimated", estimated[0].latency.verdict
    source = "sum of the profile's medians"
    if told := [entry.key for entry in entries if entry.latency.how == "predicted"]:
        source += f"; told from other sizes: {', '.join(told)}"
    if unstable := [entry.key for entry in entries if not entry.latency.stable]:
        source += f"; not stable: {', '.join(unstable)}"
    return "predicted", source


def _macs(steps: Sequence[_Step]) -> float:
    """Mean over the images; multiply-accumulates are linear in the number of patches."""
    total = 0.0
    for step in steps:
        n, entry = max(step.points.items())
        total += entry.macs / n * float(step.counts.mean())
    return total


def _energy(steps: Sequence[_Step]) -> Quantity:
    total, hows, sources = 0.0, set(), []
    for step in steps:
        joules: dict[int, float] = {}
        for n, entry in step.points.items():
            if entry.energy.gross_j is None:
                return Quantity(value=None, how="predicted", reason=f"{entry.key}: {entry.energy.reason}")
            joules[n] = entry.energy.gross_j
            hows.add(entry.energy.how)
            sources.append(entry.energy.source)
        total += float(step.curve(joules).mean())
    how = "estimated" if "estimated" in hows else "predicted"
    return Quantity(value=total, how=how, source=f"gross; {sources[0]}")


def _memory(steps: Sequence[_Step]) -> Quantity:
    peaks, weights = [], 0
    for step in steps:
        bytes_at: dict[int, float] = {}
        for n, entry in step.points.items():
            if entry.memory.peak_bytes is None:
                return Quantity(value=None, how="predicted", reason=f"{entry.key}: {entry.memory.reason}")
            bytes_at[n] = entry.memory.peak_bytes
        peaks.append(float(step.curve(bytes_at).max()))
        weights += next(iter(step.points.values())).memory.weight_bytes
    return Quantity(value=max(peaks) + weights, how="predicted", source="largest step's peak + all weights")
