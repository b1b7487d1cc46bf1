"""A worker process: takes work from stdin, trains, answers on stdout. Ends when the driver does, however that ended.

``python -m paser_opt.search.worker`` is started by search/executors/subprocesses.py and by nobody else. The first
message is (Place, bytes of memory or None), each further one a piece of work (executors/base.py).
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
import traceback
from queue import SimpleQueue
from typing import BinaryIO, cast

from ..errors import PaserError
from .attempt import Place, out_of_memory
from .executors import Work

if sys.platform == "linux":
    import resource


def main() -> None:
    """Work until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not come between the answers
    inbox: SimpleQueue[object] = SimpleQueue()
    threading.Thread(target=_read, args=(inbox,), daemon=True).start()
    first = inbox.get()
    assert isinstance(first, tuple)
    place, memory_bytes = first
    _limit_memory(memory_bytes)
    _work(place, inbox, answers)


def _read(inbox: SimpleQueue[object]) -> None:
    """The pipe ends when the driver does, even by SIGKILL: then so does this process, in the middle of anything."""
    try:
        while True:
            inbox.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(1)


def _limit_memory(memory_bytes: int | None) -> None:
    """Of this process's own data. An allocation beyond it fails here, before the system ends some other process.

    RLIMIT_DATA, not RLIMIT_AS: torch maps far more address space than it ever uses.
    """
    if memory_bytes and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def _work(place: Place, inbox: SimpleQueue[object], answers: BinaryIO) -> None:
    progress = _Telling(answers)
    workshop = None
    while True:
        work = cast("Work[object]", inbox.get())
        try:
            workshop = workshop or place.open(progress)
            _send(answers, "result", work.run(workshop))
        except Exception as error:
            # A fault of this program: the driver knows no more of where.
            if not isinstance(error, PaserError | OSError) and not out_of_memory(error):
                traceback.print_exc()
            _send(answers, "error", error)
            gc.collect()  # where memory ran out, what the failed work held is room for the next


class _Telling:
    """Progress as messages to the driver."""

    def __init__(self, answers: BinaryIO) -> None:
        self.answers = answers

    def stage(self, name: str, total: int) -> None:
        _send(self.answers, "stage", name, total)

    def advance(self, done: int, note: str = "") -> None:
        _send(self.answers, "advance", done, note)


def _send(answers: BinaryIO, *message: object) -> None:
    answers.write(pickle.dumps(message))  # whole or not at all, even where something in it cannot be pickled
    answers.flush()


if __name__ == "__main__":
    main()
