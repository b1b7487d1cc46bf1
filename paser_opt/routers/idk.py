"""Calibrated IDK cascade (Wang et al., arXiv 1706.00885): ask the next larger model while the last was unsure."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import Grid
from ..patches import sampled
from .base import Goal, Routes, mean_reward
from .features import STRIDE, patch_means
from .tables import TEMPERATURES, Labelled, Seen
from .threshold import best_cuts

__all__ = ["CascadeRouter"]

ROUNDS = 10
"""Most passes over the thresholds; each pass can only gain, and few are needed."""


class CascadeRouter:
    """f_0 → f_1 → … while the patch's confidence is below the model's threshold; every pass made is charged.

    Confidence: the patch's mean probability of the top class at the model's temperature, chosen by the likelihood
    of the truth on val. Thresholds: each in turn set to its best on val given the others, until none changes.
    """

    name = "IDK cascade"
    hindsight = False

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.temperature = torch.empty(0, dtype=torch.long)  # (M,) index into TEMPERATURES
        self.thresholds = torch.empty(0)  # (M - 1,)

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        self.temperature = choose.surprise.argmin(dim=1)
        confidence = self._calibrated(choose.seen)[..., :-1].flatten(0, 1).double()  # (n, M - 1)
        spent = goal.cost_per_patch.clone()
        spent[0] = 0.0
        # What stopping at each model earns, all passes up to it paid: (n, M).
        gain = choose.gain.flatten(0, 1).double()
        stop = (1 - goal.cost_weight) * gain - goal.cost_weight * spent.cumsum(dim=0).to(gain)
        candidates = [_improve(confidence, stop, start).float() for start in (-torch.inf, torch.inf)]
        found = []
        for thresholds in candidates:
            self.thresholds = thresholds
            found.append(mean_reward(choose.gain, self.route(choose.seen), goal))
        self.thresholds = candidates[found.index(max(found))]

    def _calibrated(self, seen: Seen) -> Tensor:
        index = self.temperature.reshape(1, 1, -1, 1).expand(*seen.shape, 1)
        return seen.confidence.gather(-1, index)[..., 0]  # (N, P, M)

    def route(self, seen: Seen) -> Routes:
        sure = self._calibrated(seen)[..., :-1] >= self.thresholds
        route = _first(sure)
        models = seen.shape[2]
        passed = torch.arange(models) <= route.unsqueeze(-1)  # (N, P, M)
        charged = passed.sum(dim=1)
        charged[:, 0] = (route == 0).sum(dim=1)
        return Routes(route, charged)

    def step(self) -> nn.Module:
        return _Screened(self.grid, TEMPERATURES[int(self.temperature[0])], self.thresholds[0])


class _Screened(nn.Module):
    """What is decided on f_0's result: 0 where it is sure enough, else 1. The asking of f_1 … is not in it."""

    threshold: Tensor

    def __init__(self, grid: Grid, temperature: float, threshold: Tensor) -> None:
        super().__init__()
        self.grid, self.temperature = grid, temperature
        self.register_buffer("threshold", threshold)

    def forward(self, images: Tensor, probability: Tensor) -> Tensor:
        seen = sampled(probability, self.grid, STRIDE)
        log = F.log_softmax(seen.clamp_min(1e-12).log() / self.temperature, dim=1)
        confidence = patch_means(log.amax(dim=1, keepdim=True).exp(), self.grid)[..., 0]
        return (confidence < self.threshold).long()


def _first(sure: Tensor) -> Tensor:
    """Where the first True stands along the last dimension; its length where there is none."""
    return (~sure).long().cumprod(dim=-1).sum(dim=-1)


def _improve(confidence: Tensor, stop: Tensor, start: float) -> Tensor:
    """Thresholds (M − 1,) by coordinate ascent; confidence (n, M − 1), stop (n, M)."""
    thresholds = torch.full(confidence.shape[1:], start, dtype=confidence.dtype)
    for _ in range(ROUNDS):
        before = thresholds.clone()
        for model in range(len(thresholds) - 1, -1, -1):
            sure = confidence >= thresholds
            reached = _first(sure[:, :model]) == model
            beyond = model + 1 + _first(sure[:, model + 1 :])
            going_on = stop.gather(1, beyond[:, None])
            choice = torch.cat([stop[:, model, None], going_on], dim=1)[reached]  # (r, 2)
            if len(choice):
                thresholds[model] = -best_cuts(-confidence[reached, model], choice)[0]
        if torch.equal(before, thresholds):
            break
    return thresholds
