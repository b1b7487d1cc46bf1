"""Margin threshold: the patch's mean gap between f_0's two highest class probabilities."""

from __future__ import annotations

from torch import Tensor

from .features import Features
from .threshold import ThresholdRouter

__all__ = ["MarginRouter"]


class MarginRouter(ThresholdRouter):
    """Patches with a small margin go to larger models."""

    name = "margin threshold"
    feature = "margin"

    @staticmethod
    def score(features: Features) -> Tensor:
        return -features["margin"][..., 0]
