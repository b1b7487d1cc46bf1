"""Who watches a search: drawn by the command line, silent in tests."""

from __future__ import annotations

from typing import Protocol

from ..progress import Progress
from ..records import TrialRecord

__all__ = ["Watcher"]


class Watcher(Progress, Protocol):
    """A Progress that is also told of trials."""

    def started(self, number: int, total: int, tag: str) -> None: ...

    def running(self, number: int) -> Progress:
        """What hears of the stages of this trial, others running beside it."""

    def finished(self, trial: TrialRecord, front: list[TrialRecord], volume: float | None) -> None: ...

    def note(self, text: str) -> None:
        """One line about the search itself, such as what it waits for."""
