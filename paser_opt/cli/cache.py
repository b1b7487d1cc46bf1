"""``paser-opt cache``: what stage stores hold, and making room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, RunError
from .options import Json, size_bytes

if TYPE_CHECKING:
    from rich.table import Table

    from ..cache import Stored

__all__ = ["command"]


def command(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, a shared --store, or a folder of such.")] = Path(
        "runs"
    ),
    max_size: Annotated[
        str | None,
        typer.Option(help="Remove the least recently used down to this size, such as 2GB; trials' weights stay."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything, trials' weights too.")] = False,
    json: Json = False,
) -> None:
    """Show what the stage stores in and below a folder hold: stages, sizes, when they were used last; make room.

    What was removed is trained again where it is needed.

    Example: [bold]paser-opt cache runs --max-size 2GB[/bold]
    """
    from ..cache import evict, stored
    from .live import console

    if not folder.is_dir():
        raise RunError(f"{folder} is no folder; name a run, or a --store")
    if max_size and clear:
        raise ConfigError("--max-size and --clear: give one of them")
    removed: list[Stored] = []
    if clear:
        removed = evict(folder, 0)
    elif max_size:
        removed = evict(folder, size_bytes(max_size, "--max-size"), keep=_weights(folder))
    entries = stored(folder)
    if json:
        _print_json(entries, removed)
    else:
        console.print(_table(entries))
        if removed:
            console.print(f"removed {len(removed)} stages, {_size(removed)}")


def _weights(folder: Path) -> set[str]:
    """What the trials of all runs in and below ``folder`` are exported and retargeted from."""
    from ..runs import RunFolder

    runs = [RunFolder(file.parent) for file in folder.rglob("run.json")]
    return {key for run in runs for trial in run.trials() for key in trial.weights.values()}


def _print_json(entries: Sequence[Stored], removed: Sequence[Stored]) -> None:
    import json

    rows = [{"key": one.key, "stage": one.stage, "size_bytes": one.size_bytes, "used": _used(one)} for one in entries]
    freed = {"stages": len(removed), "size_bytes": sum(one.size_bytes for one in removed)}
    typer.echo(json.dumps({"stages": rows, "removed": freed}, indent=1))


def _table(entries: Sequence[Stored]) -> Table:
    from rich.table import Table

    table = Table("stage", "entries", "size", "last used", title="stage store", title_justify="left")
    for stage in sorted({one.stage for one in entries}):
        same = [one for one in entries if one.stage == stage]
        table.add_row(stage, str(len(same)), _size(same), _used(same[-1]))
    table.add_row("all", str(len(entries)), _size(entries), _used(entries[-1]) if entries else "–", style="bold")
    return table


def _size(entries: Sequence[Stored]) -> str:
    from rich.filesize import decimal

    return decimal(sum(one.size_bytes for one in entries))


def _used(one: Stored) -> str:
    return datetime.fromtimestamp(one.used_s).astimezone().isoformat(sep=" ", timespec="seconds")
