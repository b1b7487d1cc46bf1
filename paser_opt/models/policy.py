"""The policy f_RL: what f_0 saw of an image → which model each patch goes to.

Departures from the published head, which is kept as :class:`ReferencePolicy`:

- It pools globally before its linear layer, so it cannot tell inner patches apart. :class:`PooledPolicy` pools
  inside each patch and mixes with 1 × 1 convolutions: any grid, any number of models, few parameters.
- It reads the raw class index. PooledPolicy reads class probabilities, entropy, confidence and the image.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import Grid, PolicyConfig
from ..patches import pad_to_grid

__all__ = ["Policy", "PooledPolicy", "ReferencePolicy"]


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


class PooledPolicy(nn.Module):
    """Convolutions on averaged maps, mean and max inside each patch, 1 × 1 convolutions over patches."""

    def __init__(self, config: PolicyConfig, *, models: int, grid: Grid, classes: int, channels: int) -> None:
        super().__init__()
        self.grid, self.stride = grid, config.stride
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
        confidence = probability.amax(dim=1, keepdim=True)
        # Contrast inside a cell of the averaged maps would be lost: its mean square is kept beside its mean.
        energy = images.square().mean(dim=1, keepdim=True)
        stack = torch.cat([probability, _entropy(probability), confidence, images, energy], dim=1)
        return F.avg_pool2d(pad_to_grid(stack, self.grid), self.stride, ceil_mode=True)

    def forward(self, observation: Tensor) -> Tensor:
        # Padded to whole cells a patch: ONNX has no adaptive pooling for the rest.
        maps, observation = (pad_to_grid(one, self.grid) for one in (self.maps(observation), observation))
        cells = int(maps.shape[-2]) // self.grid[0], int(maps.shape[-1]) // self.grid[1]
        pooled = [F.avg_pool2d(maps, cells), F.max_pool2d(maps, cells), F.avg_pool2d(observation, cells)]
        logits: Tensor = self.head(torch.cat(pooled, dim=1))  # (N, models, gh, gw)
        return logits.permute(0, 2, 3, 1)


class ReferencePolicy(nn.Module):
    """The published head: one residual block, global average pool, one linear layer (14,736 parameters at 4 × 4, 3)."""

    def __init__(self, *, models: int, grid: Grid) -> None:
        super().__init__()
        self.grid, self.models = grid, models
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
        label = probability.argmax(dim=1, keepdim=True).to(probability.dtype)
        return torch.cat([label, _entropy(probability)], dim=1)  # (N, 2, H, W)

    def forward(self, observation: Tensor) -> Tensor:
        x = self.entry(observation)
        x = F.relu(self.block(x) + self.shortcut(x)).mean(dim=(2, 3))  # (N, 16)
        logits: Tensor = self.linear(x)
        return logits.reshape(-1, *self.grid, self.models)
