"""``paser-opt devices``: what can be measured, from here."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["command"]


def command(
    name: Annotated[
        list[str] | None, typer.Argument(help="Devices in devices/, or .toml files (default: all in devices/).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List devices: which can be measured from here, on this machine or over ssh, and which energy meter it would use.

    Example: [bold]paser-opt devices[/bold]
    """
    import json as jsonlib

    from rich.table import Table

    from ..catalog import load_device, names
    from ..cost import reach
    from .live import answers, literal

    found = reach([load_device(one) for one in name or names("devices")])
    if json:
        typer.echo(jsonlib.dumps([one._asdict() for one in found], indent=1))
        return
    table = Table("device", "kind", "from here", "what it is")
    for one in found:
        no = f"no: {one.energy}" if one.host else "no"
        reached = f"yes ({one.here}; energy: {one.energy})" if one.here else no
        table.add_row(one.name, one.kind, literal(reached), literal(one.about))
    answers.print(table)
