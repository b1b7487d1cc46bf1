"""The command line: one file a command. A command parses, makes one library call and prints.

Nothing heavy is imported here: ``paser-opt --help`` loads neither torch nor optuna nor plotly.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from ..errors import PaserError
from . import (
    cache,
    compare,
    devices,
    experiment,
    export,
    pick,
    predict,
    profile,
    record,
    report,
    retarget,
    search,
    static,
    train,
    validate,
)

__all__ = ["app", "main"]

DISK_FAULTS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip
"""What the disk says when the fault is the user's to mend."""

_UsageError: Any = typer.BadParameter.__base__
"""What the parser raises; typer brings its own click, and names only this part of it in public."""

app = typer.Typer(
    name="paser-opt",
    help="Choose, for a real device, the adaptive segmentation pipeline with the most accuracy for the least cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """Ctrl-C is one line and exit code 130, before Typer makes an "Aborted!" of it."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            print("paser-opt: stopped; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None

    return run


for module in (
    search, report, pick, retarget, compare, static, experiment, record, train, export, predict, profile, validate,
    devices, cache,
):  # fmt: skip
    app.command(name=module.__name__.rpartition(".")[2])(_stoppable(module.command))


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("paser-opt"))
        raise typer.Exit


def main() -> None:
    """Run; what a user can mend is one line and exit code 2."""
    # Threads of OpenMP spin long while they wait for one another: two searches at once would stand in each other's way.
    # Short spins cost a search alone little (benchmarks/waiting_threads.py). Set before torch is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        sys.exit(app(standalone_mode=False))
    except PaserError as error:
        _refuse(str(error))
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else "paser-opt"
        words = error.format_message().rstrip(".")
        if not words:  # no command: the help was shown instead
            sys.exit(2)
        _refuse(f"{words}: `{command} --help` says what it takes")
    except typer.Abort:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        _refuse(f"cannot write {error.filename2 or error.filename or ''}: {error.strerror}")


def _refuse(words: str) -> NoReturn:
    print(f"paser-opt: {PaserError(words)}", file=sys.stderr)
    sys.exit(2)
