"""A comparison of routers as a page and a CSV; reads its record, without torch."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from ..compare.records import Axis, Comparison, Difference, RouterResult
from ..records import Quantity, write_text
from . import words
from .compared import difference_text, headline, routers_section, said_of_routing
from .figures import MODEL_COLOURS, axis_title, plain_layout
from .page import filled
from .sections import Cell, section, table

__all__ = ["comparison_csv", "fronts_figure", "write_comparison"]

SI: dict[Axis, str] = {"gflops": "gflops", "latency": "s", "energy": "j"}
_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "pentagon", "hexagon", "triangle-down")


def write_comparison(found: Comparison, folder: Path) -> Path:
    """Write compare.json, compare.csv and compare.html into ``folder``; returns the page's path."""
    found.write(folder / "compare.json")
    write_text(folder / "compare.csv", comparison_csv(found))
    page = folder / "compare.html"
    write_text(page, _page(found))
    return page


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
    row |= {"captured": one.captured, "captured_missing": one.captured_missing}
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
            routers_section(found),
            section("fronts", "Whole fronts", drawn + _fronts_table(found), FRONTS_LEAD),
        ],
        data={"plots": plots},
        footer="Made by paser-opt from compare.json beside this page.",
    )


FRONTS_LEAD = (
    "Test figures of the operating points; lines join those that val keeps. Hypervolume: share of the box between "
    "the reference and the ideal point; its difference is that of priced gains less the router's."
)


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
