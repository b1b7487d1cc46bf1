"""Predicted gains at a price: fitted once, routed for any λ, or within a budget that is met exactly."""

from __future__ import annotations

import torch

from ..config import PolicyConfig
from ..models import PricedPolicy
from ..train import fit_priced
from .base import Goal, Routes, charge_once
from .oracle import budget_route
from .policy import DeployedPolicy
from .tables import Labelled, Seen

__all__ = ["PricedRouter"]


class PricedRouter(DeployedPolicy):
    """Fitted on D_RL and val together; λ and C come in when it routes."""

    name = "priced gains"

    def __init__(self, policy: PricedPolicy, config: PolicyConfig) -> None:
        super().__init__(policy, config)
        self.priced = policy
        self._fitted: tuple[Labelled, Labelled] | None = None
        self._cost = torch.empty(0)

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        if self._fitted is None or self._fitted[0] is not learn or self._fitted[1] is not choose:
            both = (learn, choose)
            observation = torch.cat([one.seen.observations[self.config.kind] for one in both])
            image = torch.cat([learn.image, int(learn.image[-1]) + 1 + choose.image])
            fit_priced(self.priced, observation, torch.cat([one.hard for one in both]), image=image)
            self._fitted = both
        self.priced.ask(goal.cost_weight, goal.cost_per_patch)
        self._cost = goal.cost_per_patch.clone()
        self._cost[0] = 0.0

    @torch.inference_mode()
    def within(self, seen: Seen, budget: float) -> Routes:
        """Route all of ``seen`` together at a mean C per patch of at most ``budget``; λ is not used.

        The price is the one at which just that much is spent on these images: less than one patch's climb stays over.
        """
        gain = self.priced.gain(seen.observations[self.config.kind].to(self.priced.mean.device)).flatten(1, 2).cpu()
        return charge_once(budget_route(gain, self._cost, budget), seen.shape[2])
