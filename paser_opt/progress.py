"""What long work tells whoever watches: the stage it is in and how far it has come."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Told by long work; drawn by the command line, ignored by tests and libraries."""

    def stage(self, name: str, total: int) -> None:
        """A stage of ``total`` steps begins."""

    def advance(self, done: int, note: str = "") -> None:
        """``done`` of the stage's steps are finished; ``note`` is one short phrase (loss, IoU …)."""


class Silent:
    """A Progress that says nothing."""

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...
