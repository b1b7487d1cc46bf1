"""Routes to compare a policy's with, all by look-up in the tables."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["always", "oracle", "random_matched"]


def always(model: int, images: int, patches: int) -> Tensor:
    """Every patch to one model: (N, P)."""
    return torch.full((images, patches), model)


def random_matched(route: Tensor, *, draws: int, seed: int) -> Tensor:
    """``draws`` random routes (R, N, P) that send exactly as many patches to each model as ``route`` (N, P) does."""
    order = torch.rand(draws, route.numel(), generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
    return route.flatten()[order].reshape(draws, *route.shape)


def oracle(reward: Tensor) -> Tensor:
    """The best route by the reward itself (N, P, M), labels known: (N, P)."""
    return reward.argmax(dim=-1)
