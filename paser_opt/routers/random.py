"""The random twin: as many patches to each model as another router sends on the same images, but any patches."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Goal, Router, Routes, charge_once
from .tables import Labelled, Seen

__all__ = ["RandomRouter", "random_matched"]


def random_matched(route: Tensor, *, draws: int, seed: int) -> Tensor:
    """``draws`` random routes (R, N, P) that send exactly as many patches to each model as ``route`` (N, P) does."""
    order = torch.rand(draws, route.numel(), generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
    return route.flatten()[order].reshape(draws, *route.shape)


class RandomRouter:
    """Matched on the budget that ``like`` realises on the images routed; the draw follows from ``seed``.

    Each patch is charged to the model it keeps, whatever ``like`` charges for it.
    """

    name = "random"

    def __init__(self, like: Router, seed: int) -> None:
        self.like, self.seed = like, seed
        self.hindsight = like.hindsight

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        self.like.fit(learn, choose, goal)

    def route(self, seen: Seen) -> Routes:
        return self.draws(seen, 1)[0]

    def draws(self, seen: Seen, count: int) -> list[Routes]:
        """``count`` draws, of which :meth:`route` is the first."""
        twins = random_matched(self.like.route(seen).route, draws=count, seed=self.seed)
        return [charge_once(twin, seen.shape[2]) for twin in twins]

    def step(self) -> None:
        return None
