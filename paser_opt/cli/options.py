"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..search.executors import MakeExecutor

__all__ = [
    "Estimate",
    "Host",
    "Json",
    "Precision",
    "Quiet",
    "Reinforce",
    "RunPath",
    "Runtime",
    "Seeds",
    "StudyName",
    "TrialNumber",
    "Widths",
    "Workers",
    "default_folder",
    "several",
    "size_bytes",
]

StudyName = Annotated[str, typer.Argument(help="A study in studies/ by name, or the path of a .toml file.")]
RunPath = Annotated[Path, typer.Argument(help="Folder of a run, such as runs/quickstart.")]
TrialNumber = Annotated[int | None, typer.Option(min=0, help="Trial of the run (default: the front's knee).")]
Seeds = Annotated[
    int, typer.Option(min=1, max=64, help="Seeds of initialisation, order and split; those not yet there train.")
]
Reinforce = Annotated[bool, typer.Option(help="Train the published head by REINFORCE too.")]
Widths = Annotated[int, typer.Option(min=2, max=16, help="Widths of single UNets, from the smallest to the largest.")]
Workers = Annotated[
    int, typer.Option(min=1, help="Trials, and UNets, to train at once, each on its share of the CPU threads.")
]
Host = Annotated[
    str | None, typer.Option(help="Measure over ssh on this host, user@board (default: the device's, else here).")
]
Runtime = Annotated[
    str | None, typer.Option(help="auto, eager, compile, onnx, onnx-int8 or torchscript (default: the device's).")
]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16 or fp16 (default: the device's).")]
Estimate = Annotated[
    bool, typer.Option("--estimate", help="Measure nothing: the roofline of the data sheet in the device's TOML.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout; progress goes to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors (and --json's answer).")]


def default_folder(study: str) -> Path:
    """Where a study's run lies unless --out says otherwise."""
    return Path("runs") / study


def several(workers: int) -> MakeExecutor | None:
    """Where ``workers`` UNets train at once; None: one after another, where they are asked for."""
    from ..search.executors import Subprocesses  # torch takes seconds

    return partial(Subprocesses, workers=workers) if workers > 1 else None


def size_bytes(text: str, option: str) -> int:
    """ "2GB" → 2,000,000,000; "1.5 GiB", "500MB", "0". Raises ConfigError."""
    units = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
    units |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if not found or found[2] not in units:
        raise ConfigError(f"{option} {text!r}: give a size such as 500MB, 2GB or 1.5GiB")
    return int(float(found[1]) * units[found[2]])
