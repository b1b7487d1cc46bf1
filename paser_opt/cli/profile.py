"""``paser-opt profile``: what a study's models cost on a device."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Estimate, Host, Json, Precision, Quiet, Runtime, StudyName, default_folder

if TYPE_CHECKING:
    from rich.table import Table

    from ..records import Profile

__all__ = ["command"]

_WIDE = 125
"""Columns of a terminal below which a step's name would break over more than two lines."""


def command(
    study: StudyName = "quickstart",
    device: Annotated[str | None, typer.Option(help="A device in devices/, or a .toml (default: the study's).")] = None,
    host: Host = None,
    runtime: Runtime = None,
    precision: Precision = None,
    estimate: Estimate = False,
    out: Annotated[
        Path | None, typer.Option(help="Profile JSON (default: runs/<study>/profiles/<device>.json).")
    ] = None,
    energy: Annotated[bool, typer.Option(help="Measure energy too, where there is a meter.")] = True,
    new: Annotated[
        bool, typer.Option("--new", help="Measure everything again; the former profile goes once that is done.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure FLOPs, latency, energy and memory of every model of a study at its shapes, here or over ssh.

    What has been measured before is kept; a search of the study uses the same file.

    Example: [bold]paser-opt profile quickstart --device cpu[/bold]
    """
    from ..catalog import load_device, load_study
    from ..runs import RunFolder
    from .live import console, watching

    chosen = load_study(study)
    target = load_device(device or chosen.device, host=host, runtime=runtime, precision=precision)

    from ..search import profile_study  # torch takes seconds; a misspelt study should not

    run = RunFolder(default_folder(chosen.name))
    path = out or run.profile_file(target.name)
    # In a run's folder nobody may search meanwhile: both would measure on the same machine.
    with (
        contextlib.nullcontext() if out else run.locked(),
        watching(f"profile of {chosen.name} on {target.name}", quiet=quiet) as watcher,
    ):
        profile = profile_study(chosen, target, path, energy=energy, progress=watcher, estimate=estimate, new=new)
    if json:
        typer.echo(profile.model_dump_json(indent=1))
    elif not quiet:
        console.print(_table(profile, narrow=console.width < _WIDE), soft_wrap=False)
        console.print(f"{path}")


def _natural(key: str) -> list[tuple[bool, int, str]]:
    """For sorting: n2of16 before n16of16."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", key)]


def _table(profile: Profile, *, narrow: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    from .live import figure, literal

    table = Table(title=literal(profile.machine.described), title_justify="left")
    more = [] if narrow else ["peak memory", "parameters"]
    for name in ("step", "MMACs", "latency", "energy", *more):
        table.add_column(name, justify="left" if name == "step" else "right", overflow="fold", no_wrap=name != "step")
    for entry in sorted(profile.entries.values(), key=lambda one: _natural(one.key)):
        latency, joules = entry.latency, entry.energy
        half = (latency.high_s - latency.low_s) / 2 / latency.median_s
        table.add_row(
            literal(entry.key),
            f"{entry.macs / 1e6:,.2f}",
            f"{figure('latency', latency.median_s)} "
            + (f"±{half:.1%}" if latency.how == "measured" else latency.how)
            + ("" if latency.stable else " !"),
            figure("energy", joules.gross_j)
            + (f" ±{joules.spread:.1%}" if joules.spread is not None else "")
            + ("" if joules.stable or joules.how in (None, "estimated", "predicted") else " !"),
            *([figure("memory", entry.memory.peak_bytes), f"{entry.params:,}"] if more else []),
        )
    entries = profile.entries.values()
    notes = ["of one call: latency's median, gross energy's mean, and half-widths of their 95 % intervals"]
    notes += sorted({f"energy is {one.energy.how}: {one.energy.source}" for one in entries if one.energy.how})
    notes += sorted({f"energy: {one.energy.reason}" for one in entries if one.energy.gross_j is None})
    notes += [f"! energy of {one.key}: {one.energy.reason}" for one in entries
              if one.energy.how in ("counter", "sampled") and one.energy.reason]  # fmt: skip
    notes += [
        f"! {one.key}: {one.latency.verdict}" for one in entries if not one.latency.stable and one.latency.samples
    ]
    notes += sorted({f"! {one.latency.verdict}" for one in entries if one.latency.how == "estimated"})
    if uncounted := sorted({name.removeprefix("aten::") for one in entries for name in one.uncounted}):
        notes.append(f"operations not counted as MACs: {', '.join(uncounted)}")
    table.caption = Text("\n").join(literal(note) for note in notes)
    table.caption_justify = "left"
    return table
