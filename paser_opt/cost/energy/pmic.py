"""Raspberry Pi 5: the power-management chip's currents and voltages, by ``vcgencmd pmic_read_adc``.

Rails are paired by name, for the indices differ; EXT5V and BATT have a voltage only. What hangs on 5 V
directly (USB, fan, HATs) is not seen. Every sample starts a process, so it is slow and disturbs what it
measures.

Shipped to boards: Python 3.6, standard library only.
"""

import re
import subprocess
from typing import Callable, Dict, Optional

from ...errors import DeviceError
from .base import Meter, PowerSampler, Reading

__all__ = ["PmicMeter", "parse_pmic"]

_INTERVAL_S = 0.1  # 50 Hz slowed a workload sixfold
_LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=([\d.]+)[AV]\s*$", re.MULTILINE)


def parse_pmic(text: str) -> Dict[str, float]:
    """Rail → watts of every rail with both a current and a voltage."""
    values = {(rail, unit): float(value) for rail, unit, value in _LINE.findall(text)}
    return {
        rail: amperes * values[rail, "V"]
        for (rail, unit), amperes in values.items()
        if unit == "A" and (rail, "V") in values
    }


def _vcgencmd() -> str:
    return subprocess.check_output(["vcgencmd", "pmic_read_adc"], stderr=subprocess.PIPE, timeout=5).decode()


class PmicMeter(Meter):
    """Joules of the board's regulated rails. ``read`` returns the text of vcgencmd."""

    name = "pmic"
    window_s = 2.0
    estimates = False

    def __init__(self, read: Callable[[], str] = _vcgencmd) -> None:
        self._read = read

    def probe(self) -> Optional[str]:
        try:
            self._rails()
        except FileNotFoundError:
            return "vcgencmd is not installed (not a Raspberry Pi)"
        except (OSError, subprocess.SubprocessError) as error:
            return f"vcgencmd pmic_read_adc failed: {error} (only a Raspberry Pi 5 has it)"
        except DeviceError as error:
            return str(error)
        return None

    def start(self) -> None:
        self._names = " + ".join(self._rails())
        self._sampler = PowerSampler(lambda: sum(self._rails().values()), _INTERVAL_S)
        self._sampler.start()

    def stop(self) -> Reading:
        joules, seconds, samples = self._sampler.stop()
        return Reading(joules, seconds, "sampled", f"pmic: {self._names}, {samples} samples")

    def _rails(self) -> Dict[str, float]:
        rails = parse_pmic(self._read())
        if not rails:
            raise DeviceError("vcgencmd pmic_read_adc names no rail with a current (only a Raspberry Pi 5 does)")
        return rails
