"""Tuples → plotly figures. The page's script paints them and switches traces by their ``meta``."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import plotly.graph_objects as go

from . import words
from .importance import Importances
from .info import Column, Front, History, Info, Interval, Point, static_point

__all__ = [
    "MODEL_COLOURS",
    "axis_title",
    "front_figure",
    "history_figure",
    "importance_figure",
    "parallel_figure",
    "plain_layout",
]

MODEL_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's colour-blind safe palette, f_0 … f_5."""
_SYMBOLS = ("triangle-up", "square", "diamond", "cross", "pentagon", "hexagon")
_ACCENT, _REST, _TEST, _PAPER, _CHOSEN = "#2f7fd0", "#8b919b", "#8a6fc0", "#c2410c", "#d6336c"
_STATIC = "#6b5b00"


def front_figure(info: Info, front: Front) -> go.Figure:
    """The front over (``front.x``, ``front.y``) as a step line, everything else around it.

    ``meta`` of a trace: rest (dominated trials) · test · alone · chosen (moved by the page's slider).
    """
    static = [static_point(row) for row in info.static.models] if info.static else []
    static = [point for point in static if front.x in point.figures and front.y in point.figures]
    shown = [*info.points, *info.alone, *static]
    units = {
        name: words.scale(name, max(abs(point.figures[name]) for point in shown if name in point.figures))
        for name in (front.x, front.y)
    }
    members = [info.point(number) for number in front.members]
    rest = [point for point in info.points if point.trial not in front.members]
    figure = go.Figure(layout=plain_layout())

    def scatter(points: Sequence[Point], name: str, **style: object) -> None:
        figure.add_scatter(
            x=[point.figures[front.x] * units[front.x][0] for point in points],
            y=[point.figures[front.y] * units[front.y][0] for point in points],
            name=name,
            hovertext=[hover(point) for point in points],
            hovertemplate="%{hovertext}<extra></extra>",
            customdata=[point.trial for point in points],
            **style,
        )

    scatter(
        rest,
        "dominated trials",
        mode="markers",
        meta="rest",
        marker={"color": _REST, "size": 8, "opacity": 0.55},
    )
    for model in sorted({point.model for point in info.alone if point.model is not None}):
        same = [point for point in info.alone if point.model == model]
        style = {"color": MODEL_COLOURS[model], "size": 11, "symbol": _SYMBOLS[model]}
        scatter(same, f"f_{model} alone", mode="markers", meta="alone", marker=style)
    if static:
        style = {"color": _STATIC, "size": 9, "symbol": "hourglass"}
        scatter(static, "static UNets, whole images", mode="markers", meta="alone", marker=style)
    figure.add_scatter(
        x=[x * units[front.x][0] for x, _ in front.steps],
        y=[y * units[front.y][0] for _, y in front.steps],
        mode="lines",
        name="front",
        line={"color": _ACCENT, "width": 2},
        hoverinfo="skip",
    )
    tested = [point for point in members if point.test_iou]
    if front.y == "iou" and tested:
        figure.add_scatter(
            x=[point.figures[front.x] * units[front.x][0] for point in tested],
            y=[point.test_iou.value for point in tested if point.test_iou],
            error_y=_error([point.test_iou for point in tested if point.test_iou], _TEST),
            mode="markers",
            name="front on test (95 %)",
            meta="test",
            marker={"color": _TEST, "size": 9, "symbol": "circle-open", "line": {"width": 2}},
            hovertext=[hover(point) for point in tested],
            hovertemplate="%{hovertext}<extra></extra>",
            customdata=[point.trial for point in tested],
        )
    untested = [point.iou for point in members if point.iou] if front.y == "iou" and not tested else []
    scatter(
        members,
        "front on val" + (" (95 %)" if untested else ""),
        mode="markers+text",
        marker={"color": _ACCENT, "size": 11},
        text=_numbers(members, front, info.knee),
        textposition="top left",
        **({"error_y": _error(untested, _ACCENT)} if untested else {}),
    )
    paper = [point for point in info.points if point.tag == "paper"]
    if paper:
        scatter(
            paper,
            "the paper's choices",
            mode="markers",
            marker={"color": _PAPER, "size": 15, "symbol": "star"},
        )
    knee = [point for point in info.points if point.trial == info.knee]
    ring = {"color": _ACCENT, "size": 20, "symbol": "circle-open", "line": {"width": 2}}
    scatter(knee, "knee", mode="markers", marker=ring, hoverinfo="skip")
    ring = {"color": _CHOSEN, "size": 26, "symbol": "circle-open", "line": {"width": 3}}
    scatter(knee, "within the budget", mode="markers", meta="chosen", marker=ring, hoverinfo="skip")
    figure.update_traces(hovertemplate=None, selector={"hoverinfo": "skip"})
    figure.update_layout(meta={"x": front.x, "y": front.y, "factors": [units[front.x][0], units[front.y][0]]})
    figure.update_xaxes(title=axis_title(front.x, units[front.x][1], upwards=False))
    figure.update_yaxes(title=axis_title(front.y, units[front.y][1], upwards=True))
    return figure


