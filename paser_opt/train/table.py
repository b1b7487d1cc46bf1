"""Tables: for every patch of every image the confusion matrix of every model, so that any route is a look-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..config import PipelineConfig
from ..data import Part
from ..evaluate import image_probability, patch_confusions, whole_confusions
from ..models import Policy, UNet
from ..patches import in_context, split, split_mask

__all__ = ["Table", "everywhere", "routed", "screened", "with_context"]


def routed(hard: Tensor, action: Tensor) -> Tensor:
    """Of confusion matrices (N, P, M, K, K) those that routes (N, P) lead to, summed over patches: (N, K, K)."""
    index = action[:, :, None, None, None].expand(-1, -1, 1, *hard.shape[-2:])
    return hard.gather(2, index).sum(dim=(1, 2))


@dataclass(frozen=True)
class Table:
    """Everything a route can lead to on one part of the data."""

    hard: Tensor  # (N, P, M, K, K) confusion matrices, row = truth
    soft: Tensor  # (N, P, M, K, K) expected confusion of the class probabilities
    observation: Tensor  # (N, D, h, w) what the policy sees

    @classmethod
    def joined(cls, tables: Sequence[Table]) -> Table:
        """The images of all ``tables``, in order."""
        return cls(*(torch.cat([getattr(one, name) for one in tables]) for name in ("hard", "soft", "observation")))

    def routed(self, action: Tensor) -> Tensor:
        """Confusion matrices (N, K, K) of the images under routes (N, P)."""
        return routed(self.hard, action)


def screened(model: UNet, policy: Policy, part: Part, config: PipelineConfig, *, precision: str) -> dict[str, Tensor]:
    """f_0's confusion matrices, hard (N, P, K, K) and soft, and the policy's observation (N, D, h, w)."""
    probability = image_probability(
        model, part.images, samples=config.mc_samples, precision=precision, seed=config.seed
    )
    hard, soft = whole_confusions(probability, part.masks, config.grid)
    return {"hard": hard.int(), "soft": soft, "observation": policy.observe(part.images, probability)}


def with_context(screen: UNet, part: Part, config: PipelineConfig, *, samples: int) -> Part:
    """``part`` as f_1 … see it: images (N, C + K, H, W) where they see the probabilities of f_0, ``screen``."""
    if config.context == "none":
        return part
    probability = image_probability(screen, part.images, samples=samples, precision="fp32", seed=config.seed)
    return replace(part, images=in_context(part.images, probability, config.context))


def everywhere(model: UNet, part: Part, config: PipelineConfig, *, classes: int, precision: str) -> dict[str, Tensor]:
    """Confusion matrices of f_i, i ≥ 1, on every patch of a part :func:`with_context`: hard (N, P, K, K) and soft."""
    hard, soft = patch_confusions(
        model,
        split(part.images, config.grid, config.halo),
        split_mask(part.masks, config.grid),
        classes,
        halo=config.halo,
        precision=precision,
    )
    return {"hard": hard.int(), "soft": soft}
