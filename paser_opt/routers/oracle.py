"""The oracle: the best route, labels known. What a router could gain at most, by the reward it is fitted for.

The gain is additive over patches, so both are exact for it. Data-set IoU is not additive: with the reward "data_iou"
each patch's gain is the change when this patch alone is sent on, so for IoU itself the oracle is a strong route, not
a strict bound.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Goal, Routes, charge_once
from .tables import Labelled, Seen

__all__ = ["BudgetOracle", "OracleRouter", "budget_route"]


class OracleRouter:
    """For one λ: every patch to the model with the highest reward."""

    name = "oracle"
    hindsight = True

    def __init__(self) -> None:
        self.best = torch.empty(0, 0, dtype=torch.long)  # (N, P)

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        self.best = goal.reward(choose.gain).argmax(dim=-1)

    def route(self, seen: Seen) -> Routes:
        """Raises ValueError for images it was not fitted on: it cannot know their labels."""
        if self.best.shape != seen.shape[:2]:
            raise ValueError(f"the oracle was fitted on {tuple(self.best.shape)} patches, not {seen.shape[:2]}")
        return charge_once(self.best, seen.shape[2])

    def step(self) -> None:
        return None


class BudgetOracle(OracleRouter):
    """For one budget: the highest gain at a mean C per patch of at most ``budget``; λ of the goal is not used."""

    name = "oracle per budget"

    def __init__(self, budget: float) -> None:
        super().__init__()
        self.budget = budget

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        cost = goal.cost_per_patch.clone()
        cost[0] = 0.0
        self.best = budget_route(choose.gain, cost, self.budget)


def budget_route(gain: Tensor, cost: Tensor, budget: float) -> Tensor:
    """The route (N, P) with the most gain (N, P, M) whose mean cost (M,) per patch is at most ``budget``.

    Patches climb from cheap to dear along the upper hull of their own (cost, gain), steepest climbs first, while
    the budget lasts: the Lagrangian relaxation of the multiple-choice knapsack (Sinha and Zoltners, Operations
    Research 27, 1979). No route of at most the cost that is spent gains more; less than one patch's climb of the
    budget stays unspent.
    """
    shape, models = gain.shape[:2], gain.shape[2]
    flat, cost = gain.reshape(-1, models).double(), cost.double()
    route = torch.where(cost == cost.min(), flat, -torch.inf).argmax(dim=1)
    rank = torch.arange(len(flat))
    patch, target, slope, price = [], [], [], []
    here = route.clone()
    for _ in range(models - 1):
        rise = flat - flat[rank, here, None]
        dearer = cost - cost[here, None]
        steep = torch.where((dearer > 0) & (rise > 0), rise / dearer, -torch.inf)
        # Of equally steep climbs the longest, so that slopes along a patch's hull fall strictly.
        steepest = steep.amax(dim=1, keepdim=True)
        step = torch.where(steep == steepest, cost, -torch.inf).argmax(dim=1)
        up = steepest[:, 0] > 0
        patch.append(rank[up])
        target.append(step[up])
        slope.append(steepest[up, 0])
        price.append(dearer[rank, step][up])
        here = torch.where(up, step, here)
    slopes = torch.cat(slope)
    order = slopes.argsort(descending=True, stable=True)
    spent = torch.cat(price)[order].cumsum(dim=0)
    taken = order[: int((spent <= (budget - float(cost.min())) * len(flat) + 1e-9).sum())]
    # A later climb of the same patch goes to a dearer model, so the dearest of those taken is where it ends.
    reached = torch.cat(target)[taken]
    best = cost[route].scatter_reduce(0, torch.cat(patch)[taken], cost[reached], "amax")
    final = torch.where(cost == best[:, None], flat, -torch.inf).argmax(dim=1)
    return final.reshape(shape)
