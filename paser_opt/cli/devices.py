"""``paser-opt devices``: what can be measured, from here."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["command"]


def command(
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the known devices: which one is this machine, and which energy meter it would use.

    Example: [bold]paser-opt devices[/bold]
    """
    import json as jsonlib

    from rich.console import Console
    from rich.table import Table

    from ..catalog import load_device, names
    from ..cost import local_device
    from ..cost.energy import choose
    from ..errors import DeviceError

    rows = []
    for name in names("devices"):
        device = load_device(name)
        try:
            where = str(local_device(device))
            meter = choose(device)
            energy = meter if isinstance(meter, str) else meter.name
        except DeviceError as error:
            where, energy = "", str(error)
        rows.append({"name": name, "kind": device.kind, "here": where, "energy": energy, "about": device.description})
    if json:
        typer.echo(jsonlib.dumps(rows, indent=1))
        return
    table = Table("device", "kind", "this machine", "what it is")
    for row in rows:
        table.add_row(
            row["name"],
            row["kind"],
            f"yes ({row['here']}; energy: {row['energy']})" if row["here"] else "no",
            row["about"],
        )
    Console().print(table)
