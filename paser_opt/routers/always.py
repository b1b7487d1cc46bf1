"""One model for every patch: the ends of what a route can do."""

from __future__ import annotations

import torch

from .base import Goal, Routes, charge_once
from .tables import Labelled, Seen

__all__ = ["AlwaysRouter"]


class AlwaysRouter:
    """Every patch to f_i, after f_0 has screened the image; a model without f_0 is no route (cost.alone)."""

    hindsight = False

    def __init__(self, model: int) -> None:
        self.model = model
        self.name = f"all f_{model}"

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        """Nothing to learn."""

    def route(self, seen: Seen) -> Routes:
        images, patches, models = seen.shape
        return charge_once(torch.full((images, patches), self.model), models)

    def step(self) -> None:
        return None
