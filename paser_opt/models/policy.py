"""The policy f_RL: what f_0 saw of an image → which model each patch goes to.

Departures from the published head, which is kept as :class:`ReferencePolicy`:

- It pools globally before its linear layer, so it cannot tell inner patches apart. :class:`PooledPolicy` pools
  inside each patch and mixes with 1 × 1 convolutions: any grid, any number of models, few parameters.
- It reads the raw class index. PooledPolicy reads class probabilities, entropy, confidence and the image.

:class:`PricedPolicy` is no classifier: it predicts gains, and λ is only the price it pays for them.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import Grid, PolicyConfig
from ..patches import CELLS, row_moments, sampled

__all__ = ["AnyPolicy", "Policy", "PooledPolicy", "PricedPolicy", "ReferencePolicy"]


class Policy(Protocol):
    """Two steps, so that training can keep the first one's result."""

    def observe(self, images: Tensor, probability: Tensor) -> Tensor:
        """Images (N, C, H, W) and f_0's class probabilities (N, K, H, W) → observation (N, D, h, w)."""

    def __call__(self, observation: Tensor) -> Tensor:
        """Observation → logits (N, gh, gw, models)."""


def _entropy(probability: Tensor) -> Tensor:
    # Four times as fast on a CPU as torch.special.entr.
    entropy = -(probability * probability.clamp_min(1e-12).log()).sum(dim=1, keepdim=True)  # (N, 1, H, W), nats
    return entropy


def _cells(images: Tensor, probability: Tensor, grid: Grid, stride: int) -> Tensor:
    """What each cell of a patch shows: class probabilities, entropy and confidence at one of its pixels, the means of
    the image and of its square over one of its rows."""
    probability = sampled(probability, grid, stride)
    confidence = probability.amax(dim=1, keepdim=True)
    # Contrast inside a cell would be lost in its mean: its mean square is kept beside it.
    mean, square = row_moments(images, grid, stride)
    return torch.cat([probability, _entropy(probability), confidence, mean, square], dim=1)


def _inside(maps: Tensor, grid: Grid) -> tuple[int, int]:
    """Cells down and across a patch. (ONNX has no adaptive pooling.)"""
    return int(maps.shape[-2]) // grid[0], int(maps.shape[-1]) // grid[1]


class PooledPolicy(nn.Module):
    """Convolutions on the maps of cells, mean and max inside each patch, 1 × 1 convolutions over patches."""

    def __init__(self, config: PolicyConfig, *, models: int, grid: Grid, classes: int, channels: int) -> None:
        super().__init__()
        self.grid, self.stride = grid, config.stride
        self.register_buffer("rows", torch.tensor(CELLS))  # weights learnt on other maps are not taken for these
        inputs, width = classes + 2 + channels + 1, config.width
        self.maps = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Conv2d(2 * width + inputs, 2 * width, 1),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(2 * width, models, 1),
        )

    def observe(self, images: Tensor, probability: Tensor) -> Tensor:
        return _cells(images, probability, self.grid, self.stride)

    def forward(self, observation: Tensor) -> Tensor:
        maps, cells = self.maps(observation), _inside(observation, self.grid)
        pooled = [F.avg_pool2d(maps, cells), F.max_pool2d(maps, cells), F.avg_pool2d(observation, cells)]
        logits: Tensor = self.head(torch.cat(pooled, dim=1))  # (N, models, gh, gw)
        return logits.permute(0, 2, 3, 1)


class PricedPolicy(nn.Module):
    """Predicted gain of every model on every patch, less C at a price: one fit serves every λ and every C.

    A patch goes where gain − λ/(1 − λ)·C is highest, which is where Eq. 2 is. The gain is linear in the means and
    mean squares, inside the patch, of the maps that PooledPolicy reads, and in their squares: a few hundred patches
    are enough to fit it (train/priced.py).
    """

    mean: Tensor  # (F,)
    scale: Tensor  # (F,)
    charge: Tensor  # (models,) λ/(1 − λ)·C
    spread: Tensor  # () what predictions miss by, so that the chances mean something

    def __init__(self, config: PolicyConfig, *, models: int, grid: Grid, classes: int, channels: int) -> None:
        super().__init__()
        self.grid, self.stride = grid, config.stride
        self.register_buffer("rows", torch.tensor(CELLS))
        features = 2 * (classes + 2 + channels + 1)
        self.weights = nn.Parameter(0.1 * torch.randn(2 * features + 1, models), requires_grad=False)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("charge", torch.zeros(models))
        self.register_buffer("spread", torch.ones(()))

    def ask(self, cost_weight: float, cost_per_patch: Tensor, *, charge_f0: bool = False) -> None:
        """From now on route for this λ and C (models,); the gains stay what they are."""
        price = cost_weight / (1 - cost_weight)
        self.charge.copy_(cost_per_patch * price)
        if not charge_f0:
            self.charge[0] = 0.0

    def observe(self, images: Tensor, probability: Tensor) -> Tensor:
        return _cells(images, probability, self.grid, self.stride)

    def features(self, observation: Tensor) -> Tensor:
        """Observation (N, D, h, w) → mean and mean square of each of its maps in each patch, (N, gh, gw, F)."""
        both = torch.cat([observation, observation.square()], dim=1)
        pooled = F.avg_pool2d(both, _inside(observation, self.grid))
        return pooled.permute(0, 2, 3, 1)

    def design(self, features: Tensor) -> Tensor:
        """What the gain is linear in: (…, F) → (…, 2·F + 1)."""
        # Bounded, since squares of what was never seen in training would swamp the rest.
        standard = ((features - self.mean) / self.scale).clamp(-4, 4)
        return torch.cat([standard, standard.square(), torch.ones_like(standard[..., :1])], dim=-1)

    def gain(self, observation: Tensor) -> Tensor:
        """Predicted gain over f_0, (N, gh, gw, models): once fitted, 0 for f_0 itself."""
        gain: Tensor = self.design(self.features(observation)) @ self.weights
        return gain

    def forward(self, observation: Tensor) -> Tensor:
        return (self.gain(observation) - self.charge) / self.spread


class ReferencePolicy(nn.Module):
    """The published head: one residual block, global average pool, one linear layer (14,736 parameters at 4 × 4, 3).

    With ``every`` > 1, no choice of the paper's, it reads every so many-th row and column: what it takes to train and
    to run falls with the square.
    """

    def __init__(self, *, models: int, grid: Grid, every: int = 1) -> None:
        super().__init__()
        self.grid, self.models, self.every = grid, models, every
        self.entry = nn.Sequential(nn.Conv2d(2, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(64, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(64, 16, 1, stride=2, bias=False), nn.BatchNorm2d(16))
        self.linear = nn.Linear(16, grid[0] * grid[1] * models)

    def observe(self, images: Tensor, probability: Tensor) -> Tensor:
        probability = probability[..., :: self.every, :: self.every]
        label = probability.argmax(dim=1, keepdim=True).to(probability.dtype)
        return torch.cat([label, _entropy(probability)], dim=1)  # (N, 2, ⌈H / every⌉, ⌈W / every⌉)

    def forward(self, observation: Tensor) -> Tensor:
        x = self.entry(observation)
        x = F.relu(self.block(x) + self.shortcut(x)).mean(dim=(2, 3))  # (N, 16)
        logits: Tensor = self.linear(x)
        return logits.reshape(-1, *self.grid, self.models)


AnyPolicy = PooledPolicy | PricedPolicy | ReferencePolicy
