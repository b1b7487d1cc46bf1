"""NVML: NVIDIA GPUs, by the total-energy counter (Volta and newer), else by sampled power.

A100 and H100 sample their sensor only part of the time, so a window is at least 5 s (arXiv 2312.02741). On
Jetson NVML initialises but answers NotSupported to every power query: the reading is probed, not the library.

Shipped to boards: Python 3.6, standard library only.
"""

import contextlib
import sys
import time
from typing import Any, Optional

from ...errors import DeviceError
from .base import Meter, PowerSampler, Reading

__all__ = ["NvmlMeter", "torch_gpu"]


class NvmlMeter(Meter):
    """Joules of one GPU's board. ``library``: pynvml or a stand-in; ``uuid`` None: the first GPU."""

    name = "nvml"
    window_s = 5.0
    estimates = False

    def __init__(self, uuid: Optional[str] = None, library: Any = None) -> None:
        self._uuid, self._library = uuid, library
        self._opened: Any = None
        self._sampler: Optional[PowerSampler] = None

    def probe(self) -> Optional[str]:
        try:
            self._open()
        except ImportError:
            return "nvidia-ml-py is not installed (pip install nvidia-ml-py)"
        except self._library.NVMLError as error:
            return f"NVML finds no usable GPU: {error}"
        reasons = []
        for read in (self._energy_mj, self._power_w):
            try:
                read()
                return None
            except self._library.NVMLError as error:
                reasons.append(str(error))
        return f"NVML answers neither energy nor power of this GPU: {'; '.join(dict.fromkeys(reasons))}"

    def start(self) -> None:
        self._open()
        try:
            self._start_mj = self._energy_mj()
            self._sampler = None
        except self._library.NVMLError:
            self._sampler = PowerSampler(self._power_w, interval_s=0.05)
            self._sampler.start()
        self._start_s = time.monotonic()

    def stop(self) -> Reading:
        if self._sampler:
            joules, seconds, samples = self._sampler.stop()
            return Reading(joules, seconds, "sampled", f"nvml: {self._gpu()}, board power, {samples} samples")
        try:
            joules = (self._energy_mj() - self._start_mj) / 1e3
        except self._library.NVMLError as error:
            raise DeviceError(f"the GPU's energy counter failed while measuring: {error}") from None
        return Reading(joules, time.monotonic() - self._start_s, "counter", f"nvml: {self._gpu()}, total energy")

    def _open(self) -> None:
        if self._opened is not None:
            return
        if self._library is None:
            import pynvml

            self._library = pynvml
        self._library.nvmlInit()
        self._opened = (
            self._library.nvmlDeviceGetHandleByUUID(self._uuid)
            if self._uuid
            else self._library.nvmlDeviceGetHandleByIndex(0)
        )

    def _gpu(self) -> str:
        return str(self._library.nvmlDeviceGetName(self._opened))

    def _energy_mj(self) -> int:
        return int(self._library.nvmlDeviceGetTotalEnergyConsumption(self._opened))

    def _power_w(self) -> float:
        """Instant power (field 186) where there is one; GetPowerUsage is a one-second mean on Ampere."""
        library = self._library
        with contextlib.suppress(library.NVMLError):
            field = library.nvmlDeviceGetFieldValues(self._opened, [library.NVML_FI_DEV_POWER_INSTANT])[0]
            if field.nvmlReturn == library.NVML_SUCCESS:
                return float(field.value.uiVal) / 1e3
        return float(library.nvmlDeviceGetPowerUsage(self._opened)) / 1e3


def torch_gpu() -> Optional[str]:
    """NVML's name of the GPU that torch calls cuda:0, which need not be NVML's first; None where torch is not in use
    or too old to say."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    return f"GPU-{uuid}" if uuid else None
