"""Learned policies as routers: trained for a goal, or a trial's own as it is deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Grid, PolicyConfig, TrainConfig
from ..models import AnyPolicy, build_policy
from ..progress import Progress
from ..train import ArtifactStore, Bandit, Tensors, choose, train_policy
from .base import Goal, Routes, charge_once
from .tables import Labelled, Seen

__all__ = ["DeployedPolicy", "PolicyRouter", "Schooling"]


@dataclass(frozen=True)
class Schooling:
    """What training a policy takes besides the tables."""

    training: TrainConfig
    grid: Grid
    models: int
    classes: int
    channels: int
    flips: str
    seed: int
    device: torch.device
    store: ArtifactStore
    progress: Progress


class DeployedPolicy:
    """A policy trained before; fitting leaves it as it is."""

    name = "pipeline"
    hindsight = False

    def __init__(self, policy: AnyPolicy, config: PolicyConfig) -> None:
        self.policy, self.config = policy, config

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        """It is what it is."""

    def route(self, seen: Seen) -> Routes:
        device = next(self.policy.parameters()).device
        action = choose(self.policy, seen.observations[self.config.kind].to(device))
        return charge_once(action.flatten(1).cpu(), seen.shape[2])

    def step(self) -> nn.Module:
        return _Step(self.policy)


class PolicyRouter(DeployedPolicy):
    """Stage 3 for the goal's λ and C, on frozen models; kept in the stage store, so that it is trained once."""

    def __init__(self, name: str, policy: PolicyConfig, schooling: Schooling, **training: Any) -> None:
        """``training``: fields of TrainConfig that differ from the pipeline's."""
        self.name, self.schooling = name, schooling
        self.training = schooling.training.model_copy(update=training)
        super().__init__(self._new(policy), policy)

    def _new(self, config: PolicyConfig) -> AnyPolicy:
        school = self.schooling
        return build_policy(
            config, models=school.models, grid=school.grid, classes=school.classes, channels=school.channels,
            seed=school.seed,
        ).to(school.device)  # fmt: skip

    def fit(self, learn: Labelled, choose: Labelled, goal: Goal) -> None:
        school = self.schooling
        self.policy = self._new(self.config)

        def make() -> tuple[Tensors, dict[str, Any]]:
            history = train_policy(
                self.policy, self._bandit(learn, goal), self._bandit(choose, goal), self.training, grid=school.grid,
                flips=school.flips, epochs=self.training.policy_epochs, seed=school.seed, device=school.device,
                progress=school.progress, stage=f"{self.name}, λ {goal.cost_weight:.3g}",
            )  # fmt: skip
            return self.policy.state_dict(), {"history": history}

        key = school.store.key(
            "router",
            tables=[learn.key, choose.key],
            policy=self.config.model_dump(),
            training=self.training.model_dump(),
            goal=[goal.cost_weight, goal.cost_per_patch.tolist()],
            flips=school.flips,
            seed=school.seed,
            device=school.device.type,
        )
        self.policy.load_state_dict(school.store.get_or_make(key, make).tensors)
        self.policy.eval()

    def _bandit(self, tables: Labelled, goal: Goal) -> Bandit:
        return Bandit(tables.seen.observations[self.config.kind], goal.reward(tables.gain))


class _Step(nn.Module):
    def __init__(self, policy: AnyPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, images: Tensor, probability: Tensor) -> Tensor:
        action: Tensor = self.policy(self.policy.observe(images, probability)).argmax(dim=-1)
        return action.flatten(1)
