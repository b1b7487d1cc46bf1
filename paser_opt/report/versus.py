"""A comparison of routers as a page and a CSV; reads its record, without torch."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import plotly.graph_objects as go

from ..compare.records import Axis, Comparison, Difference, RouterResult
from ..records import Quantity, write_text
from . import words
from .figures import MODEL_COLOURS, axis_title, plain_layout
from .page import filled
from .sections import Cell, section, table

__all__ = ["comparison_csv", "difference_text", "fronts_figure", "headline", "said_of_routing", "write_comparison"]

BASELINE = "entropy threshold"
"""PaSeR's open question: does a learned route beat this one?"""
STATIC = "static front"
SPREAD = 0.15
"""Standard deviation of IoU/GFLOP over seeds, in parts of its mean, from which on its variance is called high."""
EVEN = 0.4
"""Share of the patches with 80 % of the gain from which on difficulty is called even; all alike would be 0.8."""
SI: dict[Axis, str] = {"gflops": "gflops", "latency": "s", "energy": "j"}
_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "pentagon", "hexagon", "triangle-down")


def write_comparison(found: Comparison, folder: Path) -> Path:
    """Write compare.json, compare.csv and compare.html into ``folder``; returns the page's path."""
    found.write(folder / "compare.json")
    write_text(folder / "compare.csv", comparison_csv(found))
    page = folder / "compare.html"
    write_text(page, _page(found))
    return page


def headline(found: Comparison) -> str:
    """Whether the pipeline has earned its cost, in one sentence."""
    own = found.router("pipeline")
    at = words.valued(found.axis, _cost(own, found.axis))
    beating = [
        one
        for one in found.routers
        if one.group == "single model" and one.against and _cost(one, found.axis) <= _cost(own, found.axis)
        and one.against.verdict != "better"
    ]  # fmt: skip
    if beating:
        best = max(beating, key=lambda one: one.iou.value)
        return (
            f"Routing has not earned its cost: {best.name} reaches IoU {best.iou.value:.3f} at "
            f"{words.valued(found.axis, _cost(best, found.axis))}, the pipeline {own.iou.value:.3f} at {at}"
        )
    rival = found.router(BASELINE)
    assert rival.against is not None  # every baseline has one
    said = {
        "better": "The pipeline beats",
        "worse": "The pipeline loses to",
        "not told apart": "The pipeline is not told apart from",
    }[rival.against.verdict]
    return f"{said} the {BASELINE} at {at}: IoU {own.iou.value:.3f} against {rival.iou.value:.3f}"


def said_of_routing(found: Comparison) -> list[str]:
    """In words: how uneven the difficulty is, what is to be gained, whether to route, and what to deploy instead."""
    said = []
    learned = found.router("priced gains")
    random, oracle = found.router("random"), found.router("oracle per budget")
    if found.uneven is not None:
        said.append(
            f"Difficulty: {words.share(found.uneven)} of the patches hold 80 % of all that a larger model could gain"
            + ("; it is spread too evenly for a route to save much." if found.uneven > EVEN else ".")
        )
    for at, chance, best, captured in zip(
        found.budgets, random.iou_at, oracle.iou_at, learned.captured_at or [None] * len(found.budgets), strict=True
    ):
        if chance is None or best is None:
            continue
        said.append(
            f"Within {words.figure(found.axis, at)} the oracle gains {best - chance:+.3f} IoU over random routes"
            + ("." if captured is None else f"; predicted gains capture {words.share(captured)} of it.")
        )
    return said + _said_of_spread(found) + _said_of_static(found)


def _said_of_spread(found: Comparison) -> list[str]:
    """Whether training from another seed gives another pipeline."""
    ratios = [point.iou / point.costs["gflops"] for point in found.router("pipeline").front]
    if len(ratios) < 2 or stdev(ratios) < SPREAD * mean(ratios):
        return []
    return [
        f"High variance: IoU/GFLOP of the pipeline runs from {min(ratios):.3g} to {max(ratios):.3g} over "
        f"{len(ratios)} seeds; one seed says little."
    ]