def _numbers(members: Sequence[Point], front: Front, knee: int | None) -> list[str]:
    """Trial numbers of the members, left out where they would lie over another; the knee's always stands."""
    spans = {
        name: max(values) - min(values) or 1.0
        for name in (front.x, front.y)
        for values in [[point.figures[name] for point in members]]
    }

    def near(one: Point, other: Point) -> bool:
        return all(abs(one.figures[name] - other.figures[name]) < 0.05 * wide for name, wide in spans.items())

    named: list[Point] = []
    for point in sorted(members, key=lambda point: point.trial != knee):
        if not any(near(point, other) for other in named):
            named.append(point)
    return [str(point.trial) if point in named else "" for point in members]


def hover(point: Point) -> str:
    """Plotly's small HTML; text that came from users is escaped."""
    lines = [f"<b>{html.escape(point.label)}</b>" + (f" ({html.escape(point.tag)})" if point.tag else "")]
    lines += [f"{html.escape(name)}: {html.escape(_wrapped(text))}" for name, text in point.rows]
    return "<br>".join(lines).replace("\n", "<br>")


def _wrapped(text: str, width: int = 46) -> str:
    """A hover label is as wide as its longest line."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = "   "
        line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


def _error(intervals: Sequence[Interval], colour: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [each.high - each.value for each in intervals],
        "arrayminus": [each.value - each.low for each in intervals],
        "thickness": 1.2,
        "width": 3,
        "color": colour,
    }


def axis_title(objective: str, unit: str, *, upwards: bool) -> str:
    """Title with an arrow towards the better end; a turned axis reads from bottom to top."""
    title = words.TITLES[objective] + (f" ({unit})" if unit and unit != words.TITLES[objective] else "")
    return f"{title}   better →" if upwards and objective == "iou" else f"← better   {title}"


def plain_layout() -> go.Layout:
    return go.Layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 62, "r": 14, "t": 14, "b": 56},
        font={"family": "system-ui, sans-serif", "size": 13},
        hoverlabel={"align": "left", "font": {"family": "system-ui, sans-serif", "size": 12}},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "xanchor": "left"},
        hovermode="closest",
        xaxis={"automargin": True, "zeroline": False},
        yaxis={"automargin": True, "zeroline": False},
    )


def history_figure(history: History) -> go.Figure:
    """Hypervolume against trials (shown first) and against search time (``meta`` clock)."""
    figure = go.Figure(layout=plain_layout())
    best = max(history.volume, default=0.0) or 1.0
    shares = [100 * volume / best for volume in history.volume]
    longest = max(history.clock_s, default=0.0)
    factor, unit = (1 / 3600, "h") if longest > 7200 else (1 / 60, "min") if longest > 120 else (1.0, "s")
    for x, name, shown in (
        (list(history.trials), "trials", True),
        ([clock * factor for clock in history.clock_s], "clock", False),
    ):
        figure.add_scatter(
            x=x,
            y=list(history.volume),
            customdata=shares,
            mode="lines",
            line={"shape": "hv", "width": 2, "color": _ACCENT},
            fill="tozeroy",
            fillcolor="rgba(47,127,208,0.12)",
            hovertemplate="%{x:.4~g}: %{y:.4~g} (%{customdata:.1f} % of the last)<extra></extra>",
            meta=name,
            visible=shown,
            showlegend=False,
        )
    figure.update_xaxes(title="trials finished")
    figure.update_yaxes(title="hypervolume   better →", rangemode="tozero")
    figure.update_layout(meta={"trials": "trials finished", "clock": f"search time ({unit})"})
    return figure


def importance_figure(importances: Sequence[Importances]) -> go.Figure:
    """Bars a parameter, one colour and pattern an objective."""
    figure = go.Figure(layout=plain_layout())
    total: dict[str, float] = {}
    for each in importances:
        for name, share in each.shares:
            total[name] = total.get(name, 0.0) + share
    order = sorted(total, key=lambda name: total[name])
    for i, each in enumerate(importances):
        shares = dict(each.shares)
        figure.add_bar(
            y=[html.escape(name) for name in order],
            x=[shares.get(name, 0.0) for name in order],
            orientation="h",
            name=words.TITLES[each.objective],
            marker={"color": MODEL_COLOURS[i], "pattern": {"shape": ("", "/", ".", "x", "-")[i]}},
            hovertemplate="%{y}: %{x:.0%}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(
        barmode="group", bargap=0.3, height=110 + 26 * max(1, len(order)) * max(1, len(importances)) ** 0.5
    )
    # Above the bars: below them it would lie on the axis' title, on a phone.
    figure.update_layout(margin={"t": 40}, legend={"y": 1.0, "yanchor": "bottom"})
    figure.update_xaxes(title="share of the importance", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(type="category")
    return figure


def parallel_figure(columns: Sequence[Column], colour: Sequence[float], *, log: bool) -> go.Figure:
    """Parallel coordinates of parameters and objectives, brushable; lines coloured by IoU.

    ``log``: costs (all objectives but IoU) on a logarithmic scale.
    """
    figure = go.Figure(
        go.Parcoords(
            dimensions=[
                _dimension(column, log=log and column.objective and column.name != "iou") for column in columns
            ],
            line={
                "color": list(colour),
                "colorscale": "Cividis",
                "showscale": True,
                "colorbar": {"title": "IoU", "thickness": 12},
            },
            unselected={"line": {"opacity": 0.08}},
        ),
        layout=plain_layout(),
    )
    figure.update_layout(margin={"l": 60, "r": 30, "t": 60, "b": 24}, width=max(720, 105 * len(columns)), height=400)
    return figure


def _dimension(column: Column, *, log: bool) -> dict[str, object]:
    """Numbers as they are; texts by rank; a value that a trial does not have lies below the others as "–"."""
    present = [value for value in column.values if value is not None]
    numeric = [value for value in present if not isinstance(value, str)]
    label = html.escape(words.TITLES.get(column.name, column.name) if column.objective else column.name)
    if len(numeric) < len(column.values):
        levels: list[float | str] = sorted(set(present), key=lambda value: (isinstance(value, str), value))
        rank = {value: float(i) for i, value in enumerate(levels)}
        missing = [-1.0] if len(present) < len(column.values) else []
        return {
            "label": label,
            "values": [-1.0 if value is None else rank[value] for value in column.values],
            "tickvals": [*missing, *rank.values()],
            "ticktext": [
                *("–" for _ in missing),
                *(html.escape(f"{v:g}" if not isinstance(v, str) else v) for v in levels),
            ],
        }
    factor, unit = words.scale(column.name, max(numeric)) if column.objective else (1.0, "")
    values = [value * factor for value in numeric]
    label += f" ({unit})" if unit and unit != label else ""
    if not log or min(values) <= 0:
        few = sorted(set(values)) if len(set(values)) <= 8 and not column.objective else None
        ticks = {"tickvals": few, "ticktext": [f"{value:.3g}" for value in few]} if few else {}
        return {"label": label, "values": values, **ticks}
    low, high = min(values), max(values)
    marks = [low * (high / low) ** (i / 4) for i in range(5)]
    return {
        "label": label,
        "values": [math.log10(value) for value in values],
        "tickvals": [math.log10(mark) for mark in marks],
        "ticktext": [f"{mark:.3g}" for mark in marks],
    }
