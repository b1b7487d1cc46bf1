"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Estimate", "Host", "Json", "Precision", "Quiet", "RunPath", "Runtime", "StudyName", "default_folder"]

StudyName = Annotated[str, typer.Argument(help="A study in studies/ by name, or the path of a .toml file.")]
RunPath = Annotated[Path, typer.Argument(help="Folder of a run, such as runs/quickstart.")]
Host = Annotated[
    str | None, typer.Option(help="Measure over ssh on this host, user@board (default: the device's, else here).")
]
Runtime = Annotated[
    str | None, typer.Option(help="auto, eager, compile, onnx, onnx-int8 or torchscript (default: the device's).")
]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16 or fp16 (default: the device's).")]
Estimate = Annotated[
    bool, typer.Option("--estimate", help="Measure nothing: a lower bound from the data sheet in the device's TOML.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout; progress goes to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors (and --json's answer).")]


def default_folder(study: str) -> Path:
    """Where a study's run lies unless --out says otherwise."""
    return Path("runs") / study
