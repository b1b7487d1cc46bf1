"""The page's sections as HTML; every text that is not this program's own is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from ..config import OBJECTIVES
from . import words
from .figures import MODEL_COLOURS
from .findings import findings
from .gallery import CLASS_COLOURS, Gallery
from .importance import Importances
from .info import Info, gain_captured
from .provenance import ENTRY_HEAD, provenance

__all__ = [
    "Cell",
    "course_section",
    "facts",
    "findings_section",
    "front_section",
    "gallery_section",
    "provenance_section",
    "section",
    "table",
    "trials_section",
]

Cell = str | tuple[str, float | None]
"""Text, or (text, what it is sorted by)."""


def facts(info: Info) -> str:
    run, data = info.run, info.run.data
    states = [trial.state for trial in info.trials]
    known = [
        run.study.description,
        f"device {run.study.device}",
        f"{data.kind} images, {data.height} × {data.width}, {len(data.class_names)} classes",
        f"training images also under {', '.join(data.augment)}" if data.augment else "",
        ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed")) + " trials",
        f"{words.time(max((trial.clock_s for trial in info.trials), default=0.0))} of search",
        f"started {run.created}",
    ]
    return " · ".join(html.escape(fact) for fact in known if fact)


def section(name: str, title: str, content: str, lead: str = "") -> str:
    """One part of a page; ``content`` is HTML, ``lead`` plain text."""
    lead = f'<p class="lead">{html.escape(lead)}</p>' if lead else ""
    heading = f'<h2 id="{name}-title">{title}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">{heading}{lead}{content}</section>'


def findings_section(info: Info) -> str:
    items = "".join(
        f'<li class="{"serious" if each.serious else "note"}"><b>{"Warning: " if each.serious else ""}'
        f"{html.escape(each.title)}.</b> {html.escape(each.text)}</li>"
        for each in findings(info)
    )
    return section("findings", "What to know", f"<ul>{items}</ul>") if items else ""


def front_section(info: Info, front_csv: str) -> str:
    tabs = "".join(
        f'<option value="front-{i}">{words.TITLES[front.y]} against {words.TITLES[front.x]}</option>'
        for i, front in enumerate(info.fronts)
    )
    choice = f'<label>Show <select id="pair">{tabs}</select></label>' if len(info.fronts) > 1 else ""
    limits = [*(name for name in info.objectives if name != "iou"), *OBJECTIVES]
    options = "".join(
        f'<option value="{name}">{words.TITLES[name]} at {"least" if name == "iou" else "most"}</option>'
        for name in dict.fromkeys(limits)
        if any(name in point.figures for point in info.points)
    )
    download = base64.b64encode(front_csv.encode()).decode()
    content = f"""
<div class="controls">{choice}
<label><input type="checkbox" id="log"> logarithmic cost</label>
<label><input type="checkbox" id="only"> front only</label>
<label><input type="checkbox" id="alone" checked> single models</label>
<label><input type="checkbox" id="test" checked> test IoU</label></div>
<div class="decide">
<div class="plot tall" id="front-plot" role="group" aria-label="Pareto front; its figures stand below"></div>
<div class="card" id="budget"><h3>Within a budget</h3>
<div class="limit"><label>My <select id="limit">{options}</select></label>
<output id="bound" for="slider"></output></div>
<input type="range" id="slider" min="0" max="400" step="1" aria-label="budget">
<p id="verdict" aria-live="polite"></p>
<dl id="details"></dl></div></div>
<h3>The front in figures</h3>
{_front_table(info)}
<p class="downloads"><a download="front.csv" href="data:text/csv;base64,{download}">front.csv</a>
<span>front.json lies beside this page in the run's folder</span></p>"""
    lead = (
        "Every dot is a trained pipeline at its IoU on val, as the search saw it; the front's are numbered. "
        "Hover or tap one for its figures, or move the budget to have a trial named."
    )
    return section("front", "The front", content, lead)


def _front_table(info: Info) -> str:
    head = ["trial", "IoU, test", "IoU, val", "latency", "GFLOPs", "energy", "peak memory"]
    head += ["IoU/GFLOP", "IoU/GFLOP, paper's", "usage", "over random", "oracle's gain", "λ", "S", "grid"]
    rows: list[list[Cell]] = []
    for number in info.front:
        trial, point = info.trial(number), info.point(number)
        val = trial.val
        assert val is not None  # a front member is complete
        test, gain = point.test_iou, gain_captured(val)
        tags = [*(["knee"] if number == info.knee else []), *([trial.tag] if trial.tag else [])]
        rows.append(
            [
                (f"{number}" + (f" ({', '.join(tags)})" if tags else ""), number),
                (f"{test.value:.3f} ({test.low:.3f} … {test.high:.3f})", test.value) if test else ("–", None),
                (f"{val.iou:.3f}", val.iou),
                *(_cost(point.figures, name) for name in ("latency", "gflops", "energy", "memory")),
                (f"{val.iou_per_gflop:.3g}", val.iou_per_gflop),
                (f"{val.iou_per_gflop_paper:.3g}", val.iou_per_gflop_paper),
                words.usage(val.usage),
                (f"{val.random.difference:+.3f}", val.random.difference) if val.random else ("–", None),
                (words.share(gain), gain) if gain is not None else ("–", None),
                (f"{trial.pipeline.cost_weight:.3g}", trial.pipeline.cost_weight),
                (f"{trial.pipeline.mc_samples}", trial.pipeline.mc_samples),
                "{} × {}".format(*trial.pipeline.grid),
            ]
        )
    return table("the front", head, rows)


