"""One model for everything: what a route has to beat."""

from __future__ import annotations

import torch

from .base import Goal, Routes, charge_once
from .tables import Labelled, Seen

__all__ = ["AlwaysRouter"]


class AlwaysRouter:
    """Every patch to f_i. f_0 sees the image whole; f_1 … go patch by patch, without f_0's screening."""

    hindsight = False
    screened = False

    def __init__(self, model: int) -> None:
        self.model = model
        self.name = f"f_{model} alone" + ("" if model == 0 else ", patches")

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        """Nothing to learn."""

    def route(self, seen: Seen) -> Routes:
        images, patches, models = seen.shape
        return charge_once(torch.full((images, patches), self.model), models)

    def step(self) -> None:
        return None
