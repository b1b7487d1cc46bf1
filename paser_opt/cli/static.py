"""``paser-opt static``: what a sceptic would deploy instead of a route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import Json, Quiet, RunPath, Widths, Workers, several

if TYPE_CHECKING:
    from rich.table import Table

    from ..records import StaticFront

__all__ = ["command"]


def command(
    run: RunPath,
    models: Widths = 6,
    int8: Annotated[bool, typer.Option(help="Quantize each to int8 too, by ONNX Runtime.")] = True,
    workers: Workers = 1,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train single UNets on whole images, and set the front of a run against them at equal latency.

    Example: [bold]paser-opt static runs/quickstart[/bold]
    """
    from ..catalog import load_device
    from ..report import write_report
    from ..runs import RunFolder
    from ..search import static_front
    from .live import console, watching

    folder = RunFolder.open(run)
    device = load_device(folder.run().study.device)
    with watching(f"static front of {run}", quiet=quiet) as watcher:
        result = static_front(
            folder, device=device, models=models, int8=int8, progress=watcher, executor=several(workers)
        )
    page = write_report(folder)
    if json:
        typer.echo(result.model_dump_json(indent=1))
    elif not quiet:
        console.print(_models(result))
        console.print(_against(result))
        console.print(f"report: [bold]{page}[/bold]", soft_wrap=True)


def _models(result: StaticFront) -> Table:
    from rich.table import Table

    from .live import figure

    table = Table("static UNet", "parameters", "trained for", "runtime", "latency", "IoU, val", "IoU, test (95 %)",
                  title=f"single UNets on whole images, {result.device}", title_justify="left")  # fmt: skip
    for row in sorted(result.models, key=lambda one: one.latency.median_s):
        table.add_row(
            row.name.removeprefix("static UNet "), f"{row.params:,}",
            "–" if row.trained_s is None else f"{row.trained_s:.0f} s", row.runtime,
            figure("latency", row.latency.median_s) + ("" if row.latency.stable else " !"), f"{row.val_iou:.3f}",
            f"{row.test_iou:.3f} ({row.test_low:.3f} … {row.test_high:.3f})",
        )  # fmt: skip
    table.caption, table.caption_justify = "\n".join(result.notes), "left"
    return table


def _against(result: StaticFront) -> Table:
    from rich.table import Table

    from .live import figure

    table = Table("trial", "latency", "single model: no slower, best on val", "IoU, route less model, test (95 %)",
                  title="routes against them", title_justify="left")  # fmt: skip
    for one in result.against:
        versus = one.versus
        table.add_row(
            str(one.trial), figure("latency", one.latency_s), versus.baseline if versus else "none is as fast",
            f"{versus.difference:+.3f} ({versus.low:+.3f} … {versus.high:+.3f})" if versus else "–",
        )  # fmt: skip
    return table