def _cost(figures: dict[str, float], name: str) -> Cell:
    value = figures.get(name)
    return ("–", None) if value is None else (words.figure(name, value), value)


def gallery_section(info: Info, shots: Gallery) -> str:
    if not shots.trials:
        return ""
    first = info.knee if info.knee in shots.trials else shots.trials[0]
    options = "".join(
        f'<option value="{number}"{" selected" if number == first else ""}>trial {number}</option>'
        for number in shots.trials
    )
    models = _legend((f"f_{i}", MODEL_COLOURS[i]) for i in range(shots.models))
    names = info.run.data.class_names
    classes = _legend((name, CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i, name in enumerate(names))
    content = (
        f'<div class="controls"><label>Show <select id="shots">{options}</select></label></div>'
        f'<p class="legend"><span>Route:</span> {models}</p>'
        f'<p class="legend"><span>Classes:</span> {classes}</p>'
        f'<div class="gallery">{shots.figures}</div>'
    )
    lead = "Each patch carries the number of the model that segmented it; fuller colour, surer policy."
    return section("gallery", "Routes on test images", content, lead)


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f'<span class="key"><i style="background:{colour}"></i>{html.escape(name)}</span>' for name, colour in entries
    )


def course_section(info: Info, important: Sequence[Importances]) -> str:
    if info.history.reason:
        volume = f'<p class="missing">No hypervolume: {html.escape(info.history.reason)}.</p>'
    else:
        reference = ", ".join(words.valued(name, value) for name, value in (info.run.reference or {}).items())
        volume = (
            '<div class="controls"><label>Against <select id="course"><option value="trials">trials</option>'
            '<option value="clock">time</option></select></label></div>'
            '<div class="plot" id="history-plot" role="group" aria-label="hypervolume over the search"></div>'
            f'<p class="lead">Reference point, frozen after the pilot: {html.escape(reference)}.</p>'
        )
    reasons = dict.fromkeys(each.reason for each in important if each.reason)
    bars = '<div class="plot auto" id="importance-plot" role="group" aria-label="parameter importances"></div>'
    if reasons:
        bars = f'<p class="missing">No importances: {html.escape("; ".join(filter(None, reasons)))}.</p>'
    parallel = (
        '<div class="controls">'
        '<label><input type="checkbox" id="parallel-log"> logarithmic cost</label></div>'
        '<div class="wide" tabindex="0" role="region" aria-label="parallel coordinates">'
        '<div id="parallel-plot"></div></div>'
    )
    return "\n".join(
        (
            section("history", "How the search went", volume),
            section(
                "parallel",
                "Parameters and objectives",
                parallel,
                "One line a trial. Drag along an axis to keep the lines that pass there; click it to let go.",
            ),
            section(
                "importance",
                "What decides each objective",
                bars,
                "PED-ANOVA: how far the best trials' values of a parameter differ from all trials'.",
            ),
        )
    )


def provenance_section(info: Info) -> str:
    known = provenance(info)
    machine = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in known.machine)
    parts = [f"<dl>{machine}</dl>" if machine else '<p class="missing">No profile lies in this run.</p>']
    parts.append(table("origins of the figures", ["figure", "how it was obtained", "source or reason"], known.origins))
    if known.predictions:
        head = ["trial", "predicted", "measured end to end", "measured / predicted", "machine’s pace"]
        parts += [
            "<h3>Predicted beside measured</h3>",
            "<p>Pace: profiled steps timed again, in turns with the test images, over their latency in the profile. "
            "Where measured / predicted is as far from 1, it is the machine that has changed since.</p>",
            table("predicted beside measured", head, known.predictions),
        ]
    if known.entries:
        inner = table("measured workloads", list(ENTRY_HEAD), known.entries)
        parts.append(f"<details><summary>All {len(known.entries)} measured workloads</summary>{inner}</details>")
    return section("provenance", "Where the numbers come from", "".join(parts))


def trials_section(info: Info) -> str:
    head = ["trial", "state", "tag", "IoU, val", "latency", "GFLOPs", "energy", "took", "reason and warnings"]
    rows: list[list[Cell]] = []
    figures = {point.trial: point.figures for point in info.points}
    for trial in info.trials:
        own = figures.get(trial.number, {})
        rows.append(
            [
                (str(trial.number), trial.number),
                trial.state,
                trial.tag,
                (f"{own['iou']:.3f}", own["iou"]) if own else ("–", None),
                *(_cost(own, name) for name in ("latency", "gflops", "energy")),
                (words.time(trial.seconds), trial.seconds),
                "; ".join(filter(None, [trial.reason, *trial.warnings])),
            ]
        )
    content = f"<details><summary>All {len(rows)} trials, failed and pruned ones with their reasons</summary>"
    return section("trials", "All trials", content + table("all trials", head, rows) + "</details>")


def table(name: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table that can be scrolled sideways and sorted by any column."""
    heads = "".join(f'<th scope="col"><button type="button">{html.escape(text)}</button></th>' for text in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="table: {name}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        kind = ' class="long"' if len(cell) > 40 else ""
        return f"<td{kind}>{html.escape(cell)}</td>"
    text, key = cell
    order = "" if key is None else f' data-key="{key!r}"'
    return f'<td class="number"{order}>{html.escape(text)}</td>'
