"""Several pieces of work at once on this machine, each in a worker process that ends with the driver.

Worker and driver talk in pickles over the worker's stdin and stdout (search/worker.py). A worker takes one piece of
work after another; one that dies takes its own with it, and the next one starts another.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import torch

from ...progress import Progress
from ..attempt import Place
from ..objective import Workshop
from .base import LostError, Result, Work

__all__ = ["Subprocesses"]

ALLOCATED = 0.9
"""Share of a GPU's memory that several workers' allocators divide: contexts and libraries take theirs besides."""


class Subprocesses:
    """``workers`` processes that share this machine's threads, memory and GPUs evenly."""

    def __init__(self, workshop: Workshop, run_file: Path, *, workers: int) -> None:
        self.workers = workers
        self.gpus = _gpus() if workshop.training_device.type == "cuda" else []
        on_one_gpu = math.ceil(workers / max(1, len(self.gpus)))
        self.place = Place.of(
            workshop,
            run_file,
            threads=max(1, torch.get_num_threads() // workers),
            gpu_share=1 / on_one_gpu if on_one_gpu == 1 else ALLOCATED / on_one_gpu,
        )
        self.memory_bytes = None if self.gpus else _memory_bytes(workers)
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * workers
        self.closed = False
        self.idle: SimpleQueue[int] = SimpleQueue()
        for slot in range(workers):
            self.idle.put(slot)
        self.threads = ThreadPoolExecutor(workers)

    def submit(self, work: Work[Result], progress: Progress) -> Future[Result]:
        return self.threads.submit(self._run, work, progress)

    def close(self) -> None:
        self.closed = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        for process in self.processes:
            if process:
                process.kill()
        self.threads.shutdown()
        for process in self.processes:
            if process:
                process.wait()

    def _run(self, work: Work[Result], progress: Progress) -> Result:
        slot = self.idle.get()
        process = self.processes[slot] or self._start(slot)
        self.processes[slot] = process
        if self.closed:  # just started: close() may not have seen it
            process.kill()
        try:
            return _talk(process, work, progress)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            self.processes[slot] = None
            raise LostError(_ended(process.wait())) from None
        finally:
            self.idle.put(slot)

    def _start(self, slot: int) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.place.threads)}
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        process = subprocess.Popen(
            [sys.executable, "-m", "paser_opt.search.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        with suppress(BrokenPipeError):  # dead already: reading from it says so
            _send(process, (self.place, self.memory_bytes))
        return process


def _talk(process: subprocess.Popen[bytes], work: Work[Result], progress: Progress) -> Result:
    assert process.stdout
    _send(process, work)
    while True:
        kind, *content = pickle.load(process.stdout)
        if kind == "stage":
            progress.stage(*content)
        elif kind == "advance":
            progress.advance(*content)
        elif kind == "error":
            raise content[0]
        else:
            result: Result = content[0]
            return result


def _send(process: subprocess.Popen[bytes], message: object) -> None:
    assert process.stdin
    pickle.dump(message, process.stdin)
    process.stdin.flush()


def _ended(code: int) -> str:
    if code >= 0:
        return f"its worker process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
    return f"its worker process was ended by {name}{hint}"


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls the GPUs that this process sees."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]


def _memory_bytes(workers: int) -> int | None:
    """A worker's part of this machine's memory, or of what the container may use; None where that is not known."""
    if sys.platform != "linux":
        return None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")  # cgroup v2; "max" where there is none
    allowed = limit.read_text().strip() if limit.is_file() else "max"
    return (total if allowed == "max" else min(total, int(allowed))) // workers
