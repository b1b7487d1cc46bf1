"""The command as tests run it: in a process of its own, with few samples a measurement."""

import os
import sys

from paser_opt import validate
from paser_opt.cost import local, remote
from paser_opt.cost.bench import EFFORT
from paser_opt.cost.energy.codecarbon_meter import CodecarbonMeter
from paser_opt.experiments import base, runner
from paser_opt.search import versus


def few_samples() -> None:
    """What tests measure is of no interest, but that it was measured: a handful of samples, however they spread."""
    for module in (local, remote, validate):
        module.EFFORT = EFFORT._replace(min_samples=6, max_samples=12, max_seconds=0.2)
    CodecarbonMeter.window_s = 0.1
    for module in (base, runner, versus):
        module.RESAMPLES = 200


def run_command(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """In a process of its own: the command, its output in ``folder``."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout, sys.stderr = open(1, "w", encoding="utf-8"), open(2, "w", encoding="utf-8")  # noqa: SIM115
    sys.argv = ["paser-opt", *arguments]
    from paser_opt.cli import main  # reads the environment

    few_samples()
    main()
