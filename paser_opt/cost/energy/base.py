"""What every energy meter is, and the sampling that those without a counter share.

Shipped to boards: Python 3.6, standard library only.
"""

import threading
import time
from abc import ABC, abstractmethod
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import DeviceError

__all__ = ["Meter", "PowerSampler", "Reading", "trapezoid"]


class Reading(NamedTuple):
    """Energy between start() and stop(). ``how``: "counter", "sampled" or "estimated"; ``source`` names the meter and
    the sensors it summed."""

    joules: float
    seconds: float
    how: str
    source: str


class Meter(ABC):
    """start(), the work, stop(). One window at a time; raises DeviceError when the sensor fails midway."""

    name: str
    window_s: float  # the shortest window in which the sensor's tick or sampling is a small error
    estimates: bool  # True: assumes a power instead of sensing one

    @abstractmethod
    def probe(self) -> Optional[str]:
        """None: usable here; otherwise why not, in plain words. Tries a reading, not only the library."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> Reading: ...


def trapezoid(times_s: Sequence[float], watts: Sequence[float]) -> float:
    """Joules under power samples at rising times."""
    points = list(zip(times_s, watts))
    return sum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in zip(points, points[1:]))


class PowerSampler:
    """Samples a power sensor in a thread and integrates; both ends of the window are samples."""

    def __init__(self, read_w: Callable[[], float], interval_s: float) -> None:
        self._read_w, self._interval_s = read_w, interval_s
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        self._times: List[float] = []
        self._watts: List[float] = []
        self._error: Optional[Exception] = None
        self._stopping = threading.Event()
        self._sample()
        self._thread = threading.Thread(target=self._run, name="power sampler", daemon=True)
        self._thread.start()

    def stop(self) -> Tuple[float, float, int]:
        """(joules, seconds, samples). Raises DeviceError if the sensor failed meanwhile."""
        assert self._thread is not None, "stop() before start()"
        self._stopping.set()
        self._thread.join()
        self._thread = None
        self._sample()
        if self._error:
            raise DeviceError(f"the power sensor failed while sampling: {self._error}")
        return trapezoid(self._times, self._watts), self._times[-1] - self._times[0], len(self._times)

    def _sample(self) -> None:
        try:
            watts = self._read_w()
        except Exception as error:  # whatever the sensor raises must reach stop(), not die in the thread
            self._error = error
        else:
            self._times.append(time.monotonic())
            self._watts.append(watts)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._sample()
