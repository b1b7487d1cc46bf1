"""Wall time of calls, interleaved so that drift of the machine hits all alike.

A call is never timed right after itself: in a route every step follows another, and finds its caches and its
memory as that one left them.

The interval of the median is the distribution-free one between two order statistics (binomial, p = 1/2).
Because sampling stops as soon as it is narrow enough, its true coverage lies a little under 95 %.

Shipped to boards: Python 3.6, standard library only.
"""

import math
import time
from bisect import insort
from functools import lru_cache
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

__all__ = ["LEAST_SAMPLES", "Effort", "Timing", "held_back", "median_ranks", "time_interleaved"]

LEAST_SAMPLES = 6
"""The fewest samples whose extremes hold the median with 95 %: 1 − 2·(1/2)^6 = 0.969, with five 0.9375."""

_P95_SAMPLES = 90  # under 90 no order statistic bounds the 95th percentile with 99 % confidence
_WARM_UP_ROUNDS = 2  # the first call allocates and picks kernels


@lru_cache(maxsize=4096)
def median_ranks(samples: int) -> Tuple[int, int]:
    """0-based ranks (low, high) of the sorted samples between which the median lies with ≥ 95 %.

    The narrowest symmetric pair with P(low < B ≤ high) ≥ 0.95, B binomial (samples, 1/2); the extremes if
    none is.
    """
    low, term, tail = 0, 1, 1  # term = C(samples, low), tail = 2^samples · P(B ≤ low)
    while 40 * tail <= 2**samples:  # P(B ≤ low) ≤ 0.025
        low += 1
        term = term * (samples - low + 1) // low
        tail += term
    low = max(low - 1, 0)
    return low, samples - 1 - low


class Effort(NamedTuple):
    """How long calls are timed: see :func:`time_interleaved`."""

    min_samples: int
    max_samples: int
    target_spread: float
    enough_seconds: float
    max_seconds: float


class Timing(NamedTuple):
    """Wall time of one call, seconds: what :class:`~paser_opt.records.Latency` keeps."""

    median_s: float
    p95_s: Optional[float]
    low_s: float
    high_s: float
    samples: int
    stable: bool
    verdict: str


def held_back(timing: Timing, throttling: str) -> Timing:
    """``timing``, marked unstable where the device says that it was throttled meanwhile."""
    if not throttling:
        return timing
    return timing._replace(stable=False, verdict=f"not stable: the device was held back ({throttling})")


class _Samples:
    def __init__(self) -> None:
        self.spent_ns = 0
        self.in_order: List[int] = []
        self.ranked: List[int] = []

    def add(self, duration_ns: int) -> None:
        self.spent_ns += duration_ns
        self.in_order.append(duration_ns)
        insort(self.ranked, duration_ns)

    @property
    def median_ns(self) -> float:
        return _median(self.ranked)

    @property
    def interval_ns(self) -> Tuple[int, int]:
        low, high = median_ranks(len(self.ranked))
        return self.ranked[low], self.ranked[high]

    @property
    def spread(self) -> float:
        """Half-width of the median's interval, relative to the median."""
        low, high = self.interval_ns
        return (high - low) / 2 / self.median_ns


def _median(ranked: Sequence[int]) -> float:
    middle = len(ranked) // 2
    return float(ranked[middle]) if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def _now_ns() -> int:
    return int(time.perf_counter() * 1e9)  # perf_counter_ns came with Python 3.7


def time_interleaved(
    calls: Sequence[Callable[[], object]],
    *,
    synchronize: Callable[[], object],
    min_samples: int,
    max_samples: int,
    target_spread: float,
    max_seconds: float,
    enough_seconds: float = math.inf,
    clock: Callable[[], int] = _now_ns,
    on_done: Callable[[int], object] = lambda done: None,
) -> List[Timing]:
    """Latency of every call, taken in rounds A B C A B C … after a warm-up.

    A call leaves the rounds when, after ``min_samples``, the half-width of its median's 95 % interval is under
    ``target_spread`` × median (stable), at ``max_samples``, or when its own samples have taken ``max_seconds``; after
    ``enough_seconds`` of them a stable one leaves with fewer than ``min_samples``. :data:`LEAST_SAMPLES` are taken
    even of calls longer than that. ``synchronize`` waits for the device, before
    the clock starts and before it stops; ``clock`` returns nanoseconds; ``on_done`` hears how many have left.
    """
    for _ in range(_WARM_UP_ROUNDS):
        for call in calls:
            call()
    results = [_Samples() for _ in calls]
    active = list(range(len(calls)))
    while active:
        for index in active:
            synchronize()
            start = clock()
            calls[index]()
            synchronize()
            results[index].add(clock() - start)
        active = [
            index
            for index in active
            if not _finished(
                results[index], Effort(min_samples, max_samples, target_spread, enough_seconds, max_seconds)
            )
        ]
        on_done(len(calls) - len(active))
    return [_latency(samples, min_samples, target_spread) for samples in results]


def _finished(samples: _Samples, effort: Effort) -> bool:
    taken, spent_s = len(samples.ranked), samples.spent_ns / 1e9
    if taken >= effort.max_samples:
        return True
    if taken < LEAST_SAMPLES:
        return False
    enough = taken >= effort.min_samples or spent_s >= effort.enough_seconds
    return (enough and samples.spread <= effort.target_spread) or spent_s >= effort.max_seconds


def _latency(samples: _Samples, min_samples: int, target_spread: float) -> Timing:
    taken = len(samples.ranked)
    low, high = samples.interval_ns
    stable = taken >= LEAST_SAMPLES and samples.spread <= target_spread
    return Timing(
        median_s=samples.median_ns / 1e9,
        p95_s=samples.ranked[-(-95 * taken // 100) - 1] / 1e9 if taken >= _P95_SAMPLES else None,
        low_s=low / 1e9,
        high_s=high / 1e9,
        samples=taken,
        stable=stable,
        verdict=_stable_words(samples) if stable else _unstable_words(samples, min_samples, target_spread),
    )


def _stable_words(samples: _Samples) -> str:
    return f"stable: median known to ±{samples.spread:.1%} after {len(samples.ranked)} samples"


def _unstable_words(samples: _Samples, min_samples: int, target_spread: float) -> str:
    taken, median = len(samples.ranked), samples.median_ns
    faults = [f"median known only to ±{samples.spread:.1%}, wanted ±{target_spread:.1%}"]
    if taken < min_samples:
        faults.append(f"too few samples ({taken} of {min_samples})")
    half = taken // 2
    if half:
        drift = _median(sorted(samples.in_order[half:])) / _median(sorted(samples.in_order[:half])) - 1
        if abs(drift) > target_spread:
            faults.append(f"second half {abs(drift):.0%} {'slower' if drift > 0 else 'faster'} than the first")
    outliers = sum(duration > 2 * median for duration in samples.ranked)
    if outliers:
        faults.append(f"{outliers} of {taken} samples over twice the median")
    return "not stable: " + "; ".join(faults)