def _said_of_static(found: Comparison) -> list[str]:
    static = next((one for one in found.routers if one.name == STATIC), None)
    if static is None:
        return []
    learned = found.router("priced gains")
    said, verdicts = [], []
    for at, mine, other, difference in zip(
        found.budgets, learned.iou_at, static.iou_at, static.at_against, strict=True
    ):
        if difference is None:
            continue
        verdicts.append(difference.verdict)
        said.append(
            f"Within {words.figure(found.axis, at)} routes reach IoU {mine:.3f}, single UNets trained on whole images "
            f"{other:.3f}: {difference_text(difference)}."
        )
    best = max((point for point in static.front if point.kept), key=lambda point: point.iou)
    if "better" not in verdicts:
        said.append(
            "No budget is shown at which a route earns its cost: deploy a single UNet, such as "
            f"{best.label} (IoU {best.iou:.3f} at {words.valued(found.axis, best.costs[found.axis])})."
        )
    elif "worse" in verdicts:
        said.append("Route where it is better; elsewhere deploy a single UNet.")
    else:
        said.append("Routing earns its cost here.")
    for one in found.per_gflop:
        rival = f"{one.rival} (IoU {one.rival_iou:.3f}, {one.rival_gflops:.3g} GFLOPs)"
        gain = f"{one.gain.value:+.0%} ({one.gain.low:+.0%} … {one.gain.high:+.0%})"
        reached = (
            "the best single UNet of its IoU or more" if one.reached else "the best single UNet, which is below it"
        )
        said.append(
            f"IoU/GFLOP of {one.router}, {one.operating} (IoU {one.iou:.3f}, {one.gflops:.3g} GFLOPs; chosen on "
            f"{one.chosen}): {gain} over {reached}, {rival}."
        )
    return said


def difference_text(difference: Difference) -> str:
    """ "+0.012 (+0.003 … +0.021), p 0.02: better"."""
    return (
        f"{difference.difference:+.3f} ({difference.low:+.3f} … {difference.high:+.3f}), "
        f"p {difference.p_holm:.2g}: {difference.verdict}"
    )


def _cost(one: RouterResult, axis: Axis) -> float:
    known: dict[Axis, float | None] = {
        "gflops": one.gflops,
        "latency": one.latency_s.value,
        "energy": one.energy_j.value,
    }
    value = known[axis]
    assert value is not None  # the axis that is held equal is one the device gives
    return value


# --- files --------------------------------------------------------------------------------------------


def comparison_csv(found: Comparison) -> str:
    """One row a router, SI units; a figure that is missing is an empty cell."""
    rows = [_flat(found, one) for one in found.routers]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(found: Comparison, one: RouterResult) -> dict[str, Any]:
    row: dict[str, Any] = {"router": one.name, "group": one.group, "operating": one.operating}
    row |= {"equal_cost": one.equal_cost, "iou": one.iou.value, "iou_low": one.iou.low, "iou_high": one.iou.high}
    row |= {"gflops": one.gflops, "gflops_paper": one.gflops_paper}
    row |= {"latency_s": one.latency_s.value, "latency_how": _how(one.latency_s)}
    row |= {"energy_j": one.energy_j.value, "energy_how": _how(one.energy_j)}
    row |= {"iou_per_gflop": one.iou_per_gflop.value, "iou_per_gflop_low": one.iou_per_gflop.low}
    row |= {"iou_per_gflop_high": one.iou_per_gflop.high, "iou_per_gflop_paper": one.iou_per_gflop_paper}
    row["captured"] = one.captured
    captured = one.captured_at or [None] * len(found.budgets)
    for i, ends in enumerate(zip(found.budgets, one.iou_at, captured, strict=True), start=1):
        names = (f"budget_{i}_{SI[found.axis]}", f"iou_at_budget_{i}", f"captured_at_budget_{i}")
        row |= dict(zip(names, ends, strict=True))
    for i, other in enumerate(one.at_against or [None] * len(found.budgets), start=1):
        row |= _flat_difference(f"priced_less_this_at_budget_{i}", other)
    for axis, volume in one.hypervolume.items():
        row |= {f"hypervolume_{axis}": volume.value, f"hypervolume_{axis}_low": volume.low}
        row[f"hypervolume_{axis}_high"] = volume.high
    row |= _flat_difference("iou_against", one.against)
    for axis in found.reference:
        row |= _flat_difference(f"front_against_{axis}", one.front_against.get(axis))
    return row | {f"usage_f{i}": part for i, part in enumerate(one.usage)}


