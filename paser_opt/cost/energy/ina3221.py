"""Jetson's power monitors: INA3221 on JetPack 4, 5 and 6, INA238 on Thor. No root needed.

JetPack 5, 6 (hwmon): ``inN_input`` mV × ``currN_input`` mA. JetPack 4 (iio): ``in_powerN_input`` mW. INA238
(hwmon): ``powerN_input`` µW. Only the named rails are summed, so that none is counted twice; the carrier
board is not seen. Channels labelled NC, in4 … in6 (shunt µV) and in7 (sum of shunt voltages) are no rails.

Shipped to boards: Python 3.6, standard library only.
"""

from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, Optional, Sequence, Tuple

from .base import Meter, PowerSampler, Reading

__all__ = ["Ina3221Meter"]

_INTERVAL_S = 0.02  # a register is read over a slow bus


class Ina3221Meter(Meter):
    """Joules of the module: the sum of ``rails``. ``root`` stands for / in tests."""

    name = "ina3221"
    window_s = 2.0
    estimates = False

    def __init__(self, rails: Sequence[str], root: Path = Path("/")) -> None:
        self._rails, self._root = rails, root

    def probe(self) -> Optional[str]:
        try:
            found = self._found()
            if not found:
                return f"no INA3221 or INA238 under {self._root / 'sys'} (no Jetson, or no driver)"
            known = ", ".join(sorted(found))
            if not self._rails:
                return f"the device names no rails; add rails = [...] to its TOML; this board has {known}"
            missing = [rail for rail in self._rails if rail not in found]
            if missing:
                return f"this board has no rail {', '.join(missing)}; it has {known}: mend the device's rails"
            for rail in self._rails:
                found[rail]()
        except PermissionError as error:
            return f"{error.filename} may not be read: sudo chmod a+r {error.filename}"
        except (OSError, ValueError) as error:
            return f"a power rail cannot be read: {error}"
        return None

    def start(self) -> None:
        found = self._found()
        readers = [found[rail] for rail in self._rails]
        self._sampler = PowerSampler(lambda: sum(read() for read in readers), _INTERVAL_S)
        self._sampler.start()

    def stop(self) -> Reading:
        joules, seconds, samples = self._sampler.stop()
        return Reading(joules, seconds, "sampled", f"ina3221: {' + '.join(self._rails)}, {samples} samples")

    def _found(self) -> Dict[str, Callable[[], float]]:
        return {rail: read_w for rail, read_w in self._channels() if rail != "NC"}

    def _channels(self) -> Iterator[Tuple[str, Callable[[], float]]]:
        """(rail, reader of watts) of every channel."""
        drivers = self._root / "sys/bus/i2c/drivers"
        for label in sorted(drivers.glob("ina3221*/*/hwmon/hwmon*/in[1-3]_label")):
            number = label.name[2]
            volt, current = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
            yield _name(label), partial(_millivolt_milliampere, volt, current)
        for label in sorted(drivers.glob("ina3221x/*/iio:device*/rail_name_[0-2]")):
            yield _name(label), partial(_scaled, label.with_name(f"in_power{label.name[-1]}_input"), 1e-3)
        for power in sorted(drivers.glob("ina238/*/hwmon/hwmon*/power*_input")):
            label = power.with_name(power.name.replace("_input", "_label"))
            yield _name(label if label.exists() else power.with_name("label")), partial(_scaled, power, 1e-6)


def _name(label: Path) -> str:
    return label.read_text().strip()


def _millivolt_milliampere(volt: Path, current: Path) -> float:
    return _int(volt) * _int(current) * 1e-6


def _scaled(path: Path, unit: float) -> float:
    return _int(path) * unit


def _int(path: Path) -> int:
    return int(path.read_text())
