"""What gives workloads a cost: this machine, a board over ssh, or a data sheet's roofline. One protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch

from ..config import Device
from ..progress import Progress
from ..records import Energy, Entry, Latency, Machine, Memory
from .energy import CallEnergy
from .flops import Counted
from .latency import Effort, Timing
from .workload import Workload

__all__ = ["EFFORT", "NOT_ASKED", "Bench", "energy_record", "entry", "latency_record"]

NOT_ASKED = "energy was not asked for"

EFFORT = Effort(
    min_samples=90,  # the fewest that carry a 95th percentile
    max_samples=400,
    target_spread=0.03,
    enough_seconds=0.5,  # of one workload's samples, where they agree
    max_seconds=3.0,  # where they do not
)


class Bench(Protocol):
    """Gives the cost of workloads on one device."""

    device: Device
    machine: Machine
    where: torch.device
    """Where workloads are to be made: the device itself, or the CPU for one that is reached otherwise."""
    here: bool
    """Whether ``where`` is the device, so that a whole pipeline can be run and timed in this process."""

    def measure(
        self, workloads: Sequence[Workload], *, known: Mapping[str, Entry], progress: Progress, energy: bool
    ) -> Iterator[Entry]:
        """The workloads' costs, one by one, beside the ``known`` ones of the same profile.

        ``energy`` False leaves energy out, with NOT_ASKED as the reason. Raises DeviceError when a sensor or
        the way to the device fails midway, ConfigError for a meter that does not exist.
        """


def latency_record(timing: Timing) -> Latency:
    """What was timed here as a record."""
    return Latency.model_validate(timing._asdict())


def energy_record(energy: CallEnergy) -> Energy:
    """What was metered here as a record."""
    return Energy.model_validate(energy._asdict())


def entry(load: Workload, counted: Counted, latency: Latency, energy: Energy, memory: Memory) -> Entry:
    """What ``load`` costs, however that is known, as a record of the profile."""
    return Entry(
        key=load.key,
        batch=load.batch,
        architecture=load.architecture,
        params=counted.params,
        macs=counted.macs,
        uncounted=counted.uncounted,
        work=counted.work,
        latency=latency,
        energy=energy,
        memory=memory,
    )
