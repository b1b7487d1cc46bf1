"""codecarbon: time × an assumed power, for machines without any sensor.

Without a sensor it assumes a power per processor thread and a constant one for memory, so its energy carries
nothing that latency does not; the reading says so. Offline: no network. Imported only when used.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

from .base import Meter, Reading

__all__ = ["CodecarbonMeter"]


class CodecarbonMeter(Meter):
    """Estimated joules of processor, memory and GPU together."""

    name = "codecarbon"
    window_s = 2.0
    estimates = True

    def __init__(self, tracker: Any = None) -> None:
        self._given = tracker

    def probe(self) -> str | None:
        if self._given is None and importlib.util.find_spec("codecarbon") is None:
            return "codecarbon is not installed (pip install codecarbon)"
        return None

    def start(self) -> None:
        self._tracker = (self._given or _offline_tracker)()
        self._tracker.start()

    def stop(self) -> Reading:
        self._tracker.stop()
        data = self._tracker.final_emissions_data
        return Reading(
            data.energy_consumed * 3.6e6,  # kWh
            data.duration,
            "estimated",
            f"codecarbon {data.codecarbon_version}: time × assumed power (processor {data.cpu_power:.1f} W, "
            f"memory {data.ram_power:.1f} W); carries nothing that latency does not",
        )


def _offline_tracker() -> Any:
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # log_level alone is heard after the first lines
    return OfflineEmissionsTracker(
        country_iso_code="USA",  # only for its carbon figure, which is not read
        log_level="critical",
        output_methods=[],
        allow_multiple_runs=True,
    )
