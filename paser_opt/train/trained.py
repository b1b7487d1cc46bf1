"""What training a pipeline gives: its weights, its tables, and what can be asked of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..config import PipelineConfig
from ..data import Part
from ..models import AnyPolicy, PricedPolicy, UNet
from ..progress import Progress
from .loop import History
from .priced import fit_priced
from .reinforce import Bandit, choose, train_policy
from .reward import gains, rewards
from .table import Table

__all__ = ["Trained"]


@dataclass
class Trained:
    """One trained pipeline: its weights, its tables, and the record of how it came about."""

    config: PipelineConfig
    models: list[UNet]
    policy: AnyPolicy
    cost_per_patch: Tensor  # (models,)
    tables: Callable[[str], Table]
    keys: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    histories: dict[str, History] = field(default_factory=dict)
    copies: int = 1
    """Rows of D_RL that are one image: see SegmentationData.copies."""
    folds: Callable[[], list[tuple[list[UNet], Part]]] | None = None
    """With folds, the UNets trained without each fold, and its images: D_RL in order."""

    def looked_at(self, part_name: str, part: Part) -> list[tuple[list[UNet], Part]]:
        """Which UNets stand for this pipeline's on ``part``, piece by piece in order: on D_RL those of the folds."""
        return self.folds() if self.folds and part_name == "policy" else [(self.models, part)]

    def bandit(self, table: Table) -> Bandit:
        """The policy's problem on ``table``, by this pipeline's λ, A and C."""
        training = self.config.training
        gain = gains(table.hard, table.soft, training.reward)
        return Bandit(
            table.observation,
            rewards(gain, self.cost_per_patch, self.config.cost_weight, charge_f0=training.charge_f0),
        )

    def route(self, table: Table) -> Tensor:
        """The policy's argmax route (N, P) of every image of ``table``."""
        device = next(self.policy.parameters()).device
        return choose(self.policy, table.observation.to(device)).flatten(1).cpu()

    def learn(self, *, epochs: int, flips: str, progress: Progress, stage: str, keep_start: bool = False) -> History:
        """Train the policy in place on D_RL, for this pipeline's λ, A and C: in closed form, or for ``epochs``.

        With ``keep_start`` it goes on from where it is, and explores less. Raises DivergedError.
        """
        config, training, table = self.config, self.config.training, self.tables("policy")
        if isinstance(self.policy, PricedPolicy):
            self.policy.ask(config.cost_weight, self.cost_per_patch, charge_f0=training.charge_f0)
            image = torch.arange(len(table.hard)) // self.copies
            return fit_priced(self.policy, table.observation, table.hard, image=image)
        return train_policy(
            self.policy, self.bandit(table), self.bandit(self.tables("val")), training, grid=config.grid, flips=flips,
            epochs=epochs, seed=config.seed, device=next(self.policy.parameters()).device, progress=progress,
            stage=stage, keep_start=keep_start, alpha=(0.95, 1.0) if keep_start else (0.7, 0.95),
        )  # fmt: skip
