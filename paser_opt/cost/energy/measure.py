"""Energy of one call from a meter's windows: gross, and net of the idle power before and after.

Shipped to boards: Python 3.6, standard library only.
"""

import math
import statistics
import time
from typing import Callable, List, NamedTuple, Optional, Tuple

from ..latency import Timing
from .base import Meter, Reading

__all__ = ["CallEnergy", "EnergyBench", "missing"]

# Two-sided 95 % quantiles of Student's t with 2 … 7 degrees of freedom, for 3 … 8 windows.
_STUDENT_T = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
_SETTLE_S = 0.5  # clocks and averaging sensors take so long to come down after work
_IDLE_CHANGE = 0.1  # idle power that moves by more than this over a measurement is not a baseline


class CallEnergy(NamedTuple):
    """Energy of one call, joules: what :class:`~paser_opt.records.Energy` keeps."""

    gross_j: Optional[float]
    spread: Optional[float]
    net_j: Optional[float]
    idle_w: Optional[float]
    how: Optional[str]
    source: str
    samples: int
    stable: bool
    reason: Optional[str]


def missing(reason: str) -> CallEnergy:
    """Energy that could not be had, and why."""
    return CallEnergy(None, None, None, None, None, "none", 0, False, reason)


class EnergyBench:
    """Measures calls one after another with one meter; the idle power after one call is the one before the
    next.

    Sensors: windows of repeated calls, each at least the meter's ``window_s``, from 3 up to 8 until the
    half-width of their mean's 95 % interval is under ``target_spread``. Estimates: the assumed power is
    asked for once, under load, and multiplied by latency (``estimated_w`` gives one from an earlier
    session); windows would add nothing.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        synchronize: Callable[[], object],
        target_spread: float = 0.05,
        estimated_w: Optional[Tuple[float, str]] = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._meter, self._synchronize, self._sleep = meter, synchronize, sleep
        self._target_spread = target_spread
        self._estimated_w = estimated_w
        self._idle_before_w: Optional[float] = None

    def measure(self, call: Callable[[], object], timing: Timing) -> CallEnergy:
        """Energy of one ``call``, timed before. Raises DeviceError when the sensor fails midway."""
        calls = max(1, math.ceil(self._meter.window_s / timing.median_s))
        if not self._meter.estimates:
            return self._sensed(call, calls)
        if self._estimated_w is None:
            reading = self._window(call, calls)
            self._estimated_w = (reading.joules / reading.seconds, reading.source)
        watts, source = self._estimated_w
        return CallEnergy(
            gross_j=watts * timing.median_s,
            spread=None,
            net_j=None,
            idle_w=None,
            how="estimated",
            source=source,
            samples=1,
            stable=timing.stable,
            reason=f"latency × {watts:.1f} W assumed; no idle baseline, so no net energy",
        )

    def _sensed(self, call: Callable[[], object], calls: int) -> CallEnergy:
        before_w = self._idle_before_w if self._idle_before_w is not None else self._idle_w()
        windows: List[Reading] = []
        while len(windows) < 3 or (len(windows) < 8 and _spread(windows) > self._target_spread):
            windows.append(self._window(call, calls))
        first = windows[0]
        self._idle_before_w = after_w = self._idle_w()
        if min(window.joules for window in windows) <= 0:
            return missing(f"{first.source} did not move in {first.seconds:.1f} s of work")
        idle_w = (before_w + after_w) / 2
        gross_j = statistics.mean(window.joules for window in windows) / calls
        net_j = gross_j - idle_w * statistics.mean(window.seconds for window in windows) / calls
        spread = _spread(windows)
        faults = []
        if spread > self._target_spread:
            faults.append(f"not stable: mean of {len(windows)} windows known only to ±{spread:.1%}")
        if abs(after_w - before_w) > _IDLE_CHANGE * idle_w:
            faults.append(f"not stable: idle power went from {before_w:.2f} W to {after_w:.2f} W")
        if net_j <= 0:
            faults.append("net energy is missing: the load cannot be told from idle")
        return CallEnergy(
            gross_j=gross_j,
            spread=spread,
            net_j=net_j if net_j > 0 else None,
            idle_w=idle_w,
            how=first.how,
            source=first.source,
            samples=len(windows),
            stable=not any(fault.startswith("not stable") for fault in faults),
            reason="; ".join(faults) or None,
        )

    def _window(self, call: Callable[[], object], calls: int) -> Reading:
        self._synchronize()
        self._meter.start()
        for _ in range(calls):
            call()
        self._synchronize()
        return self._meter.stop()

    def _idle_w(self) -> float:
        self._synchronize()
        self._sleep(_SETTLE_S)
        self._meter.start()
        self._sleep(self._meter.window_s)
        idle = self._meter.stop()
        return idle.joules / idle.seconds


def _spread(windows: List[Reading]) -> float:
    """Half-width of the mean's 95 % interval, relative to the mean."""
    joules = [window.joules for window in windows]
    mean = statistics.mean(joules)
    if mean <= 0:
        return math.inf
    return _STUDENT_T[len(joules)] * statistics.stdev(joules) / math.sqrt(len(joules)) / mean
