"""Stage 3 in closed form: ridge regression of the gains, for a policy that any λ and C can be asked of.

A sampled or expected reward is trained for one λ and ranks the models there only. Gains hold for all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..models import PricedPolicy
from .loop import History
from .reward import gains

__all__ = ["fit_priced"]

FOLDS = 5
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Ridge penalties tried, in units of the inputs' own second moment (about 1 after standardising)."""


@torch.no_grad()
def fit_priced(policy: PricedPolicy, observation: Tensor, hard: Tensor, *, image: Tensor | None = None) -> History:
    """Fit the policy in place to observations (N, D, h, w) and confusion matrices (N, P, M, K, K); deterministic.

    The penalty is the one with the least squared error over images left out, fold by fold. ``image`` (N,) numbers the
    image that each row is, or is a copy of: a copy left out alone would be told by the others. None: all differ.
    """
    gain = gains(hard, hard, "steady_iou").double()  # (N, P, M)
    features = policy.features(observation.to(policy.mean.device))
    policy.mean.copy_(features.mean(dim=(0, 1, 2)))
    policy.scale.copy_(features.std(dim=(0, 1, 2)).clamp_min(1e-6))
    inputs = policy.design(features).flatten(1, 2).double().cpu()  # (N, P, F)
    image = torch.arange(len(inputs)) if image is None else image
    fold = image % min(FOLDS, int(image.max()) + 1)
    gram = _by_fold(torch.einsum("npf,npg->nfg", inputs, inputs), fold)
    moment = _by_fold(torch.einsum("npf,npm->nfm", inputs, gain), fold)
    penalty = torch.eye(inputs.shape[-1], dtype=torch.float64) * gain[..., 0].numel()
    penalty[-1, -1] = 1e-6  # the constant is not held back
    errors = []
    for strength in STRENGTHS:
        left_out = torch.linalg.solve(gram.sum(dim=0) - gram + strength * penalty, moment.sum(dim=0) - moment)
        missed = torch.einsum("npf,nfm->npm", inputs, left_out[fold]) - gain
        errors.append(missed[..., 1:].square().mean().item())
    strength = STRENGTHS[errors.index(min(errors))]
    weights = torch.linalg.solve(gram.sum(dim=0) + strength * penalty, moment.sum(dim=0))
    policy.weights.copy_(weights - weights[:, :1])
    policy.spread.fill_(max(min(errors), 1e-12) ** 0.5)
    return [{"epoch": 1.0, "loss": min(errors), "strength": strength}]


def _by_fold(each: Tensor, fold: Tensor) -> Tensor:
    """Sums over the images of each fold: (N, …) → (folds, …)."""
    total = each.new_zeros(int(fold.max()) + 1, *each.shape[1:])
    return total.index_add(0, fold, each)
