"""Work as tasks of a Ray cluster. The driver stays where it is; tasks see the run's folder on shared storage.

Ray's own retries are off: it reports what it lost, and the driver tries again, so that every retry stands in the
trial's record. A new task may land on any node.
"""

from __future__ import annotations

import logging
import socket
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from ...errors import ConfigError
from ...progress import Progress, Silent
from ..attempt import Place
from ..objective import Workshop
from .base import LostError, Result, Work

__all__ = ["OnRay"]


_workshops: dict[Path, Workshop] = {}
"""Of this process: Ray keeps its processes, and one loads the data once."""


class OnRay:
    """``workers`` trials at once (None: as many as fit), each with ``cpus`` cores and ``gpus`` GPUs, or a part of one.

    ``address``: "local" starts Ray on this machine, "auto" finds the cluster this machine is part of; else host:port,
    or ray://host:port for a client outside. Raises ConfigError where there is none, or where no trial fits.
    """

    def __init__(
        self, workshop: Workshop, run_file: Path, *, address: str, workers: int | None, cpus: float, gpus: float
    ) -> None:
        _refuse_unreachable(address)
        try:
            ray.init(address=address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"--ray {address}: no Ray cluster answers ({_first_sentence(error)})") from None
        fits = _fitting(ray.cluster_resources(), cpus, gpus)
        if not fits:
            raise ConfigError(f"--ray {address}: the cluster has no room for a trial of {cpus:g} CPU and {gpus:g} GPU")
        self.workers = workers or fits
        place = Place.of(workshop, run_file, threads=max(1, int(cpus)), gpu_share=min(1.0, gpus))
        self.place = ray.put(place)
        self.task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_run)

    def submit(self, work: Work[Result], progress: Progress) -> Future[Result]:
        future: Future[Result] = Future()
        self.task.remote(self.place, work).future().add_done_callback(lambda done: _pass_on(done, future))
        return future

    def close(self) -> None:
        ray.shutdown()


def _run(place: Place, work: Work[Result]) -> Result:
    if place.run_file not in _workshops:
        _workshops[place.run_file] = place.open(Silent())
    return work.run(_workshops[place.run_file])


def _pass_on(done: Future[Any], future: Future[Any]) -> None:
    """The result, LostError for whatever befell Ray, or the very error that the work raised."""
    error = done.exception()
    if error is None:
        future.set_result(done.result())
    elif isinstance(error, RayTaskError):
        future.set_exception(error.cause)
    elif isinstance(error, RayError):
        future.set_exception(LostError(f"Ray lost its process: {_first_sentence(error)}"))
    else:
        future.set_exception(error)


def _refuse_unreachable(address: str) -> None:
    """Ray itself knocks for many minutes at an address where nobody is."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise ConfigError(f"--ray {address}: no Ray cluster answers ({error.strerror or error})") from None


def _fitting(resources: dict[str, float], cpus: float, gpus: float) -> int:
    """How many trials the whole cluster can hold at once."""
    rooms = [resources.get(name, 0.0) // each for name, each in (("CPU", cpus), ("GPU", gpus)) if each]
    return int(min(rooms, default=0))


def _first_sentence(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].partition(". ")[0]
