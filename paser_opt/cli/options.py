"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Json", "Quiet", "RunPath", "StudyName", "default_folder"]

StudyName = Annotated[str, typer.Argument(help="A study in studies/ by name, or the path of a .toml file.")]
RunPath = Annotated[Path, typer.Argument(help="Folder of a run, such as runs/quickstart.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout; progress goes to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors (and --json's answer).")]


def default_folder(study: str) -> Path:
    """Where a study's run lies unless --out says otherwise."""
    return Path("runs") / study