def _flat_difference(name: str, difference: Difference | None) -> dict[str, Any]:
    known = difference.model_dump() if difference else dict.fromkeys(Difference.model_fields)
    return {f"{name}_{field}": value for field, value in known.items()}


def _how(value: Quantity) -> str | None:
    return None if value.value is None else value.how


# --- page ---------------------------------------------------------------------------------------------


def _page(found: Comparison) -> str:
    axes = list(found.reference)
    plots = {f"plot-{axis}": json.loads(fronts_figure(found, axis).to_json()) for axis in axes}
    drawn = "".join(
        f'<h3>IoU against {words.TITLES[axis]}</h3><div class="plot tall" id="plot-{axis}" role="group" '
        f'aria-label="fronts over {words.TITLES[axis]}; the tables hold their figures"></div>'
        for axis in axes
    )
    facts = [
        f"{len(found.seeds)} seed" + ("s" if len(found.seeds) > 1 else ""),
        f"{sum(found.images)} test images",
        f"device {found.device}",
        f"equal {words.TITLES[found.axis]}",
        f"made {found.created}",
    ]
    notes = "".join(f"<li>{html.escape(text)}</li>" for text in said_of_routing(found))
    notes += "".join(f'<li class="note">{html.escape(note)}</li>' for note in found.notes)
    return filled(
        title=f"{found.title} – routers compared",
        study=found.title,
        answer=headline(found),
        facts=" · ".join(html.escape(fact) for fact in facts),
        body=[
            section("findings", "What to know", f"<ul>{notes}</ul>"),
            section("routers", "At the pipeline's cost", _table(found), _lead(found)),
            section("fronts", "Whole fronts", drawn + _fronts_table(found), FRONTS_LEAD),
        ],
        data={"plots": plots},
        footer="Made by paser-opt from compare.json beside this page.",
    )


def _lead(found: Comparison) -> str:
    return (
        f"Every router with several operating points is run at the pipeline's own mean {words.TITLES[found.axis]}, by "
        "a coin between two neighbours; single models stand at their own cost. Difference: the pipeline's IoU less "
        f"the router's, paired over images and seeds ({found.resamples:,} resamples), p adjusted by Holm."
    )


FRONTS_LEAD = (
    "Test figures of the operating points; lines join those that val keeps. Hypervolume: share of the box between "
    "the reference and the ideal point; its difference is that of priced gains less the router's."
)


def _table(found: Comparison) -> str:
    budgets = [words.figure(found.axis, at) for at in found.budgets]
    head = [
        "router",
        "IoU",
        "pipeline less this",
        "latency",
        "GFLOPs",
        "GFLOPs, paper's",
        "energy",
        "IoU/GFLOP",
        "IoU/GFLOP, paper's",
    ]
    head += [f"IoU at {at}" for at in budgets] + ["oracle's gain captured", "usage", "run as"]
    rows: list[Sequence[Cell]] = []
    for one in found.routers:
        iou, ratio = one.iou, one.iou_per_gflop
        rows.append(
            [
                one.name,
                (f"{iou.value:.3f} ({iou.low:.3f} … {iou.high:.3f})", iou.value),
                (difference_text(one.against), one.against.difference) if one.against else ("–", None),
                _cell("latency", one.latency_s.value),
                _cell("gflops", one.gflops),
                _cell("gflops", one.gflops_paper),
                _cell("energy", one.energy_j.value),
                (f"{ratio.value:.3g} ({ratio.low:.3g} … {ratio.high:.3g})", ratio.value),
                (f"{one.iou_per_gflop_paper:.3g}", one.iou_per_gflop_paper),
                *(_cell("iou", value) for value in one.iou_at),
                (words.share(one.captured), one.captured) if one.captured is not None else ("–", None),
                words.usage(one.usage),
                one.operating,
            ]
        )
    return table("routers at the pipeline's cost", head, rows)


