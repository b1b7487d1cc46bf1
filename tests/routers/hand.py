"""Tables small enough to route by hand: 2 images × 4 patches (2 × 2) × 3 models × 2 classes."""

from __future__ import annotations

import torch
from torch import Tensor

from paser_opt.routers import TEMPERATURES, Labelled, Seen

ENTROPY = torch.tensor([[0.1, 0.4, 0.2, 0.6], [0.5, 0.3, 0.7, 0.0]])
GAIN = torch.tensor(
    [
        [[0.0, -0.1, -0.2], [0.0, 0.30, 0.32], [0.0, 0.1, 0.1], [0.0, 0.1, 0.5]],
        [[0.0, 0.20, 0.45], [0.0, 0.25, 0.20], [0.0, 0.2, 0.6], [0.0, 0.0, 0.1]],
    ]
)  # (N, P, M)
COST = torch.tensor([0.1, 0.2, 0.7])  # C(i); C(0) is never charged


def hard_of(gain: Tensor) -> Tensor:
    """Confusion matrices of patches of 100 pixels, half of each class: f_i gets 60 + 50·gain of them right."""
    right = (30 + 25 * gain).round().long()
    return torch.stack([torch.stack([right, 50 - right], dim=-1), torch.stack([50 - right, right], dim=-1)], dim=-2)


def tables(entropy: Tensor = ENTROPY, gain: Tensor = GAIN, confidence: Tensor | None = None) -> Labelled:
    """``confidence`` (N, P, M) at every temperature; by default each model is surer than the one before."""
    n, _, m = gain.shape
    if confidence is None:
        confidence = torch.stack([1 - entropy, 1 - entropy / 2, 1 - entropy / 4], dim=-1)[..., :m]
    features = {"entropy": entropy[..., None], "margin": 1 - entropy[..., None]}
    seen = Seen(
        features,
        confidence[..., None].expand(-1, -1, -1, len(TEMPERATURES)),
        {kind: entropy.reshape(n, 1, 2, 2).repeat(1, maps, 1, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
         for kind, maps in (("pooled", 6), ("priced", 6), ("reference", 2))},
    )  # fmt: skip
    return Labelled(seen, hard_of(gain), gain, torch.ones(m, len(TEMPERATURES)), key="hand")
