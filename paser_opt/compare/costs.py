"""What each image costs under a charge: cost.predict taken apart into a table, so that resamples are look-ups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..cost import RoutePlan, predict
from ..records import Cost, Entry
from .curves import Points
from .records import Axis

__all__ = ["CostTable", "figures"]


def figures(cost: Cost) -> dict[Axis, float]:
    """A cost on the axes of a comparison; energy is left out where the device has none."""
    known: dict[Axis, float | None] = {
        "gflops": cost.gflops,
        "latency": cost.latency_s.value,
        "energy": cost.energy_j.value,
    }
    return {axis: value for axis, value in known.items() if value is not None}


class CostTable:
    """Predicted cost of a route is a constant and one curve a model over its number of patches; both are tabled."""

    def __init__(self, entries: Mapping[str, Entry], plan: RoutePlan, patches: int) -> None:
        self.entries, self.plan, self.models = entries, plan, 1 + len(plan.models)
        least = self._predict(plan, {})
        rows = [[self._predict(plan, {i: n}) for n in range(patches + 1)] for i in range(1, self.models)]

        def rising(of_cost: list[list[float]], base: float) -> Tensor:
            above = torch.tensor(of_cost, dtype=torch.float64) - base
            return torch.cat([torch.zeros(1, patches + 1, dtype=torch.float64), above])  # (M, P + 1)

        self.rising: dict[Axis, Tensor] = {
            axis: rising([[figures(one)[axis] for one in row] for row in rows], base)
            for axis, base in figures(least).items()
        }
        self.rising_paper = rising([[one.paper_macs for one in row] for row in rows], least.paper_macs)

    def _predict(self, plan: RoutePlan, patches: Mapping[int, int]) -> Cost:
        counts = np.zeros((1, self.models), dtype=np.int64)
        for model, n in patches.items():
            counts[0, model] = n
        return predict(self.entries, plan, counts)

    def least(self, step: str) -> Cost:
        """Of an image that is kept by f_0 whole, decided by the entry ``step``."""
        return self._predict(replace(self.plan, policy=step), {})

    def images(self, charged: Tensor, step: str) -> tuple[dict[Axis, Tensor], Tensor]:
        """Charges (N, M) decided by the entry ``step`` → cost on each axis (N,), and the paper's MACs (N,).

        Energy is left out where the plan or the step has none.
        """
        least = self.least(step)
        of_step = figures(least)
        costs = {
            axis: of_step[axis] + self._look_up(rising, charged)
            for axis, rising in self.rising.items()
            if axis in of_step
        }
        return costs, least.paper_macs + self._look_up(self.rising_paper, charged)

    def point(self, matrices: Tensor, route: Tensor, charged: Tensor, step: str, label: str) -> Points:
        """One operating point: routes (N, P) that reach the confusion counts (N, K, K) and are charged (N, M)."""
        costs, macs_paper = self.images(charged, step)
        usage = F.one_hot(route, self.models).double().mean(dim=(0, 1))
        axes = {axis: one[None] for axis, one in costs.items()}
        return Points(matrices[None], axes, macs_paper[None], usage[None], (label,))

    def _look_up(self, rising: Tensor, charged: Tensor) -> Tensor:
        return rising.T.gather(0, charged * (torch.arange(self.models) > 0)).sum(dim=1)
