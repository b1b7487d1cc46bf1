"""The meters that read a sensor, and the choice among those a device names.

Shipped to boards: Python 3.6, standard library only.
"""

from typing import Callable, Dict, Mapping, Sequence, Union

from .base import Meter
from .ina3221 import Ina3221Meter
from .nvml import NvmlMeter, torch_gpu
from .pmic import PmicMeter
from .rapl import RaplMeter

__all__ = ["SENSORS", "MakeMeter", "first_usable"]

MakeMeter = Callable[[Sequence[str]], Meter]
"""A device's rails → the meter; only ``ina3221`` heeds them."""

SENSORS: Dict[str, MakeMeter] = {
    "nvml": lambda rails: NvmlMeter(torch_gpu()),
    "rapl": lambda rails: RaplMeter(),
    "ina3221": Ina3221Meter,
    "pmic": lambda rails: PmicMeter(),
}


def first_usable(
    device: str, names: Sequence[str], rails: Sequence[str], meters: Mapping[str, MakeMeter]
) -> Union[Meter, str]:
    """The first meter of ``names`` that can be read here; else why none can, in one line."""
    if not names:
        return f"{device} has no power sensor that software can read"
    reasons = []
    for name in names:
        if name not in meters:
            reasons.append(f"{name}: works only where paser-opt itself runs")
            continue
        meter = meters[name](rails)
        reason = meter.probe()
        if reason is None:
            return meter
        reasons.append(f"{name}: {reason}")
    return "; ".join(reasons)
