"""What every router is: fitted on labelled tables for one λ, then it routes images whose labels it does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from ..train import rewards
from .tables import Labelled, Seen

__all__ = ["Goal", "Router", "Routes", "charge_once", "mean_reward"]


@dataclass(frozen=True)
class Goal:
    """What a router is fitted for: Eq. 2 with this λ and C. C(0) is 0, since f_0 has run anyway."""

    cost_weight: float
    cost_per_patch: Tensor  # (M,)

    def reward(self, gain: Tensor) -> Tensor:
        """Gains (N, P, M) → (1 − λ)·gain − λ·C, same shape."""
        return rewards(gain, self.cost_per_patch, self.cost_weight, charge_f0=False)


@dataclass(frozen=True)
class Routes:
    """Where every patch goes, and what that charges."""

    route: Tensor  # (N, P) long: whose prediction each patch keeps
    charged: Tensor  # (N, M) long: patches each f_i, i ≥ 1, was run on; [:, 0]: patches that f_0 alone saw


class Router(Protocol):
    """One way to choose a model for every patch.

    ``hindsight``: it knows the labels, so it must be fitted on the very images it routes.
    """

    name: str
    hindsight: bool

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        """Learn on ``learn`` (D_RL), choose thresholds, strengths and epochs on ``choose`` (val), for ``goal``."""

    def route(self, seen: Seen) -> Routes:
        """Route every image of ``seen``; deterministic."""

    def step(self) -> nn.Module | None:
        """The fitted decision as a module, images (N, C, H, W) and f_0's class probabilities (N, K, H, W) → route.

        It is what gets timed. None where nothing is decided at run time.
        """


def charge_once(route: Tensor, models: int) -> Routes:
    """Routes (N, P) that charge each patch to the model it keeps."""
    return Routes(route, F.one_hot(route, models).sum(dim=1))


def mean_reward(gain: Tensor, routes: Routes, goal: Goal) -> float:
    """Mean over patches of (1 − λ)·gain − λ·C, with C of every pass that was charged; gain (N, P, M)."""
    kept = gain.gather(-1, routes.route.unsqueeze(-1)).mean()
    cost = goal.cost_per_patch[1:].to(gain) * routes.charged[:, 1:] / gain.shape[1]
    return ((1 - goal.cost_weight) * kept - goal.cost_weight * cost.sum(dim=-1).mean()).item()
