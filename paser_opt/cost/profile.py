"""The profile of one device: every workload measured once, kept as JSON with the machine's identity.

local_device → open_profile → ensure(workloads): count, time, memory, energy → Entry by key
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config import Device
from ..errors import DeviceError
from ..progress import Progress
from ..records import Energy, Entry, Latency, Machine, Profile, read_record
from .energy import EnergyBench, choose, no_energy
from .flops import count
from .latency import time_interleaved
from .machine import describe_machine, identity, local_device, synchronizer, using_threads
from .memory import measure_memory
from .workload import Workload

__all__ = ["ProfileStore", "describe_machine", "local_device", "open_profile"]

_MIN_SAMPLES = 90  # the fewest that carry a 95th percentile
_MAX_SAMPLES = 400
_TARGET_SPREAD = 0.03
_MAX_SECONDS = 0.5  # of one workload's samples; forty small workloads stay within 25 s
_NOT_ASKED = "energy was not asked for"


def open_profile(path: Path, device: Device) -> ProfileStore:
    """The profile kept at ``path``, or a new one for ``device``, which must be this machine.

    Raises DeviceError when it is not, or when the file was measured on another machine or set-up; RunError
    when the file is damaged. Nothing is written before something is measured.
    """
    where = local_device(device)
    machine = describe_machine(device, where)
    known = read_record(Profile, path) if path.exists() else None
    if known:
        _refuse_other(known.machine, machine, path)
    profile = known or Profile(machine=machine, created=_now(), seconds=0.0, entries={})
    return ProfileStore(path, device, where, profile)


class ProfileStore:
    """Entries by workload key; :meth:`ensure` measures what is missing."""

    def __init__(self, path: Path, device: Device, where: torch.device, profile: Profile) -> None:
        self.path, self.device, self.where, self.profile = path, device, where, profile

    def ensure(self, workloads: Sequence[Workload], *, progress: Progress, energy: bool = True) -> dict[str, Entry]:
        """All entries of the profile, after measuring the ``workloads`` it lacks.

        Modules are moved to the device and put into eval mode. Latencies of one call are interleaved with
        each other. The file is rewritten, whole, after every entry. ``energy`` False leaves energy out,
        with the reason. Raises DeviceError when a sensor fails midway, ConfigError for a meter that does
        not exist.
        """
        missing = {load.key: load for load in workloads if self._lacks(load.key, energy)}
        if missing:
            begun = time.monotonic()
            with using_threads(self.profile.machine.threads), torch.inference_mode():
                for entry in self._measure(list(missing.values()), progress, energy):
                    now = time.monotonic()
                    self.profile = self.profile.model_copy(
                        update={
                            "entries": {**self.profile.entries, entry.key: entry},
                            "seconds": self.profile.seconds + now - begun,
                        }
                    )
                    begun = now
                    self.profile.write(self.path)
        return dict(self.profile.entries)

    def _lacks(self, key: str, energy: bool) -> bool:
        entry = self.profile.entries.get(key)
        return entry is None or (energy and entry.energy.reason == _NOT_ASKED)

    def _measure(self, workloads: Sequence[Workload], progress: Progress, energy: bool) -> Iterator[Entry]:
        synchronize = synchronizer(self.where)
        measure_energy = self._energy(synchronize) if energy else partial(_no_energy, _NOT_ASKED)
        progress.stage("count operations", len(workloads))
        counts, calls = [], []
        for done, load in enumerate(workloads, start=1):
            module, inputs = load.module.to(self.where).eval(), tuple(x.to(self.where) for x in load.inputs)
            counts.append(count(module, inputs))
            calls.append(partial(_call, module, inputs))
            progress.advance(done, load.key)
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
        for done, (load, counted, call, latency) in enumerate(
            zip(workloads, counts, calls, latencies, strict=True), start=1
        ):
            yield Entry(
                key=load.key,
                batch=load.batch,
                params=counted.params,
                macs=counted.macs,
                uncounted=counted.uncounted,
                latency=latency,
                energy=measure_energy(call, latency),
                memory=measure_memory(call, load.module, self.where),
            )
            progress.advance(done, load.key)

    def _energy(self, synchronize: Callable[[], object]) -> Callable[[Callable[[], object], Latency], Energy]:
        meter = choose(self.device)
        if isinstance(meter, str):
            return partial(_no_energy, meter)
        estimated_w = _estimated_w(self.profile.entries)
        return EnergyBench(meter, synchronize=synchronize, estimated_w=estimated_w).measure


def _no_energy(reason: str, call: Callable[[], object], latency: Latency) -> Energy:
    return no_energy(reason)


def _call(module: nn.Module, inputs: tuple[Tensor, ...]) -> object:
    return module(*inputs)


def _estimated_w(entries: Mapping[str, Entry]) -> tuple[float, str] | None:
    """The power an earlier session assumed: one profile must not hold two."""
    for entry in entries.values():
        if entry.energy.how == "estimated" and entry.energy.gross_j is not None:
            return entry.energy.gross_j / entry.latency.median_s, entry.energy.source
    return None


def _refuse_other(known: Machine, here: Machine, path: Path) -> None:
    then, now = identity(known), identity(here)
    differing = [f"{name} {then[name]} there, {now[name]} here" for name in then if then[name] != now[name]]
    if differing:
        raise DeviceError(
            f"{path} was measured on another machine or set-up ({'; '.join(differing)}): "
            f"measure afresh with --new, or give another --out"
        )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
