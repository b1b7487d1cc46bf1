"""Energy meters, one file each. A new one is a new file and a line in METERS."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ...config import Device
from ...errors import ConfigError
from .base import Meter, Reading
from .codecarbon_meter import CodecarbonMeter
from .fake import FakeMeter
from .ina3221 import Ina3221Meter
from .measure import EnergyBench, no_energy
from .nvml import NvmlMeter
from .pmic import PmicMeter
from .rapl import RaplMeter

__all__ = ["METERS", "EnergyBench", "FakeMeter", "Meter", "Reading", "choose", "no_energy"]

METERS: dict[str, Callable[[Device], Meter]] = {
    "nvml": lambda device: NvmlMeter(uuid=_gpu_uuid()),
    "rapl": lambda device: RaplMeter(),
    "ina3221": lambda device: Ina3221Meter(device.rails),
    "pmic": lambda device: PmicMeter(),
    "codecarbon": lambda device: CodecarbonMeter(),
}


def choose(device: Device, meters: Mapping[str, Callable[[Device], Meter]] = METERS) -> Meter | str:
    """The first of ``device.meters`` that can be read here; else why none can, in one line.

    Raises ConfigError for a name that is no meter.
    """
    unknown = [name for name in device.meters if name not in meters]
    if unknown:
        raise ConfigError(f"device {device.name}: no meter {unknown[0]!r}; known: {', '.join(sorted(meters))}")
    if not device.meters:
        return f"{device.name} has no power sensor that software can read"
    reasons = []
    for name in device.meters:
        meter = meters[name](device)
        reason = meter.probe()
        if reason is None:
            return meter
        reasons.append(f"{name}: {reason}")
    return "; ".join(reasons)


def _gpu_uuid() -> str | None:
    """Of the GPU torch calls cuda:0, which need not be NVML's first."""
    if not torch.cuda.is_available():
        return None
    return f"GPU-{torch.cuda.get_device_properties(0).uuid}"
