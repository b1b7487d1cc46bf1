"""Stage 3: train the policy on D_RL, all UNets frozen, from the reward table alone.

Departures from the published stage, which ``policy_objective = "reinforce"`` keeps (its bugs excepted):

- The expected reward Σ_a π(a)·R(a) is exact and has no sampling variance; REINFORCE samples one action.
- An entropy bonus, annealed to 0, explores; there, a coin sends whole batches to a uniform action. Here, with
  "reinforce", every patch has its own coin with probability 1 − α, α rising 0.7 → 0.95 (0.95 → 1 while fine-tuning).
- Mirrored images and tables are as good as new ones, and the best epoch on val is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import Grid, TrainConfig
from ..models import AnyPolicy
from ..progress import Progress
from .loop import History, fit

__all__ = ["Bandit", "choose", "train_policy"]


@dataclass(frozen=True)
class Bandit:
    """What the policy sees of each image, and what every action on every patch would earn."""

    observation: Tensor  # (N, D, h, w)
    reward: Tensor  # (N, P, M)

    def to(self, device: torch.device) -> Bandit:
        return Bandit(self.observation.to(device), self.reward.to(device))


def train_policy(
    policy: AnyPolicy,
    bandit: Bandit,
    val: Bandit,
    config: TrainConfig,
    *,
    grid: Grid,
    flips: str,
    epochs: int,
    seed: int,
    device: torch.device,
    progress: Progress,
    stage: str = "policy",
    keep_start: bool = False,
    alpha: tuple[float, float] = (0.7, 0.95),
) -> History:
    """Train the policy in place. The score is the mean reward of its argmax route on ``val``."""
    bandit, val = bandit.to(device), val.to(device)
    policy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
    reward = bandit.reward.reshape(-1, *grid, bandit.reward.shape[-1])  # (N, gh, gw, M)
    count = len(reward)
    batch = min(count, 16)
    steps = -(-count // batch)
    # In units of its spread, so that the entropy bonus means the same for every λ and cost.
    unit = reward.std().clamp_min(1e-6)
    progress_of = {"step": 0}
    total = epochs * steps

    def loss_of_batch(draw: torch.Generator) -> Tensor:
        done = progress_of["step"] / total
        progress_of["step"] += 1
        chosen = torch.randperm(count, generator=draw)[:batch].to(device)
        observation, earned = bandit.observation[chosen], reward[chosen] / unit
        for dim, name in ((1, "v"), (2, "h")):
            if name in flips and flips != "none" and torch.rand((), generator=draw) < 0.5:
                observation, earned = observation.flip(dim + 1), earned.flip(dim)
        log_chance = torch.log_softmax(policy(observation).float(), dim=-1)
        if config.policy_objective == "expected":
            chance = log_chance.exp()
            entropy = -(chance * log_chance).sum(dim=-1)
            objective: Tensor = (chance * earned).sum(dim=-1) + (1 - done) * config.entropy_bonus * entropy
            return -objective.mean()
        greedy = alpha[0] + (alpha[1] - alpha[0]) * done
        chance = log_chance.detach().exp().cpu().flatten(0, 2)
        sampled = torch.multinomial(chance, 1, generator=draw)
        uniform = torch.randint(chance.shape[1], sampled.shape, generator=draw)
        explore = torch.rand(sampled.shape, generator=draw) > greedy
        action = torch.where(explore, uniform, sampled).reshape(*log_chance.shape[:3], 1).to(device)
        objective = log_chance.gather(-1, action) * earned.gather(-1, action)
        return -objective.mean()

    def score() -> float:
        action = choose(policy, val.observation).flatten(1)
        return val.reward.gather(-1, action.unsqueeze(-1)).mean().item()

    return fit(
        policy,
        loss_of_batch,
        stage=stage,
        epochs=epochs,
        steps=steps,
        learning_rate=config.policy_learning_rate,
        config=config,
        device=device,
        seed=seed,
        progress=progress,
        score=score,
        scores=20,
        keep_start=keep_start,
    ).history


@torch.inference_mode()
def choose(policy: nn.Module, observation: Tensor) -> Tensor:
    """The argmax route (N, gh, gw) of observations (N, D, h, w)."""
    policy.eval()
    action: Tensor = policy(observation).argmax(dim=-1)
    return action
