"""Who is in which part: D_PT / D_RL / D_FT of the training images, and val and test where none are given."""

from __future__ import annotations

import torch

from ..errors import DataError

__all__ = ["holdout", "three_parts"]


def _counts(total: int, shares: tuple[float, ...]) -> list[int]:
    """Whole numbers that sum to ``total``, at least one for every share above 0 (largest remainder)."""
    exact = [share * total for share in shares]
    counts = [max(int(one), 1 if share > 0 else 0) for one, share in zip(exact, shares, strict=True)]
    while sum(counts) != total:
        step = 1 if sum(counts) < total else -1
        index = max(range(len(shares)), key=lambda i: step * (exact[i] - counts[i]) if shares[i] else -total)
        counts[index] += step
    return counts


def _divide(total: int, shares: tuple[float, ...], seed: int) -> list[list[int]]:
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).tolist()
    parts = []
    for count in _counts(total, shares):
        parts.append(sorted(order[:count]))
        order = order[count:]
    return parts


def three_parts(total: int, shares: tuple[float, float, float], seed: int) -> list[list[int]]:
    """Indices of D_PT, D_RL, D_FT: disjoint, together all ``total``, by ``seed``. Raises DataError when too few."""
    needed = sum(share > 0 for share in shares)
    if total < needed:
        raise DataError(f"{total} training images cannot fill {needed} parts; add images, or set parts in [data]")
    return _divide(total, shares, seed)


def holdout(total: int, shares: tuple[float, float], seed: int) -> list[list[int]]:
    """Indices of train, val, test by ``seed``. Raises DataError when too few."""
    if total < 5:
        raise DataError(f"{total} images are too few to split into train, val and test; 5 at least")
    return _divide(total, (1 - sum(shares), *shares), seed)
