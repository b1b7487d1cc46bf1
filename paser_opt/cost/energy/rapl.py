"""RAPL: the energy counters of x86 processors (Linux powercap, documented in the kernel's power/powercap).

The sum of the ``package-*`` zones. ``psys`` contains the packages, ``core``, ``uncore`` and ``dram`` are
parts or neighbours of one, and intel-rapl-mmio shows the same package again: all left out. One wrap of a
counter in a window is handled, so a window must be shorter than the wrap (262 kJ; at 150 W 29 minutes).

Shipped to boards: Python 3.6, standard library only.
"""

import re
import time
from pathlib import Path
from typing import Dict, List, Optional

from ...errors import DeviceError
from .base import Meter, Reading

__all__ = ["RaplMeter"]

_MIRROR_UJ = 1_000_000  # two reads of one counter, milliseconds apart, differ by less than a joule


class RaplMeter(Meter):
    """Joules of all processor packages, memory and accelerators excluded."""

    name = "rapl"
    window_s = 0.5
    estimates = False

    def __init__(self, root: Path = Path("/sys/class/powercap")) -> None:
        self._root = root

    def probe(self) -> Optional[str]:
        if not self._root.is_dir():
            return f"{self._root} is not there (no RAPL: not x86 Linux, or a virtual machine)"
        try:
            return None if self._zones() else f"{self._root} lists no package-* zone (a virtual machine hides them)"
        except PermissionError as error:
            return (
                f"{error.filename} is readable by root only (CVE-2020-8694): "
                f"sudo chmod a+r {self._root}/intel-rapl:*/energy_uj, until the next boot"
            )
        except (OSError, ValueError) as error:
            return f"a RAPL counter cannot be read: {error}"

    def start(self) -> None:
        self._before = {zone: _read(zone / "energy_uj") for zone in self._zones()}
        self._start_s = time.monotonic()

    def stop(self) -> Reading:
        try:
            used = sum(_used(zone, before) for zone, before in self._before.items())
        except (OSError, ValueError) as error:
            raise DeviceError(f"a RAPL counter went away while measuring: {error}") from None
        seconds = time.monotonic() - self._start_s
        names = " + ".join(_name(zone) for zone in self._before)
        return Reading(used / 1e6, seconds, "counter", f"rapl: {names}")

    def _zones(self) -> List[Path]:
        """Package zones; of dies that mirror one package's counter only the first."""
        found: Dict[Path, int] = {}
        for zone in sorted(self._root.glob("intel-rapl:*")):
            if not re.fullmatch(r"intel-rapl:\d+", zone.name) or not _name(zone).startswith("package-"):
                continue
            value = _read(zone / "energy_uj")
            package, _, die = _name(zone).partition("-die-")
            mirrors = die and any(
                _name(other).startswith(f"{package}-die-") and abs(value - seen) < _MIRROR_UJ
                for other, seen in found.items()
            )
            if not mirrors:
                found[zone] = value
        return list(found)


def _read(path: Path) -> int:
    return int(path.read_text())


def _name(zone: Path) -> str:
    return (zone / "name").read_text().strip()


def _used(zone: Path, before: int) -> int:
    """µJ since ``before``, one wrap allowed."""
    used = _read(zone / "energy_uj") - before
    return used if used >= 0 else used + _read(zone / "max_energy_range_uj")
