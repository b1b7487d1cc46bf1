"""A fake clock drives the rounds; order statistics are worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paser_opt.cost.latency import Timing, median_ranks, time_interleaved

WARM_UP = 2


class FakeTime:
    """Calls that take given numbers of nanoseconds, the last one for ever."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.log: list[str] = []
        self.synchronised = 0

    def clock(self) -> int:
        return self.now_ns

    def synchronize(self) -> None:
        self.synchronised += 1

    def call(self, name: str, *durations_ns: int) -> Callable[[], None]:
        left = list(durations_ns)

        def run() -> None:
            self.log.append(name)
            warm = self.log.count(name) <= WARM_UP
            self.now_ns += 10**9 if warm else left.pop(0) if len(left) > 1 else left[0]

        return run


def timed(time: FakeTime, *calls: Callable[[], None], **knobs: float) -> list[Timing]:
    settings = {"min_samples": 6, "max_samples": 100, "target_spread": 0.03, "max_seconds": 1.0} | knobs
    return time_interleaved(calls, synchronize=time.synchronize, clock=time.clock, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("samples", "ranks"),
    [
        # 1-based r = largest with P(B ≤ r − 1) ≤ 0.025: tables of the sign test
        (5, (0, 4)),  # 2 / 32 > 0.05: the extremes, though they hold only 93.75 %
        (6, (0, 5)),
        (9, (1, 7)),  # (1 + 9) / 512 = 0.0195; with C(9, 2) = 36 more, 0.09
        (10, (1, 8)),  # (1 + 10) / 1024 = 0.0107
        (20, (5, 14)),  # P(B ≤ 5) = 0.0207, P(B ≤ 6) = 0.0577
        (100, (39, 60)),  # P(B ≤ 39) = 0.0176, P(B ≤ 40) = 0.0284
    ],
)
def test_median_ranks(samples: int, ranks: tuple[int, int]) -> None:
    assert median_ranks(samples) == ranks


def test_rounds_are_interleaved_and_warm_up_is_not_counted() -> None:
    time = FakeTime()
    a, b = timed(time, time.call("A", 1_000_000), time.call("B", 2_000_000))
    assert "".join(time.log) == "AB" * (WARM_UP + 6)
    assert (a.median_s, b.median_s) == (0.001, 0.002)
    assert (a.low_s, a.high_s, a.samples, a.p95_s) == (0.001, 0.001, 6, None)
    assert a.stable
    assert a.verdict == "stable: median known to ±0.0% after 6 samples"
    assert time.synchronised == 2 * 2 * 6


def test_a_stable_call_leaves_and_the_noisy_one_goes_on() -> None:
    time, done = FakeTime(), []
    noisy = time.call("N", *[1_000_000, 2_000_000] * 10)
    steady, swinging = timed(time, time.call("S", 1_000_000), noisy, max_samples=20, on_done=done.append)
    assert (steady.samples, swinging.samples) == (6, 20)
    # ten of 1 ms, ten of 2 ms: median 1.5, interval from the 6th to the 15th
    assert (swinging.median_s, swinging.low_s, swinging.high_s) == (0.0015, 0.001, 0.002)
    assert not swinging.stable
    assert "median known only to ±33.3%, wanted ±3.0%" in swinging.verdict
    assert done[5] == 1 and done[-1] == 2


def test_drift_and_outliers_are_said_in_words() -> None:
    time = FakeTime()
    drifting = time.call("D", *[1_000_000] * 10, *[1_500_000] * 10)
    (latency,) = timed(time, drifting, max_samples=20, min_samples=20)
    assert "second half 50% slower than the first" in latency.verdict
    time = FakeTime()
    spiky = time.call("O", *[1_000_000, 1_000_000, 5_000_000, 1_100_000] * 5)
    (latency,) = timed(time, spiky, max_samples=20, min_samples=20, target_spread=0.01)
    assert "5 of 20 samples over twice the median" in latency.verdict


def test_time_running_out_still_gives_an_interval() -> None:
    time = FakeTime()
    (latency,) = timed(time, time.call("L", *range(10**9, 2 * 10**9, 10**8)), min_samples=50, max_seconds=1.0)
    assert latency.samples == 6
    assert (latency.low_s, latency.median_s, latency.high_s) == (1.0, 1.25, 1.5)
    assert "too few samples (6 of 50)" in latency.verdict


def test_p95_needs_ninety_samples() -> None:
    time = FakeTime()
    (latency,) = timed(time, time.call("P", *range(1000, 1100)), min_samples=100)
    assert latency.samples == 100
    assert latency.p95_s == pytest.approx(1094e-9)  # the 95th of 100
    time = FakeTime()
    (latency,) = timed(time, time.call("P", 1000), min_samples=89)
    assert latency.p95_s is None


def test_a_slow_call_leaves_once_stable_and_enough() -> None:
    time = FakeTime()
    slow = time.call("S", 100_000_000)
    noisy = time.call("N", *[100_000_000, 130_000_000] * 30)
    steady, swinging = timed(time, slow, noisy, min_samples=90, enough_seconds=0.75, max_seconds=2.0)
    assert (steady.samples, steady.stable, steady.p95_s) == (8, True, None)
    assert (swinging.samples, swinging.stable) == (18, False)  # 18 · 0.115 = 2.07 s
