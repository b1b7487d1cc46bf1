"""The Executor protocol. One conformance suite holds every executor to it: tests/search/test_executors.py."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from ...progress import Progress
from ..attempt import Job, Outcome
from ..objective import Workshop

__all__ = ["Executor", "LostError", "MakeExecutor"]


class LostError(Exception):
    """What ran a trial is gone, in words; the trial may be tried again. No fault of the user's, so no PaserError."""


class Executor(Protocol):
    """Runs trials, up to ``workers`` at once."""

    workers: int

    def submit(self, job: Job, progress: Progress) -> Future[Outcome]:
        """Start ``job``; ``progress`` hears of its stages where that is possible.

        The future raises LostError where the process or the machine died, else the very error that ``attempt`` raised.
        """

    def close(self) -> None:
        """End all that runs, finished or not, and give everything back."""


MakeExecutor = Callable[[Workshop, Path], Executor]
"""(workshop, file of the run that every worker must see) → Executor."""
