"""One measurement at a time on one device, whatever run it is for."""

from __future__ import annotations

import getpass
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..progress import Progress

__all__ = ["exclusive"]


@contextmanager
def exclusive(host: str | None, progress: Progress) -> Iterator[None]:
    """No other process of this user measures on ``host`` (None: this machine) inside; waits until none does.

    A user's searches in two folders would time each other's models. Those of other users or machines are not known of.
    """
    name = hashlib.sha256(f"{getpass.getuser()} {host or ''}".encode()).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir()) / f"paser-opt-measures-{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.stage(f"wait for another measurement on {host or 'this machine'}", 1)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
