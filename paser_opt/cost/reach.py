"""Which devices can be measured from here: on this machine, or over ssh."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ..config import Device
from ..errors import DeviceError
from .energy import choose
from .machine import local_device
from .remote import RemoteBench
from .ssh import Limits

__all__ = ["Reached", "reach"]

_LIMITS = Limits(connect_s=5, silence_s=20.0)


class Reached(NamedTuple):
    """One device as seen from here. ``here`` says what it is measured through, and is empty where it cannot be;
    ``energy`` is the meter it would use, or why it has none or cannot be reached."""

    name: str
    kind: str
    host: str | None
    here: str
    energy: str
    about: str


def reach(devices: Sequence[Device]) -> list[Reached]:
    """Look at every one of ``devices``; those over ssh are asked at the same time, and not waited for long."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(_look, devices))


def _look(device: Device) -> Reached:
    try:
        if device.host:
            bench = RemoteBench(device, limits=_LIMITS)
            here, energy = f"{bench.machine.runtime} over ssh", bench.meter
        else:
            here, meter = str(local_device(device)), choose(device)
            energy = meter if isinstance(meter, str) else meter.name
    except DeviceError as error:
        here, energy = "", str(error)
    return Reached(device.name, device.kind, device.host, here, energy, device.description)
