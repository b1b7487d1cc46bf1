"""Windows, baselines and estimates on a clock that only the work moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paser_opt.cost.energy import EnergyBench, FakeMeter, no_energy
from paser_opt.cost.latency import Timing

TIMING = Timing(median_s=0.01, p95_s=None, low_s=0.01, high_s=0.01, samples=9, stable=True, verdict="stable")


class Load:
    """A machine that draws ``busy_w`` while called (10 ms a call) and ``idle_w`` while asleep, half a second after the
    last call; until then still 8 W."""

    def __init__(self, busy_w: Callable[[int], float], idle_w: Callable[[int], float] = lambda n: 2.0) -> None:
        self.now_s, self.settled_s, self.joules, self.calls, self.idles = 0.0, 0.0, 0.0, 0, 0
        self._busy_w, self._idle_w = busy_w, idle_w
        self.meter = FakeMeter(window_s=0.1, clock=lambda: self.now_s)

    def call(self) -> None:
        self.meter.watts = self._busy_w(self.calls // 10)  # by window: 0.1 s holds ten calls
        self.calls += 1
        self.now_s += 0.01
        self.settled_s = self.now_s + 0.5

    def sleep(self, seconds: float) -> None:
        if seconds == self.meter.window_s:
            self.meter.watts = self._idle_w(self.idles) if self.now_s >= self.settled_s else 8.0
            self.idles += 1
        self.now_s += seconds

    def bench(self) -> EnergyBench:
        return EnergyBench(self.meter, synchronize=lambda: None, sleep=self.sleep)


def test_gross_and_net_of_a_steady_load() -> None:
    load = Load(lambda window: 12.0)
    energy = load.bench().measure(load.call, TIMING)
    assert energy.gross_j == pytest.approx(12 * 0.01)
    assert energy.net_j == pytest.approx((12 - 2) * 0.01)
    assert energy.idle_w == pytest.approx(2.0)
    assert (energy.how, energy.samples, energy.stable, energy.reason) == ("counter", 3, True, None)
    assert load.calls == 30  # three windows of at least 0.1 s


def test_idle_after_one_call_is_idle_before_the_next() -> None:
    load = Load(lambda window: 12.0)
    bench = load.bench()
    bench.measure(load.call, TIMING)
    bench.measure(load.call, TIMING)
    assert load.idles == 3


def test_windows_that_disagree_are_said_to_be_unstable() -> None:
    load = Load(lambda window: 5.0 if window % 2 else 15.0)
    energy = load.bench().measure(load.call, TIMING)
    # four of 1.5 J, four of 0.5 J: mean 1 J, deviation 0.5345; 2.365 · 0.5345 / √8 = 0.447
    assert energy.samples == 8
    assert energy.gross_j == pytest.approx(0.1)
    assert not energy.stable
    assert energy.reason == "not stable: mean of 8 windows known only to ±44.7%"


def test_idle_that_moves_is_no_baseline() -> None:
    load = Load(lambda window: 12.0, idle_w=lambda n: (2.0, 3.0)[n])
    energy = load.bench().measure(load.call, TIMING)
    assert energy.idle_w == pytest.approx(2.5)
    assert energy.reason == "not stable: idle power went from 2.00 W to 3.00 W"


def test_a_load_below_idle_has_no_net_energy() -> None:
    load = Load(lambda window: 2.0)
    energy = load.bench().measure(load.call, TIMING)
    assert energy.gross_j == pytest.approx(0.02)
    assert (energy.net_j, energy.reason) == (None, "net energy is missing: the load cannot be told from idle")


def test_a_counter_that_stands_still_is_missing_and_not_zero() -> None:
    load = Load(lambda window: 0.0, idle_w=lambda n: 0.0)
    energy = load.bench().measure(load.call, TIMING)
    assert (energy.gross_j, energy.how) == (None, None)
    assert energy.reason == "fake: 0 W did not move in 0.1 s of work"


def test_an_estimate_is_asked_for_once_and_says_what_it_is_worth() -> None:
    load = Load(lambda window: 24.0)
    meter = FakeMeter(24.0, how="estimated", window_s=0.1, clock=lambda: load.now_s)
    bench = EnergyBench(meter, synchronize=lambda: None)
    first = bench.measure(load.call, TIMING)
    second = bench.measure(load.call, TIMING._replace(median_s=0.02))
    assert load.calls == 10 and load.idles == 0
    assert (first.gross_j, second.gross_j) == (pytest.approx(0.24), pytest.approx(0.48))
    assert (first.net_j, first.idle_w, first.how) == (None, None, "estimated")
    assert first.reason == "latency × 24.0 W assumed; no idle baseline, so no net energy"


def test_an_estimate_of_an_earlier_session_is_kept() -> None:
    bench = EnergyBench(FakeMeter(how="estimated"), synchronize=lambda: None, estimated_w=(5.0, "codecarbon"))
    energy = bench.measure(lambda: pytest.fail("nothing to run"), TIMING)
    assert (energy.gross_j, energy.source) == (pytest.approx(0.05), "codecarbon")


def test_no_energy_gives_its_reason() -> None:
    energy = no_energy("no sensor")
    assert (energy.gross_j, energy.net_j, energy.how, energy.reason) == (None, None, None, "no sensor")
