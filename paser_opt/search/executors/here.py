"""One piece of work after another in the driver's own process."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from ...progress import Progress
from ..objective import Workshop
from .base import Result, Work

__all__ = ["Here"]


class Here:
    """``submit`` returns when the work has ended."""

    workers = 1

    def __init__(self, workshop: Workshop, run_file: Path) -> None:
        self.workshop = workshop

    def submit(self, work: Work[Result], progress: Progress) -> Future[Result]:
        future: Future[Result] = Future()
        try:
            future.set_result(work.run(replace(self.workshop, progress=progress)))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None: ...
