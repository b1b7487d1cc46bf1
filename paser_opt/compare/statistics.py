"""Paired bootstrap over images nested in seeds, and Holm's adjustment over baselines.

A resample draws as many seeds as there are, with replacement, and for every drawn seed as many of its images, with
replacement; never patches, which are not independent. Every statistic is computed afresh in each resample. All
routers meet the same resamples, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .records import Difference, Equivalence, Estimate

__all__ = ["Resamples", "Statistic", "compared", "draw", "equivalent", "estimated", "holm", "value"]

Statistic = Callable[[Tensor], Tensor]
"""Of one seed: how often each image counts (B, N) float64 → (B,)."""


@dataclass(frozen=True)
class Resamples:
    """``seeds[j]`` (B,): the seed in the j-th place of each resample; ``images[j][s]`` (B, N_s): its images' counts."""

    seeds: tuple[Tensor, ...]
    images: tuple[tuple[Tensor, ...], ...]

    @property
    def count(self) -> int:
        return len(self.seeds[0])

    def values(self, of_seed: Sequence[Statistic]) -> Tensor:
        """Mean over the drawn seeds of each one's statistic: (B,)."""
        total = torch.zeros(self.count, dtype=torch.float64)
        for seeds, images in zip(self.seeds, self.images, strict=True):
            for seed, statistic in enumerate(of_seed):
                drawn = seeds == seed
                if drawn.any():
                    total[drawn] += statistic(images[seed][drawn])
        return total / len(self.seeds)


def draw(images: Sequence[int], *, count: int = 2000, seed: int = 0) -> Resamples:
    """``count`` resamples for ``images[s]`` images of seed s."""
    generator = torch.Generator().manual_seed(seed)
    places = range(len(images))
    seeds = tuple(torch.randint(len(images), (count,), generator=generator) for _ in places)

    def counts(size: int) -> Tensor:
        drawn = torch.randint(size, (count, size), generator=generator)
        zeros = torch.zeros(count, size, dtype=torch.float64)
        return zeros.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))

    return Resamples(seeds, tuple(tuple(counts(size) for size in images) for _ in places))


def value(of_seed: Sequence[Statistic], images: Sequence[int]) -> float:
    """The statistic itself: mean over seeds, every image counted once."""
    each = [
        statistic(torch.ones(1, size, dtype=torch.float64)) for statistic, size in zip(of_seed, images, strict=True)
    ]
    return torch.cat(each).mean().item()


def estimated(point: float, resampled: Tensor) -> Estimate:
    """The value with the 95 % percentile interval of its resamples (B,)."""
    low, high = _interval(resampled, 0.025)
    return Estimate(value=point, low=low, high=high)


def _interval(resampled: Tensor, tail: float) -> tuple[float, float]:
    low, high = torch.quantile(resampled, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    p = torch.tensor(p_values, dtype=torch.float64)
    order = p.argsort(stable=True)
    factors = torch.arange(len(p), 0, -1, dtype=torch.float64)
    adjusted = torch.empty_like(p)
    adjusted[order] = (p[order] * factors).cummax(dim=0).values.clamp(max=1.0) if len(p) else p
    return adjusted.tolist()


def compared(differences: dict[str, tuple[float, Tensor]]) -> dict[str, Difference]:
    """Baseline → (difference, its resamples (B,)) to intervals, two-sided p-values and verdicts, Holm over them all.

    p is twice the smaller share of resamples on either side of 0, with one added to both counts, so it is never 0.
    """
    p_values = []
    for _, resampled in differences.values():
        tail = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
        p_values.append(min(1.0, 2 * (tail + 1) / (len(resampled) + 1)))
    found = {}
    for (name, (point, resampled)), p, adjusted in zip(differences.items(), p_values, holm(p_values), strict=True):
        interval = estimated(point, resampled)
        found[name] = Difference(
            difference=point,
            low=interval.low,
            high=interval.high,
            p=p,
            p_holm=adjusted,
            verdict="not told apart" if adjusted >= 0.05 else "better" if point > 0 else "worse",
        )
    return found


def equivalent(differences: dict[str, tuple[float, Tensor]], margin: float) -> dict[str, Equivalence]:
    """Name → (difference, its resamples (B,)) to whether it lies within ± ``margin``, Holm over them all.

    Two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987) by the bootstrap: p is
    the larger share of resamples at or beyond either margin, with one added to both counts. That no difference was
    found says nothing here; only a small p shows that there is none worth the margin.
    """
    p_values = []
    for _, resampled in differences.values():
        beyond = max(int((resampled <= -margin).sum()), int((resampled >= margin).sum()))
        p_values.append((beyond + 1) / (len(resampled) + 1))
    found = {}
    for (name, (point, resampled)), p, adjusted in zip(differences.items(), p_values, holm(p_values), strict=True):
        low, high = _interval(resampled, 0.05)
        found[name] = Equivalence(
            difference=point,
            low=low,
            high=high,
            margin=margin,
            p=p,
            p_holm=adjusted,
            verdict="equivalent" if adjusted < 0.05 else "not shown",
        )
    return found
