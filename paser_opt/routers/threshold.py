"""Thresholds on one score a patch: the higher the score, the larger the model; the best cuts found exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import Grid
from .base import Goal, Routes, charge_once
from .features import Describe, Features
from .tables import Labelled, Seen

__all__ = ["ThresholdRouter", "best_cuts"]


def best_cuts(score: Tensor, reward: Tensor) -> Tensor:
    """The cuts (M − 1,), ascending, for which sending score > cuts[i − 1] to f_i or larger earns most.

    score (n,), reward (n, M) of one model each. Exact, by dynamic programming over the sorted scores: n·M steps
    instead of n^(M − 1) choices. Cuts lie halfway between scores; ±∞ where a model takes nothing at an end.
    """
    order = score.argsort(stable=True)
    ranked = score[order].double()
    earned = torch.cat([reward.new_zeros(1, reward.shape[1]), reward[order].cumsum(dim=0)]).double()  # (n + 1, M)
    allowed = torch.ones(len(ranked) + 1, dtype=torch.bool)
    allowed[1:-1] = ranked[1:] > ranked[:-1]  # equal scores go the same way
    value, starts = earned[:, 0], []  # value[k]: the best of the first k patches with the models so far
    for model in range(1, reward.shape[1]):
        before, start = (value - earned[:, model]).masked_fill(~allowed, -torch.inf).cummax(dim=0)
        value = earned[:, model] + before
        starts.append(start)
    edges = torch.cat([ranked.new_tensor([-torch.inf]), (ranked[1:] + ranked[:-1]) / 2, ranked.new_tensor([torch.inf])])
    cuts, end = [], len(ranked)
    for start in reversed(starts):
        end = int(start[end])
        cuts.append(edges[end])
    return torch.stack(cuts[::-1])


class ThresholdRouter:
    """A patch goes to the larger model the higher its score; subclasses name the feature it is the mean of."""

    name: str
    hindsight = False
    feature: str
    sign = 1  # -1: the lower the feature, the larger the model

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.cuts = torch.empty(0)  # (M - 1,)

    @classmethod
    def score(cls, features: Features) -> Tensor:
        """(N, P), higher where a larger model should be of more use."""
        return cls.sign * features[cls.feature][..., 0]

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        score = self.score(choose.seen.features)
        self.cuts = best_cuts(score.flatten(), goal.reward(choose.gain).flatten(0, 1)).to(score.dtype)

    def route(self, seen: Seen) -> Routes:
        return charge_once(_above(self.score(seen.features), self.cuts), seen.shape[2])

    def step(self) -> nn.Module:
        return _Step(self)


def _above(score: Tensor, cuts: Tensor) -> Tensor:
    """How many of the cuts (M − 1,) each score (N, P) is above: (N, P) long."""
    return (score.unsqueeze(-1) > cuts).sum(dim=-1)


class _Step(nn.Module):
    cuts: Tensor

    def __init__(self, router: ThresholdRouter) -> None:
        super().__init__()
        self.describe, self.score = Describe(router.grid, (router.feature,)), router.score
        self.register_buffer("cuts", router.cuts)

    def forward(self, images: Tensor, probability: Tensor) -> Tensor:
        return _above(self.score(self.describe(images, probability)), self.cuts)
