"""Operating points of a router, the front they make, and what it reaches at a budget.

Between two operating points every budget can be met by tossing a coin for each image; the expected confusion counts
and costs are then mixed linearly, and IoU follows from the mixed counts. So a budget is met on the straight line in
counts between two neighbours of the upper hull. Which points are neighbours is decided on val; test only says what
they reach there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import moocore
import numpy as np
import torch
from torch import Tensor

from ..evaluate import data_iou, resampled_iou
from .records import Axis

__all__ = ["Mix", "Points", "at_budget", "hypervolume", "upper_hull"]

STEPS = 5
"""Parts into which the line between two operating points is cut for its hypervolume."""


@dataclass(frozen=True)
class Points:
    """L operating points of one router on the N images of one split."""

    matrices: Tensor  # (L, N, K, K) confusion counts of each image
    costs: dict[Axis, Tensor]  # (L, N) of each image
    macs_paper: Tensor  # (L, N), the paper's convention
    usage: Tensor  # (L, M) share of patches kept by each model
    labels: tuple[str, ...]

    def iou(self) -> Tensor:
        """Data-set IoU of each point (L,)."""
        return torch.tensor([data_iou(one) for one in self.matrices], dtype=torch.float64)

    def cost(self, axis: Axis) -> Tensor:
        """Mean cost of an image at each point (L,)."""
        return self.costs[axis].double().mean(dim=1)

    def at(self, place: int) -> Points:
        """One operating point alone."""
        one = slice(place, place + 1)
        costs = {axis: cost[one] for axis, cost in self.costs.items()}
        return Points(self.matrices[one], costs, self.macs_paper[one], self.usage[one], self.labels[one])

    def on(self, axes: Collection[Axis]) -> Points:
        """The same points, their costs on ``axes`` only."""
        return replace(self, costs={axis: cost for axis, cost in self.costs.items() if axis in axes})

    @classmethod
    def joined(cls, parts: Sequence[Points]) -> Points:
        """One point after another, their costs on the axes that all have."""
        axes = [axis for axis in parts[0].costs if all(axis in one.costs for one in parts)]
        return cls(
            torch.cat([one.matrices.double() for one in parts]),
            {axis: torch.cat([one.costs[axis] for one in parts]) for axis in axes},
            torch.cat([one.macs_paper for one in parts]),
            torch.cat([one.usage for one in parts]),
            tuple(label for one in parts for label in one.labels),
        )

    @classmethod
    def averaged(cls, draws: Sequence[Points]) -> Points:
        """The expectation over equally likely draws of the same points."""

        def mean(parts: Sequence[Tensor]) -> Tensor:
            return torch.stack([one.double() for one in parts]).mean(dim=0)

        first = draws[0]
        return cls(
            mean([one.matrices for one in draws]),
            {axis: mean([one.costs[axis] for one in draws]) for axis in first.costs},
            mean([one.macs_paper for one in draws]),
            mean([one.usage for one in draws]),
            first.labels,
        )

    def along(self, kept: Sequence[int], axis: Axis) -> Points:
        """The points ``kept`` and the mixes between neighbours that stand for the line between them."""
        order = sorted(kept, key=lambda i: self.cost(axis)[i].item())
        shares = [step / STEPS for step in range(STEPS)]
        mixes = [Mix(cheap, dear, share) for cheap, dear in pairwise(order) for share in shares]
        return Points.joined([self.mixed(mix) for mix in (*mixes, Mix(order[-1], order[-1], 0.0))])

    def mixed(self, mix: Mix) -> Points:
        """The one point that a mix of two makes, in expectation."""
        pair = [mix.cheap, mix.dear]
        share = torch.tensor([1 - mix.share, mix.share], dtype=torch.float64)

        def blend(values: Tensor) -> Tensor:
            return torch.einsum("l,l...->...", share, values[pair].double())[None]

        return Points(
            blend(self.matrices),
            {axis: blend(cost) for axis, cost in self.costs.items()},
            blend(self.macs_paper),
            blend(self.usage),
            (mix.words(self.labels),),
        )


@dataclass(frozen=True)
class Mix:
    """Point ``dear`` for a ``share`` of the images, point ``cheap`` for the others."""

    cheap: int
    dear: int
    share: float

    def words(self, labels: Sequence[str]) -> str:
        if self.share in (0.0, 1.0) or self.cheap == self.dear:
            return labels[self.dear if self.share == 1.0 else self.cheap]
        return f"{1 - self.share:.0%} {labels[self.cheap]}, {self.share:.0%} {labels[self.dear]}"


def upper_hull(cost: Tensor, iou: Tensor) -> list[int]:
    """Points (L,) on the upper hull, from the cheapest to the one with the highest IoU, by ascending cost."""
    order = sorted(range(len(cost)), key=lambda i: (cost[i].item(), -iou[i].item()))
    hull: list[int] = []
    for i in order:
        if hull and iou[i] <= iou[hull[-1]]:
            continue
        while len(hull) > 1 and _turns_up(cost, iou, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return hull


def _turns_up(cost: Tensor, iou: Tensor, a: int, b: int, c: int) -> bool:
    """b lies on or below the line from a to c."""
    return bool((iou[b] - iou[a]) * (cost[c] - cost[a]) <= (iou[c] - iou[a]) * (cost[b] - cost[a]))


def at_budget(cost: Tensor, kept: Sequence[int], budget: float) -> Mix | None:
    """The mix of neighbours of ``kept`` whose mean cost is ``budget``; cost (L,) on the split that is scored.

    The dearest point where the budget is more than that; None where it is less than the cheapest.
    """
    order = sorted(kept, key=lambda i: cost[i].item())
    if budget < cost[order[0]].item() * (1 - 1e-9):
        return None
    for cheap, dear in pairwise(order):
        low, high = cost[cheap].item(), cost[dear].item()
        if budget < high:
            return Mix(cheap, dear, max(0.0, (budget - low) / (high - low)))
    return Mix(order[-1], order[-1], 0.0)


def hypervolume(
    points: Points, axis: Axis, weight: Tensor, reference: Sequence[float], ideal: Sequence[float]
) -> Tensor:
    """Share of the box between ``reference`` and ``ideal``, both (IoU, cost), that the points dominate: (B,).

    ``weight`` (B, N): how often each image counts. IoU and mean costs are computed afresh for each row. Resampled they
    may lie beyond ``ideal``: what lies outside the box counts as its edge, so that the share is never more than 1.
    """
    iou = torch.stack([resampled_iou(weight, one) for one in points.matrices], dim=1)  # (B, L)
    cost = weight @ points.costs[axis].double().T / weight.sum(dim=1, keepdim=True)  # (B, L)
    box = (ideal[0] - reference[0]) * (reference[1] - ideal[1])
    both = torch.stack([iou.clamp(max=ideal[0]), cost.clamp(min=ideal[1])], dim=-1).numpy()
    ref = np.asarray(reference)
    volumes = [moocore.hypervolume(one, ref=ref, maximise=[True, False]) for one in both]
    return torch.tensor(volumes, dtype=torch.float64) / box
