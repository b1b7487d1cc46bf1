"""The Executor protocol. One conformance suite holds every executor to it: tests/search/test_executors.py."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol, TypeVar

from ...progress import Progress
from ..objective import Workshop

__all__ = ["Executor", "LostError", "MakeExecutor", "Work"]

Made = TypeVar("Made", covariant=True)
Result = TypeVar("Result")


class LostError(Exception):
    """What ran a piece of work is gone, in words; it may be tried again. No fault of the user's, so no PaserError."""


class Work(Protocol[Made]):
    """What an executor runs: a trial (attempt.Job), or UNets for a comparison (ahead.Lesson). It travels pickled."""

    def run(self, workshop: Workshop) -> Made:
        """Do it with what the workshop holds."""


class Executor(Protocol):
    """Runs work, up to ``workers`` at once."""

    workers: int

    def submit(self, work: Work[Result], progress: Progress) -> Future[Result]:
        """Start ``work``; ``progress`` hears of its stages where that is possible.

        The future raises LostError where the process or the machine died, else the very error that ``run`` raised.
        """

    def close(self) -> None:
        """End all that runs, finished or not, and give everything back."""


MakeExecutor = Callable[[Workshop, Path], Executor]
"""(workshop, file of the run that every worker must see) → Executor."""
