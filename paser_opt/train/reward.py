"""The reward of Eq. 2 for every patch and every model at once, from confusion matrices.

With frozen models the policy's problem is a full-information contextual bandit: the table of confusion matrices
holds the outcome of every action, so every λ, every cost and every A follow by look-up, without inference.
"""

from __future__ import annotations

from torch import Tensor

from ..evaluate import class_iou

__all__ = ["gains", "rewards"]


def gains(hard: Tensor, soft: Tensor, kind: str) -> Tensor:
    """A(f_i, p) − A(f_0, p): tables (N, P, M, K, K) → (N, P, M), 0 for f_0.

    - "iou", "dice", "accuracy", "soft_iou": of the patch's own confusion matrix.
    - "image_iou", "data_iou": the change of the image's (data set's) IoU when this patch alone goes to f_i, times
      the number of patches it is shared among, so that all kinds have the same scale. Macro IoU of a patch is
      noisy: one wrong pixel in a one-class patch halves it.
    - "steady_iou": half data_iou, half accuracy in its units (by least squares). A pixel of a rare class weighs many
      times one of a common class in IoU, so a few patches rule what is learnt; accuracy is steadier, and says most
      of it.
    """
    if kind == "steady_iou":
        iou, accuracy = gains(hard, soft, "data_iou"), gains(hard, soft, "accuracy")
        unit = (iou * accuracy).sum() / accuracy.square().sum().clamp_min(1e-12)
        return (iou + unit * accuracy) / 2
    table = (soft if kind == "soft_iou" else hard).double()
    if kind in ("image_iou", "data_iou"):
        kept = table[:, :, :1].sum(dim=1, keepdim=True)  # (N, 1, 1, K, K): the image, all of it kept by f_0
        if kind == "data_iou":
            kept = kept.sum(dim=0, keepdim=True)
        share = table.shape[1] * (table.shape[0] if kind == "data_iou" else 1)
        changed = class_iou(kept + (table - table[:, :, :1])).nanmean(dim=-1)
        return ((changed - changed[:, :, :1]) * share).float()
    if kind == "accuracy":
        hit = table.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        quality = hit / table.sum(dim=(-2, -1)).clamp_min(1)
    else:
        iou = class_iou(table)
        quality = (2 * iou / (1 + iou) if kind == "dice" else iou).nanmean(dim=-1).nan_to_num(0.0)
    return (quality - quality[:, :, :1]).float()


def rewards(gain: Tensor, cost_per_patch: Tensor, cost_weight: float, *, charge_f0: bool) -> Tensor:
    """Eq. 2: R = (1 − λ)·gain − λ·C; gain (N, P, M), cost_per_patch (M,) of Eq. 3 → (N, P, M).

    C(0) is 0 unless ``charge_f0``: f_0 has run anyway.
    """
    cost = cost_per_patch.clone()
    if not charge_f0:
        cost[0] = 0.0
    return (1 - cost_weight) * gain - cost_weight * cost.to(gain)
