"""One trial as executors run it: asked and priced already, to be trained and scored.

driver: ask → price → Job ──(this process, another one, another machine)── job.run() → Outcome → driver: write, tell
"""

from __future__ import annotations

import gc
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from ..config import Study
from ..data import load
from ..errors import DataError, DivergedError, RunError
from ..progress import Progress
from ..records import TrialRecord
from ..train import ArtifactStore, History, training_device
from .objective import Priced, Workshop, score, score_rung, train
from .rungs import Rung, shares

__all__ = ["Job", "Outcome", "Place", "attempt", "out_of_memory"]


@dataclass(frozen=True)
class Job:
    """One trial to train: its record so far, what its steps cost, and to which of its rungs now; None: to its end."""

    record: TrialRecord
    priced: Priced
    rung: Rung | None = None

    def run(self, workshop: Workshop) -> Outcome:
        """See :func:`attempt`."""
        return attempt(self, workshop)


@dataclass(frozen=True)
class Outcome:
    """The record filled in, and losses and scores by stage."""

    record: TrialRecord
    histories: dict[str, History]


@dataclass(frozen=True)
class Place:
    """What a process that is not the driver makes its workshop from, and the share of its machine it may take."""

    study: Study
    fingerprint: str
    store: ArtifactStore
    run_file: Path
    threads: int
    gpu_share: float
    """Of one GPU's memory; 0 keeps to the CPU."""

    @classmethod
    def of(cls, workshop: Workshop, run_file: Path, *, threads: int, gpu_share: float) -> Place:
        """The driver's, with paths that hold whatever folder the process starts in."""
        store = workshop.store
        return cls(
            study=workshop.study,
            fingerprint=workshop.data.fingerprint,
            store=ArtifactStore(
                store.folder.resolve(),
                shared=store.shared and store.shared.resolve(),
                shared_limit_bytes=store.shared_limit_bytes,
            ),
            run_file=run_file.resolve(),
            threads=threads,
            gpu_share=gpu_share,
        )

    def open(self, progress: Progress) -> Workshop:
        """Load the data and take the share. Raises RunError or DataError where this machine sees other files."""
        torch.set_num_threads(self.threads)
        device = training_device() if self.gpu_share else torch.device("cpu")
        if device.type == "cuda" and self.gpu_share < 1:
            torch.cuda.set_per_process_memory_fraction(self.gpu_share)
        if not self.run_file.is_file():
            raise RunError(f"a worker does not see {self.run_file}: put the run on storage that every node has")
        data = load(self.study.data, progress=progress)
        if data.fingerprint != self.fingerprint:
            raise DataError("a worker sees other data than the driver: give [data] path the same files on every node")
        return Workshop(study=self.study, data=data, store=self.store, training_device=device, progress=progress)


def attempt(job: Job, workshop: Workshop) -> Outcome:
    """Train and score; a training that diverges or has too little memory is a failed trial with its reason."""
    record = job.record
    try:
        trained = train(job.priced, workshop, shares(workshop.study, job.rung), tuned=job.rung is None)
        for stage, seconds in trained.seconds.items():
            record.stages[stage] = record.stages.get(stage, 0.0) + seconds
        if job.rung:
            score_rung(record, job.rung.name, trained, job.priced, workshop)
        else:
            score(record, trained, job.priced, workshop)
    except DivergedError as error:
        record.state, record.reason = "failed", str(error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        record.state, record.reason = "failed", "out of memory" + (f": {error}" if str(error) else "")
    else:
        return Outcome(record, trained.histories)
    gc.collect()  # what the failed training held, in cycles of frames and exceptions, is room for the next trial
    return Outcome(record, {})


def out_of_memory(error: Exception) -> bool:
    """torch's CPU allocator, and CUDA beyond torch's allocator, say so in a RuntimeError of no type of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(
        re.search("can't allocate memory|not enough memory|out of memory|ALLOC_FAILED", str(error))
    )