def _cell(name: str, value: float | None) -> Cell:
    return ("–", None) if value is None else (words.figure(name, value), value)


def _fronts_table(found: Comparison) -> str:
    axes = list(found.reference)
    head = ["router", *(f"hypervolume, {words.TITLES[axis]}" for axis in axes)]
    head += [f"priced gains less this, {words.TITLES[axis]}" for axis in axes]
    head += [f"priced gains less this at {words.figure(found.axis, at)}" for at in found.budgets]
    head += [f"gain captured at {words.figure(found.axis, at)}" for at in found.budgets]
    rows: list[Sequence[Cell]] = []
    for one in found.routers:
        volumes = [one.hypervolume[axis] for axis in axes]
        row: list[Cell] = [one.name]
        row += [(f"{each.value:.3f} ({each.low:.3f} … {each.high:.3f})", each.value) for each in volumes]
        for axis in axes:
            other = one.front_against.get(axis)
            row.append((difference_text(other), other.difference) if other else ("–", None))
        for difference in one.at_against or [None] * len(found.budgets):
            row.append((difference_text(difference), difference.difference) if difference else ("–", None))
        for part in one.captured_at or [None] * len(found.budgets):
            row.append((words.share(part), part) if part is not None else ("–", None))
        rows.append(row)
    return table("fronts", head, rows)


def fronts_figure(found: Comparison, axis: Axis) -> go.Figure:
    """Test IoU over one cost: a line a router and seed through the points that val keeps, single models as marks."""
    costs = [
        point.costs[axis] for one in found.routers for point in one.front if one.group not in ("single model", "static")
    ]
    factor, unit = words.scale(axis, max(costs))
    figure = go.Figure(layout=plain_layout())
    for i, one in enumerate(found.routers):
        own = one.group == "pipeline"
        for seed in found.seeds:
            kept = sorted(
                (point for point in one.front if point.seed == seed and point.kept), key=lambda point: point.costs[axis]
            )
            figure.add_scatter(
                x=[point.costs[axis] * factor for point in kept],
                y=[point.iou for point in kept],
                mode="lines+markers" if len(kept) > 1 else "markers",
                name=one.name,
                legendgroup=one.name,
                showlegend=seed == found.seeds[0],
                hovertext=[f"<b>{html.escape(one.name)}</b>, {html.escape(point.label)}" for point in kept],
                hovertemplate="%{hovertext}: IoU %{y:.3f}, %{x:.3g} " + unit + "<extra></extra>",
                line={
                    "color": MODEL_COLOURS[i % len(MODEL_COLOURS)],
                    "dash": "dot" if one.group in ("oracle", "random") else "solid",
                    "width": 1.5,
                },
                marker={
                    "symbol": "star" if own else _SYMBOLS[i % len(_SYMBOLS)],
                    "size": 16 if own else 8,
                    "color": MODEL_COLOURS[i % len(MODEL_COLOURS)],
                },
            )
    figure.update_xaxes(title=axis_title(axis, unit, upwards=False))
    figure.update_yaxes(title=axis_title("iou", "", upwards=True))
    figure.update_layout(legend={"y": -0.28})  # many entries, which would reach the axis title on a phone
    return figure
