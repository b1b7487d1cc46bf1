"""Entropy threshold: the patch's mean entropy of f_0's class probabilities."""

from __future__ import annotations

from .threshold import ThresholdRouter

__all__ = ["EntropyRouter"]


class EntropyRouter(ThresholdRouter):
    """Unsure patches go to larger models; what a sceptic would deploy instead of a policy."""

    name = "entropy threshold"
    feature = "entropy"
