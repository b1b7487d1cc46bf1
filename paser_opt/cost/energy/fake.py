"""A meter for tests: a load of constant power."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from .base import Meter, Reading

__all__ = ["FakeMeter"]


class FakeMeter(Meter):
    """``watts`` × the clock's time. ``reason`` makes it unusable; ``clock`` returns seconds."""

    name = "fake"

    def __init__(
        self,
        watts: float = 1.0,
        *,
        how: Literal["counter", "sampled", "estimated"] = "counter",
        window_s: float = 0.01,
        reason: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watts, self.how, self.window_s = watts, how, window_s
        self.estimates = how == "estimated"
        self._reason, self._clock = reason, clock

    def probe(self) -> str | None:
        return self._reason

    def start(self) -> None:
        self._start_s = self._clock()

    def stop(self) -> Reading:
        seconds = self._clock() - self._start_s
        return Reading(self.watts * seconds, seconds, self.how, f"fake: {self.watts:g} W")
