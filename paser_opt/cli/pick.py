"""``paser-opt pick``: which trial to deploy within a budget."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Annotated

import typer

from ..errors import ConfigError, RunError
from .options import Json, RunPath

__all__ = ["command"]

UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "uj": Decimal("1e-6"),
    "µj": Decimal("1e-6"),
    "mj": Decimal("1e-3"),
    "j": Decimal(1),
}


def _quantity(text: str | None, option: str, unit: str) -> float | None:
    """ "20ms" or "0.02 s" → seconds (joules). A number alone could be either, and is refused."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9.]+(?:e[-+]?\d+)?)\s*([a-zµ]*)", text.strip().lower())
    known = [name for name in UNITS if name.endswith(unit)]
    if not found or found[2] not in known:
        raise ConfigError(f"{option} {text!r}: give a number with a unit of {', '.join(known)}")
    try:
        return float(Decimal(found[1]) * UNITS[found[2]])  # 10.2ms is the very float that 0.0102 is
    except InvalidOperation:
        raise ConfigError(f"{option} {text!r} is not a number") from None


def _as_limit(name: str, value: float) -> str:
    """Three digits, rounded to where the value keeps them, so that they can be given as a limit."""
    rounding = ROUND_FLOOR if name == "iou" else ROUND_CEILING
    short = Context(prec=3, rounding=rounding).create_decimal(repr(value)).normalize()
    if name in ("iou", "gflops"):
        return f"{short:f}"
    unit = "s" if name == "latency" else "J"
    return f"{short.scaleb(3):f}m{unit}" if short < 1 else f"{short:f}{unit}"


def _out_of_reach(options: list[str], bounds: dict[str, tuple[float, int]]) -> str:
    """What the trials have to offer for each of the ``options``."""
    parts = []
    for option in options:
        name = option.rpartition("-")[2]
        if name not in bounds:
            parts.append(f"no trial has a figure for {option}")
            continue
        value, trial = bounds[name]
        best = "highest" if name == "iou" else "lowest"
        parts.append(f"the {best} {option} that a trial keeps is {_as_limit(name, value)} (trial {trial})")
    return ", ".join(parts)


def command(
    run: RunPath,
    max_latency: Annotated[str | None, typer.Option(help="Such as 20ms.")] = None,
    max_energy: Annotated[str | None, typer.Option(help="Such as 15mJ.")] = None,
    max_gflops: Annotated[float | None, typer.Option(help="Full convention, 2·MACs, per image.")] = None,
    min_iou: Annotated[float | None, typer.Option(min=0, max=1, help="IoU on val at least this.")] = None,
    json: Json = False,
) -> None:
    """Name the trial to deploy: the best IoU within the limits, or the cheapest that reaches --min-iou.

    Example: [bold]paser-opt pick runs/quickstart --max-latency 20ms[/bold]
    """
    from ..report.choice import bounds, pick, pick_single
    from ..report.findings import unsettled
    from ..report.info import collect
    from ..report.words import end_to_end
    from ..runs import RunFolder
    from .live import figure

    folder = RunFolder.open(run)
    trials = folder.trials()
    caps = {
        "max_latency_s": _quantity(max_latency, "--max-latency", "s"),
        "max_energy_j": _quantity(max_energy, "--max-energy", "j"),
        "max_gflops": max_gflops,
    }
    trial = pick(trials, min_iou=min_iou, **caps)
    if trial is None or trial.val is None:
        there = bounds(trials)
        if not there:
            raise RunError(f"no trial of {run} is complete, so there is nothing to pick; search on")
        asked = {"--max-latency": max_latency, "--max-energy": max_energy, "--max-gflops": max_gflops,
                 "--min-iou": min_iou}  # fmt: skip
        given = [option for option, limit in asked.items() if limit is not None]
        told = _out_of_reach(given, there)
        apart = ", each by itself" if len(given) > 1 else ""
        raise RunError(f"no finished trial of {run} is within these limits: {told}{apart}; loosen one, or search on")
    if json:
        typer.echo(trial.model_dump_json(indent=1))
        return
    test = f", test IoU {trial.test.iou:.3f}" if trial.test else ""
    cost = trial.val.cost
    ran = f"end to end {end_to_end(trial.measured_latency, trial.measured_pace)}\n" if trial.measured_latency else ""
    typer.echo(
        f"trial {trial.number}: val IoU {trial.val.iou:.3f}{test}, {figure('latency', cost.latency_s.value)} "
        f"({cost.latency_s.how}), {cost.gflops:.3g} GFLOPs, energy {figure('energy', cost.energy_j.value)} "
        f"({cost.energy_j.reason or cost.energy_j.how})\n{ran}"
        f"λ {trial.pipeline.cost_weight:.3g}, β {trial.pipeline.distill_weight:g}, S {trial.pipeline.mc_samples}, "
        f"grid {trial.pipeline.grid[0]}x{trial.pipeline.grid[1]}, models "
        + ", ".join(
            f"f_{i} base {m.base} depth {m.depth} scale {m.scale:g}" for i, m in enumerate(trial.pipeline.models)
        )
    )
    for said in unsettled(collect(folder)):
        typer.echo(f"! {said}: latencies built on them are uncertain; measure again on an idle machine", err=True)
    capped = any(limit is not None for limit in caps.values())
    if capped and (single := pick_single(trials, better_than=trial.val.iou, **caps)):
        typer.echo(
            f"{single.label} does better within these limits: val IoU {single.figures['iou']:.3f}, "
            f"{figure('latency', single.figures.get('latency'))}; the report compares them",
            err=True,
        )
