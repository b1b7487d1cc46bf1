"""``paser-opt search``: from a study to a report."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .options import Estimate, Host, Json, Precision, Quiet, Runtime, StudyName, default_folder, several, size_bytes

if TYPE_CHECKING:
    from ..search.executors import MakeExecutor

__all__ = ["command"]


def command(
    study: StudyName = "quickstart",
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all (default: the study's).")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds of searching in all, after which no new trial starts."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="A device in devices/, or a .toml (default: the study's).")] = None,
    host: Host = None,
    runtime: Runtime = None,
    precision: Precision = None,
    estimate: Estimate = False,
    resume: Annotated[
        bool,
        typer.Option("--resume/--new", help="Go on in the run's folder, or move it aside and start afresh."),
    ] = True,
    out: Annotated[Path | None, typer.Option(help="Folder of the run (default: runs/<study>).")] = None,
    store: Annotated[
        Path | None, typer.Option(help="A stage store that several runs share: nothing in it is trained again.")
    ] = None,
    store_size: Annotated[
        str | None, typer.Option(help="Keep --store to this size, such as 20GB; least recently used stages go.")
    ] = None,
    rungs: Annotated[
        bool, typer.Option("--rungs/--no-rungs", help="Stop trials early that do badly at the study's rungs.")
    ] = True,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at once (default: 1; with --ray as many as fit)."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run trials on a Ray cluster: auto, host:port, ray://host:port or local."),
    ] = None,
    cpus: Annotated[float, typer.Option(min=0.1, help="With --ray: CPU cores of a trial.")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0, help="With --ray: GPUs of a trial; 0.25 lets four share one.")] = 0.0,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="PASER_OPT_STORAGE",
            show_envvar=False,
            help="Keep Optuna's trials in this database, such as postgresql://user:password@host/name.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search a study: train the PaSeR pipeline per trial, trace the IoU/cost front, write the report.

    Stop it with Ctrl-C or pull the plug: the same command goes on where it stopped, and no finished trial is lost.

    Example: [bold]paser-opt search quickstart --trials 12[/bold]
    """
    from ..catalog import load_device, load_study
    from ..runs import RunFolder
    from .live import console, watching

    chosen = load_study(study)
    target = load_device(device or chosen.device, host=host, runtime=runtime, precision=precision)

    from ..report import write_report  # torch takes seconds; a misspelt study should not
    from ..search import search

    chosen = chosen.model_copy(update={"device": target.name})  # a run holds one device's costs, and says whose
    if not rungs:
        chosen = chosen.model_copy(update={"rungs": ()})
    folder = out or default_folder(chosen.name)
    if not resume and folder.exists() and not RunFolder(folder).only_trained:
        aside = RunFolder(folder).move_aside()
        if not quiet:
            console.print(f"moved the former run to {aside}")
    total, limit = trials or chosen.trials, timeout or chosen.timeout_s
    title = f"{chosen.name} on {target.name}"
    with watching(title, quiet=quiet, stages=not json, timeout_s=limit) as watcher:
        run = search(
            chosen, folder, device=target, trials=total, timeout_s=limit, watcher=watcher, estimate=estimate,
            shared_store=store, shared_limit_bytes=size_bytes(store_size, "--store-size") if store_size else None,
            executor=_executor(ray, workers, cpus, gpus), storage=storage,
        )  # fmt: skip
    page = write_report(run)
    done = len(run.trials())
    if done < total and limit and not quiet:
        console.print(
            f"{done} of {total} trials: the time limit over all sessions, {limit:g} s, is spent. The same command with "
            f"--timeout {2 * limit:g} goes on.",
            soft_wrap=True,
        )
    if json:
        typer.echo((run.path / "front.json").read_text(encoding="utf-8"))
    elif not quiet:
        console.print(f"report: [bold]{page}[/bold]   front: {run.path / 'front.csv'}", soft_wrap=True)


def _executor(ray: str | None, workers: int | None, cpus: float, gpus: float) -> MakeExecutor:
    """Where trials run. Raises ConfigError where Ray is asked for and not installed."""
    from ..search.executors import Here

    if ray:
        try:
            from ..search.executors.on_ray import OnRay
        except ImportError:
            raise ConfigError("--ray needs Ray: pip install 'paser-opt[ray]'") from None
        return partial(OnRay, address=ray, workers=workers, cpus=cpus, gpus=gpus)
    return several(workers or 1) or Here
