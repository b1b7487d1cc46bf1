"""Top-k: in every image the same number of patches goes to each model, those of highest entropy to the largest."""

from __future__ import annotations

import torch
from torch import Tensor

from .features import Features
from .threshold import ThresholdRouter

__all__ = ["TopKRouter"]


class TopKRouter(ThresholdRouter):
    """Cuts on the entropy's rank inside the image, so that every image costs the same."""

    name = "top-k entropy"
    feature = "entropy"

    @classmethod
    def score(cls, features: Features) -> Tensor:
        entropy = super().score(features)
        patches = entropy.shape[1]
        order = entropy.topk(patches, dim=1, largest=False).indices  # ONNX has no argsort
        ranks = torch.arange(patches, device=entropy.device).expand_as(order)
        return torch.zeros_like(order).scatter(1, order, ranks).to(entropy.dtype)  # 0 … P − 1
