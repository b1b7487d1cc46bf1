"""Monte-Carlo dropout, only where it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["mc_dropout", "mean_probability"]


@contextmanager
def mc_dropout(model: nn.Module) -> Iterator[None]:
    """Dropout on inside, everything else as it was; outside, ``model.eval()`` means what it says."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    before = [layer.training for layer in layers]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer, training in zip(layers, before, strict=True):
            layer.train(training)


def mean_probability(model: nn.Module, images: Tensor, samples: int) -> Tensor:
    """p̄: class probabilities (N, K, H, W) of ``samples`` dropout passes in one batch; 0: one deterministic pass."""
    if samples == 0:
        return torch.softmax(model(images).float(), dim=1)
    with mc_dropout(model):
        logits = model(images.repeat(samples, 1, 1, 1))  # (S·N, K, H, W)
    return torch.softmax(logits.float(), dim=1).reshape(samples, *images.shape[:1], *logits.shape[1:]).mean(dim=0)
