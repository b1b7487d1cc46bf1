"""The command as tests run it: in a process of its own, with few samples a measurement."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

from paser_opt import validate
from paser_opt.cost import local, remote
from paser_opt.cost.bench import EFFORT
from paser_opt.cost.energy.codecarbon_meter import CodecarbonMeter
from paser_opt.experiments import base, runner
from paser_opt.search import finish, versus

LOADED = (
    "paser_opt.experiments.study", "paser_opt.report.page", "optuna.storages._rdb.models",
    "alembic.command", "codecarbon", "onnxruntime", "torch._inductor", "torch.onnx",
)  # fmt: skip
"""What commands import, some of it late; not cli.live, whose console reads COLUMNS."""


def few_samples() -> None:
    """What tests measure is of no interest, but that it was measured: a handful of samples, however they spread."""
    for module in (local, remote, validate):
        module.EFFORT = EFFORT._replace(min_samples=6, max_samples=12, max_seconds=0.2)
    CodecarbonMeter.window_s = 0.1
    for module in (base, runner, versus):
        module.RESAMPLES = 200
    finish.time_interleaved = _few


def _few(calls, **options):
    return local.time_interleaved(calls, **{**options, "min_samples": 6, "max_samples": 6})


def run_command(arguments: list[str], environment: dict[str, str], folder: str, leader: bool) -> None:
    """In a process of its own: the command, its output in ``folder``."""
    if leader:
        os.setsid()
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout, sys.stderr = open(1, "w", encoding="utf-8"), open(2, "w", encoding="utf-8")  # noqa: SIM115
    sys.argv = ["paser-opt", *arguments]
    from paser_opt.cli import main  # reads the environment

    few_samples()
    main()


class Running:
    """A command at work, with what tests need of subprocess.Popen. ``leader``: of a process group of its own."""

    def __init__(
        self, server: ForkServerContext, arguments: list[str], folder: Path, *, env: dict[str, str] | None = None,
        leader: bool = False,
    ) -> None:  # fmt: skip
        self.args, self.folder = arguments, folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **(env or {})}
        self.process = server.Process(target=run_command, args=(arguments, environment, str(folder), leader))
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Less than 0: of the signal that ended it."""
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 200) -> int:
        self.process.join(timeout)
        if self.returncode is None:
            self.kill()
            raise TimeoutError(f"paser-opt {' '.join(self.args)}: {timeout} s")
        return self.returncode

    def said(self) -> tuple[str, str]:
        """What it has written to stdout and to stderr."""
        files = (self.folder / name for name in ("stdout", "stderr"))
        return tuple(file.read_text(encoding="utf-8") if file.exists() else "" for file in files)

    def communicate(self, timeout: float = 200) -> tuple[str, str]:
        self.wait(timeout)
        return self.said()

    def first_line(self) -> None:
        """Wait for it, or for the end."""
        while "\n" not in "".join(self.said()) and self.poll() is None:
            time.sleep(0.01)
