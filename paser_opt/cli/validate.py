"""``paser-opt validate``: predicted cost beside what whole routes then take on the device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import RunError
from .options import Host, Json, Precision, Quiet, Runtime

if TYPE_CHECKING:
    from rich.table import Table

    from ..records import Validation

__all__ = ["command"]


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a run, such as runs/quickstart, or of a bundle.")],
    device: Annotated[
        str | None, typer.Option(help="A device in devices/, or a .toml (default: the one the run was searched on).")
    ] = None,
    host: Host = None,
    runtime: Runtime = None,
    precision: Precision = None,
    families: Annotated[int, typer.Option(min=1, help="At most so many different pipelines of the run.")] = 8,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the pipelines of a run, or a bundle, for real on several routes; print predicted beside measured latency.

    Below the table: how well this cost model, FLOPs and the paper's parameter ratio tell the measured latencies.

    Example: [bold]paser-opt validate runs/quickstart[/bold]
    """
    from .live import console

    if (run / "manifest.json").is_file():
        result = _bundle(run, device or "cpu", host, runtime, precision, quiet)
    else:
        result = _run(run, device, host, runtime, precision, families, quiet)
    if json:
        typer.echo(result.model_dump_json(indent=1))
    elif not quiet:
        console.print(_pairs(result))
        console.print(_agreement(result))


def _run(
    run: Path,
    device: str | None,
    host: str | None,
    runtime: str | None,
    precision: str | None,
    families: int,
    quiet: bool,
) -> Validation:
    from ..catalog import load_device
    from ..cost import open_bench, open_profile
    from ..runs import RunFolder
    from ..validate import subjects, validate
    from .live import watching

    folder = RunFolder.open(run)
    record = folder.run()
    chosen = subjects(folder.trials(), families)
    if not chosen:
        raise RunError(f"{run} has no complete trial yet; `paser-opt search` makes them")
    target = load_device(device or record.study.device, host=host, runtime=runtime, precision=precision)
    with folder.locked(), watching(f"validation of {run} on {target.name}", quiet=quiet) as watcher:
        return validate(
            chosen,
            open_profile(folder.profile_file(target.name), open_bench(target)),
            height=record.data.height,
            width=record.data.width,
            within=record.study.predict_within,
            progress=watcher,
        )


def _bundle(
    folder: Path, device: str, host: str | None, runtime: str | None, precision: str | None, quiet: bool
) -> Validation:
    """With ONNX Runtime unless told otherwise; here that is the bundle's own code."""
    import tempfile

    from ..bundle import read_bundle
    from ..catalog import load_device
    from ..cost import open_bench, open_profile
    from ..cost.board import thread_count
    from ..predict import Predictor
    from ..validate import Subject, mixes, validate
    from .live import watching

    manifest, _ = read_bundle(folder)
    target = load_device(device, host=host, runtime=runtime or "onnx", precision=precision)
    bench = open_bench(target)
    run_whole = None
    if bench.here and target.runtime == "onnx":
        run_whole = Predictor(folder, threads=thread_count(target.threads)).run_blank
    subject = Subject(f"trial {manifest.trial}", manifest.pipeline, mixes(manifest.pipeline))
    with tempfile.TemporaryDirectory() as temporary, watching(f"validation of {folder}", quiet=quiet) as watcher:
        profile = open_profile(Path(temporary) / "profile.json", bench)
        return validate([subject], profile, height=manifest.height, width=manifest.width, within=0.0, progress=watcher,
                        run_whole=run_whole)  # fmt: skip


def _pairs(result: Validation) -> Table:
    from rich.table import Table

    from .live import figure, literal

    table = Table(title=literal(result.machine.described), title_justify="left")
    for name in ("pipeline", "route", "patches of f_0 …", "predicted", "measured", "error"):
        table.add_column(name, justify="left" if name in ("pipeline", "route") else "right")
    for pair in result.pairs:
        median_s = pair.measured.median_s
        error = None if pair.predicted.value is None else pair.predicted.value / median_s - 1
        table.add_row(
            pair.pipeline,
            pair.route,
            " ".join(map(str, pair.counts)),
            figure("latency", pair.predicted.value) + ("*" if pair.unprofiled else ""),
            figure("latency", median_s) + ("" if pair.measured.stable else " !"),
            "–" if error is None else f"{error:+.1%}",
        )
    notes = []
    if paces := sorted(pair.pace for pair in result.pairs if pair.pace):
        notes.append(
            "the device's pace, profiled steps timed again among the routes over the profile's: "
            f"{paces[0]:.2f} to {paces[-1]:.2f}"
        )
    if any(pair.unprofiled for pair in result.pairs):
        notes.append("* told from other sizes, not measured step by step")
    if any(not pair.measured.stable for pair in result.pairs):
        notes.append("! this latency was not stable")
    table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def _agreement(result: Validation) -> Table:
    from rich.table import Table

    table = Table("cost", "MAPE", "bias", "within ±10 %", "Spearman", title_justify="left",
                  title=f"how well each cost tells the {len(result.pairs)} latencies measured")  # fmt: skip
    for one in result.agreement:
        rank = "–" if one.spearman is None else f"{one.spearman:.4f}"
        table.add_row(one.cost, f"{one.mape:.1%}", f"{one.bias:+.1%}", f"{one.within_10:.0%}", rank)
    table.caption, table.caption_justify = "FLOPs and parameters are scaled as fits these measurements best", "left"
    return table
