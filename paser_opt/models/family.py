"""The family f_0 … f_m and its policy, made from configurations and a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..config import Grid, PolicyConfig, UNetConfig
from .policy import AnyPolicy, PooledPolicy, PricedPolicy, ReferencePolicy
from .unet import UNet

__all__ = ["PUBLISHED", "build_policy", "build_unet", "parameter_count"]

PUBLISHED = (UNetConfig(base=8, depth=2), UNetConfig(base=16, depth=4), UNetConfig(base=64, depth=4))
"""The paper's f_0, f_1, f_2."""


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """Weights are drawn on the CPU, from ``seed``; the global random state is left as it was, a GPU's too."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would set a GPU's, and takes milliseconds
        yield


def build_unet(config: UNetConfig, *, seed: int) -> UNet:
    """A UNet with weights drawn from ``seed``."""
    with _drawn_from(seed):
        return UNet(config)


def build_policy(config: PolicyConfig, *, models: int, grid: Grid, classes: int, channels: int, seed: int) -> AnyPolicy:
    """The policy over ``models`` models for a grid of patches, with weights drawn from ``seed``."""
    with _drawn_from(seed):
        if config.kind == "reference":
            return ReferencePolicy(models=models, grid=grid, every=config.every)
        kind = PricedPolicy if config.kind == "priced" else PooledPolicy
        return kind(config, models=models, grid=grid, classes=classes, channels=channels)


def parameter_count(module: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
