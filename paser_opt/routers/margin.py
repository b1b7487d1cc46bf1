"""Margin threshold: the patch's mean gap between f_0's two highest class probabilities."""

from __future__ import annotations

from .threshold import ThresholdRouter

__all__ = ["MarginRouter"]


class MarginRouter(ThresholdRouter):
    """Patches with a small margin go to larger models."""

    name = "margin threshold"
    feature = "margin"
    sign = -1
