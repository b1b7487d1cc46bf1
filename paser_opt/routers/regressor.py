"""Gain regressor: predict what each model would gain on a patch, with its uncertainty, and pay for it or not."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from ..config import Grid
from .base import Goal, Routes, charge_once
from .features import FEATURES, Describe, Features
from .tables import Labelled, Seen

__all__ = ["RegressorRouter"]

MEMBERS = 24
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Ridge penalties tried, in units of the features' own second moment (1 after standardising)."""
CAUTIONS = (0.0, 0.5, 1.0)
"""Standard deviations of the ensemble taken off a predicted gain before it is paid for."""


class RegressorRouter:
    """Ridge regression of the gains on f_0's features and their squares, one a bootstrap sample of D_RL's images.

    Strength and caution are those whose routes earn most on val.
    """

    name = "gain regressor"
    hindsight = False
    rule: _Rule

    def __init__(self, grid: Grid, seed: int) -> None:
        self.grid, self.seed = grid, seed

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        raw = _expand(learn.seen.features)
        mean, scale = raw.mean(dim=(0, 1)), raw.std(dim=(0, 1)).clamp_min(1e-6)
        inputs = _standardised(raw, mean, scale).double()  # (N, P, F)
        count, rows = len(inputs), inputs[..., 0].numel()
        drawn = torch.randint(count, (MEMBERS, count), generator=torch.Generator().manual_seed(self.seed))
        weight = torch.zeros(MEMBERS, count).scatter_add_(1, drawn, torch.ones(drawn.shape)).double()
        gram = torch.einsum("bn,npf,npg->bfg", weight, inputs, inputs) / rows
        moment = torch.einsum("bn,npf,npm->bfm", weight, inputs, learn.gain.double()) / rows
        penalty = torch.eye(inputs.shape[-1], dtype=torch.float64)
        penalty[-1, -1] = 1e-6  # the constant is not held back
        fitted = [torch.linalg.solve(gram + strength * penalty, moment).float() for strength in STRENGTHS]
        rules = [_Rule(mean, scale, weights, caution, goal) for weights, caution in product(fitted, CAUTIONS)]
        reward = goal.reward(choose.gain)

        def earned(rule: _Rule) -> float:
            route: Tensor = rule(choose.seen.features)
            return reward.gather(-1, route.unsqueeze(-1)).mean().item()

        self.rule = max(rules, key=earned)

    def route(self, seen: Seen) -> Routes:
        return charge_once(self.rule(seen.features), seen.shape[2])

    def step(self) -> nn.Module:
        return _Step(self.grid, self.rule)


class _Rule(nn.Module):
    """Features → route (N, P): argmax of (1 − λ)·(mean − caution · standard deviation) − λ·C."""

    mean: Tensor  # (F,)
    scale: Tensor  # (F,)
    weights: Tensor  # (members, F, M)
    charge: Tensor  # (M,) λ·C

    def __init__(self, mean: Tensor, scale: Tensor, weights: Tensor, caution: float, goal: Goal) -> None:
        super().__init__()
        self.caution, self.share = caution, 1 - goal.cost_weight
        charge = -goal.reward(torch.zeros(1, 1, len(goal.cost_per_patch)))[0, 0]
        for name, tensor in (("mean", mean), ("scale", scale), ("weights", weights), ("charge", charge)):
            self.register_buffer(name, tensor)

    def forward(self, features: Features) -> Tensor:
        inputs = _standardised(_expand(features), self.mean, self.scale)
        gain = torch.einsum("npf,bfm->bnpm", inputs, self.weights)
        sure = gain.mean(dim=0) - self.caution * gain.std(dim=0)
        earned = self.share * (sure - sure[..., :1]) - self.charge  # f_0 gains nothing over itself
        return earned.argmax(dim=-1)


class _Step(nn.Module):
    """All features, the ensemble, the choice."""

    def __init__(self, grid: Grid, rule: _Rule) -> None:
        super().__init__()
        self.describe, self.rule = Describe(grid), rule

    def forward(self, images: Tensor, probability: Tensor) -> Tensor:
        route: Tensor = self.rule(self.describe(images, probability))
        return route


def _expand(features: Features) -> Tensor:
    """(N, P, 2·F): features and their squares."""
    plain = torch.cat([features[name] for name in FEATURES], dim=-1)
    return torch.cat([plain, plain.square()], dim=-1)


def _standardised(raw: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """With a constant behind: (N, P, F + 1)."""
    standard = (raw - mean) / scale
    return torch.cat([standard, torch.ones_like(standard[..., :1])], dim=-1)
