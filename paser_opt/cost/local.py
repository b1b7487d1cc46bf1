"""This machine as a bench: count, prepare for the runtime, time interleaved, then memory and energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from ..config import Device
from ..progress import Progress
from ..records import Energy, Entry, Latency
from .bench import NOT_ASKED
from .energy import EnergyBench, choose, no_energy
from .flops import count
from .latency import time_interleaved
from .machine import describe_machine, local_device, synchronizer, using_threads
from .memory import measure_memory
from .runtimes import Executable, runtime_for
from .workload import Workload

__all__ = ["LocalBench"]

_MIN_SAMPLES = 90  # the fewest that carry a 95th percentile
_MAX_SAMPLES = 400
_TARGET_SPREAD = 0.03
_MAX_SECONDS = 0.5  # of one workload's samples; forty small workloads stay within 25 s


class LocalBench:
    """This machine, through the device's runtime. Raises DeviceError when ``device`` is another machine."""

    here = True

    def __init__(self, device: Device) -> None:
        self.device = device
        self.where = local_device(device)
        self.machine = describe_machine(device, self.where)
        self.runtime = runtime_for(device, self.where)

    def measure(
        self, workloads: Sequence[Workload], *, known: Mapping[str, Entry], progress: Progress, energy: bool
    ) -> Iterator[Entry]:
        """Latencies are interleaved with each other; then come memory and energy, one after another."""
        synchronize = synchronizer(self.where)
        with using_threads(self.machine.threads), torch.inference_mode():
            progress.stage("count operations", len(workloads))
            counts = []
            for done, load in enumerate(workloads, start=1):
                counts.append(count(load.module.to(self.where).eval(), self._inputs(load)))
                progress.advance(done, load.key)
            calls = self._prepare(workloads, progress)
            progress.stage("latency", len(workloads))
            latencies = time_interleaved(
                calls,
                synchronize=synchronize,
                min_samples=_MIN_SAMPLES,
                max_samples=_MAX_SAMPLES,
                target_spread=_TARGET_SPREAD,
                max_seconds=_MAX_SECONDS,
                on_done=progress.advance,
            )
            progress.stage("memory and energy", len(workloads))
            measure_energy = self._energy(synchronize, known) if energy else partial(_no_energy, NOT_ASKED)
            for done, (load, counted, call, latency) in enumerate(
                zip(workloads, counts, calls, latencies, strict=True), start=1
            ):
                yield Entry(
                    key=load.key,
                    batch=load.batch,
                    architecture=load.architecture,
                    params=counted.params,
                    macs=counted.macs,
                    uncounted=counted.uncounted,
                    work=counted.work,
                    latency=latency,
                    energy=measure_energy(call, latency),
                    memory=measure_memory(call, load.module, self.where),
                )
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
    ) -> Callable[[Callable[[], object], Latency], Energy]:
        meter = choose(self.device)
        if isinstance(meter, str):
            return partial(_no_energy, meter)
        return EnergyBench(meter, synchronize=synchronize, estimated_w=_estimated_w(known)).measure


def _no_energy(reason: str, call: Callable[[], object], latency: Latency) -> Energy:
    return no_energy(reason)


def _estimated_w(entries: Mapping[str, Entry]) -> tuple[float, str] | None:
    """The power an earlier session assumed: one profile must not hold two."""
    for entry in entries.values():
        if entry.energy.how == "estimated" and entry.energy.gross_j is not None:
            return entry.energy.gross_j / entry.latency.median_s, entry.energy.source
    return None
