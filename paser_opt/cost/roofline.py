"""A data sheet as a bench: what the device could do at best, for one that is not there. Everything is estimated.

latency = max(2·MACs / peak FLOP/s, bytes moved / memory bandwidth), the roofline (Williams, Waterman & Patterson,
CACM 52(4), 2009), in fp32. Real latencies are longer, small layers' many times; only what stays in a cache, or is
computed with fewer multiplications (Winograd), can be faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from ..config import Device
from ..errors import DeviceError
from ..progress import Progress
from ..records import Energy, Entry, Latency, Machine, Memory
from .bench import NOT_ASKED, entry
from .energy import no_energy
from .flops import Counted, count
from .memory import weight_bytes
from .workload import Workload

__all__ = ["RooflineBench"]

_BYTES = 4
_WORDS = "estimated: the roofline of the data sheet, as if every layer ran at its peak; not measured"


class RooflineBench:
    """The figures of ``device``'s TOML. Raises DeviceError when they are not in it."""

    here = False

    def __init__(self, device: Device) -> None:
        if device.precision != "fp32":
            raise DeviceError(f"an estimate is of fp32, as its peak is: leave --precision {device.precision} out")
        missing = [name for name in ("peak_flops_per_s", "memory_bytes_per_s") if getattr(device, name) is None]
        if not (device.peak_flops_per_s and device.memory_bytes_per_s):
            raise DeviceError(
                f"device {device.name}: an estimate needs {' and '.join(missing)} in its TOML, "
                "each as { value = …, source = … }"
            )
        self.device, self.where = device, torch.device("cpu")
        self.flops_per_s, self.bytes_per_s = device.peak_flops_per_s.value, device.memory_bytes_per_s.value
        self.machine = Machine(
            device=device.name,
            system="none: estimated",
            processor=device.description or device.name,
            cores=None,
            threads=None,
            runtime="roofline",
            precision=device.precision,
            state={"peak_flops_per_s": device.peak_flops_per_s.source,
                   "memory_bytes_per_s": device.memory_bytes_per_s.source},
        )  # fmt: skip

    def measure(
        self, workloads: Sequence[Workload], *, known: Mapping[str, Entry], progress: Progress, energy: bool
    ) -> Iterator[Entry]:
        """Every workload is run once here to be counted; its cost is arithmetic."""
        progress.stage("estimate", len(workloads))
        for done, load in enumerate(workloads, start=1):
            counted = count(load.module.eval(), load.inputs)
            latency_s = max(2 * counted.macs / self.flops_per_s, self._bytes(load, counted) / self.bytes_per_s)
            latency = Latency(how="estimated", median_s=latency_s, low_s=latency_s, high_s=latency_s, samples=0,
                              stable=False, verdict=_WORDS)  # fmt: skip
            memory = Memory(peak_bytes=None, weight_bytes=weight_bytes(load.module), how="counted", source="none",
                            reason="a roofline says nothing of memory")  # fmt: skip
            yield entry(load, counted, latency, self._energy(latency_s) if energy else no_energy(NOT_ASKED), memory)
            progress.advance(done, load.key)

    def _bytes(self, load: Workload, counted: Counted) -> int:
        """Every convolution reads its input and weights and writes its output; other steps write theirs. What they read
        of their inputs is not known: policies skip most of it."""
        if counted.work:
            return _BYTES * (counted.work.activations[0] + counted.work.weights)
        with torch.inference_mode():
            outputs = load.module(*load.inputs)
        return sum(one.nbytes for one in (outputs if isinstance(outputs, tuple) else (outputs,)))

    def _energy(self, latency_s: float) -> Energy:
        power = self.device.max_power_w
        if power is None:
            return no_energy(f"device {self.device.name} has no max_power_w in its TOML to estimate from")
        return Energy(gross_j=power.value * latency_s, net_j=None, how="estimated", source=power.source,
                      reason=f"estimated latency × {power.value:g} W")  # fmt: skip
