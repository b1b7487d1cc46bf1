"""Energy meters, one file each. A new one is a new file and a line in SENSORS, or in METERS if it only estimates."""

from __future__ import annotations

from collections.abc import Mapping

from ...config import Device
from ...errors import ConfigError
from ...records import Energy
from .base import Meter, Reading
from .codecarbon_meter import CodecarbonMeter
from .fake import FakeMeter
from .measure import CallEnergy, EnergyBench, missing
from .sensors import SENSORS, MakeMeter, first_usable

__all__ = [
    "METERS",
    "CallEnergy",
    "EnergyBench",
    "FakeMeter",
    "Meter",
    "Reading",
    "choose",
    "missing",
    "no_energy",
    "refuse_unknown",
]

METERS: dict[str, MakeMeter] = {**SENSORS, "codecarbon": lambda rails: CodecarbonMeter()}


def choose(device: Device, meters: Mapping[str, MakeMeter] = METERS) -> Meter | str:
    """The first of ``device.meters`` that can be read here; else why none can, in one line.

    Raises ConfigError for a name that is no meter.
    """
    refuse_unknown(device, meters)
    return first_usable(device.name, device.meters, device.rails, meters)


def refuse_unknown(device: Device, meters: Mapping[str, MakeMeter] = METERS) -> None:
    """Raises ConfigError for a name among ``device.meters`` that is no meter."""
    unknown = [name for name in device.meters if name not in meters]
    if unknown:
        raise ConfigError(f"device {device.name}: no meter {unknown[0]!r}; known: {', '.join(sorted(meters))}")


def no_energy(reason: str) -> Energy:
    """Energy that could not be had, and why."""
    return Energy.model_validate(missing(reason)._asdict())
