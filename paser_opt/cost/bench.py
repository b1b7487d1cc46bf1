"""What gives workloads a cost: this machine, a board over ssh, or a data sheet's roofline. One protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch

from ..config import Device
from ..progress import Progress
from ..records import Entry, Machine
from .workload import Workload

__all__ = ["NOT_ASKED", "Bench"]

NOT_ASKED = "energy was not asked for"


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
