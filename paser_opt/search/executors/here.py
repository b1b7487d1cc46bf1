"""One trial after another in the driver's own process."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from ...progress import Progress
from ..attempt import Job, Outcome, attempt
from ..objective import Workshop

__all__ = ["Here"]


class Here:
    """``submit`` returns when the trial has ended."""

    workers = 1

    def __init__(self, workshop: Workshop, run_file: Path) -> None:
        self.workshop = workshop

    def submit(self, job: Job, progress: Progress) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        try:
            future.set_result(attempt(job, replace(self.workshop, progress=progress)))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None: ...
