"""This machine as a bench: count, prepare for the runtime, time interleaved, then memory and energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from ..config import Device
from ..progress import Progress
from ..records import Entry
from . import board
from .bench import EFFORT, NOT_ASKED, energy_record, entry, latency_record
from .energy import CallEnergy, EnergyBench, choose, missing
from .exclusive import exclusive
from .flops import count
from .latency import Timing, held_back, time_interleaved
from .machine import describe_machine, local_device, synchronizer, using_threads
from .memory import measure_memory
from .runtimes import Executable, runtime_for, runtime_name
from .workload import Workload

__all__ = ["LocalBench"]


class LocalBench:
    """This machine, through the device's runtime. Raises DeviceError when ``device`` is another machine."""

    here = True

    def __init__(self, device: Device) -> None:
        self.device = device
        self.where = local_device(device)
        self.runtime = runtime_for(device, self.where)
        self.machine = describe_machine(device, self.where, runtime=runtime_name(device, self.where))

    def measure(
        self, workloads: Sequence[Workload], *, known: Mapping[str, Entry], progress: Progress, energy: bool
    ) -> Iterator[Entry]:
        """Latencies are interleaved with each other; then come memory and energy, one after another."""
        synchronize = synchronizer(self.where)
        with exclusive(None, progress), using_threads(self.device.threads), torch.inference_mode():
            progress.stage("count operations", len(workloads))
            counts = []
            for done, load in enumerate(workloads, start=1):
                counts.append(count(load.module.to(self.where).eval(), self._inputs(load)))
                progress.advance(done, load.key)
            calls = self._prepare(workloads, progress)
            progress.stage("latency", len(workloads))
            timings = time_interleaved(calls, synchronize=synchronize, on_done=progress.advance, **EFFORT._asdict())
            throttling = board.throttling()
            timings = [held_back(timing, throttling) for timing in timings]
            progress.stage("memory and energy", len(workloads))
            measure_energy = self._energy(synchronize, known) if energy else partial(_without, NOT_ASKED)
            for done, (load, counted, call, timing) in enumerate(
                zip(workloads, counts, calls, timings, strict=True), start=1
            ):
                spent = energy_record(measure_energy(call, timing))
                memory = measure_memory(call, load.module, self.where, runtime=self.machine.runtime)
                yield entry(load, counted, latency_record(timing), spent, memory)
                progress.advance(done, load.key)

    def _inputs(self, load: Workload) -> tuple[Tensor, ...]:
        return tuple(x.to(self.where) for x in load.inputs)

    def _prepare(self, workloads: Sequence[Workload], progress: Progress) -> list[Callable[[], object]]:
        """Each workload as a call through the runtime; a module is prepared once for all its inputs."""
        examples: dict[int, list[tuple[Tensor, ...]]] = {}
        for load in workloads:
            examples.setdefault(id(load.module), []).append(self._inputs(load))
        progress.stage(f"prepare for {self.machine.runtime}", len(workloads))
        ready: dict[int, Executable] = {}
        calls: list[Callable[[], object]] = []
        for done, load in enumerate(workloads, start=1):
            known = id(load.module)
            if known not in ready:
                ready[known] = self.runtime(load.module, examples[known])
            calls.append(partial(ready[known], *self._inputs(load)))
            progress.advance(done, load.key)
        return calls

    def _energy(
        self, synchronize: Callable[[], object], known: Mapping[str, Entry]
    ) -> Callable[[Callable[[], object], Timing], CallEnergy]:
        meter = choose(self.device)
        if isinstance(meter, str):
            return partial(_without, meter)
        return EnergyBench(meter, synchronize=synchronize, estimated_w=_estimated_w(known)).measure


def _without(reason: str, call: Callable[[], object], timing: Timing) -> CallEnergy:
    return missing(reason)


def _estimated_w(entries: Mapping[str, Entry]) -> tuple[float, str] | None:
    """The power an earlier session assumed: one profile must not hold two."""
    for one in entries.values():
        if one.energy.how == "estimated" and one.energy.gross_j is not None:
            return one.energy.gross_j / one.latency.median_s, one.energy.source
    return None
