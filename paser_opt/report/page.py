"""One offline report.html, and front.csv and front.json beside it."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from ..config import OBJECTIVES
from ..records import Quantity, TrialRecord, write_text
from ..runs import RunFolder
from . import words
from .figures import (
    MODEL_COLOURS,
    front_figure,
    history_figure,
    importance_figure,
    parallel_figure,
)
from .findings import answer, findings
from .gallery import CLASS_COLOURS, Gallery, gallery
from .importance import Importances, importances
from .info import Info, collect, gain_captured
from .provenance import ENTRY_HEAD, provenance

__all__ = ["write_report"]

Cell = str | tuple[str, float | None]
"""Text, or (text, what it is sorted by)."""


def write_report(run: RunFolder) -> Path:
    """Write report.html, front.csv and front.json into the run's folder; returns the page's path.

    Reads the run folder only and needs no network, then or when the page is opened. Raises RunError for a record
    that is missing or damaged.
    """
    info = collect(run)
    shots = gallery(run)
    important = importances(info.trials, info.objectives)
    table = front_csv(info)
    write_text(run.path / "front.csv", table)
    write_text(run.path / "front.json", front_json(info))
    write_text(run.report, _page(info, shots, important, table))
    return run.report


# --- files beside the page ----------------------------------------------------------------------------


def _flat(info: Info, trial: TrialRecord) -> dict[str, Any]:
    """One front member as a flat row, SI units."""
    point, val = info.point(trial.number), trial.val
    assert val is not None  # a front member is complete
    row: dict[str, Any] = {"trial": trial.number, "tag": trial.tag, "knee": trial.number == info.knee}
    row |= {"iou_val": val.iou, "iou_val_low": val.iou_low, "iou_val_high": val.iou_high}
    test = point.test_iou
    row |= {
        "iou_test": test.value if test else None,
        "iou_test_low": test.low if test else None,
        "iou_test_high": test.high if test else None,
    }
    row |= {
        "gflops": val.cost.gflops,
        "latency_s": val.cost.latency_s.value,
        "latency_how": _how(val.cost.latency_s),
        "energy_j": val.cost.energy_j.value,
        "energy_how": _how(val.cost.energy_j),
        "memory_bytes": val.cost.memory_bytes.value,
        "iou_per_gflop": val.iou_per_gflop,
        "iou_per_gflop_paper": val.iou_per_gflop_paper,
    }
    row |= {f"usage_f{i}": part for i, part in enumerate(val.usage)}
    return row | {f"param_{name}": value for name, value in trial.params.items()}


def _how(value: Quantity) -> str | None:
    return None if value.value is None else value.how


def front_csv(info: Info) -> str:
    """The front as CSV, one row a member; a figure that is missing is an empty cell."""
    rows = [_flat(info, info.trial(number)) for number in info.front]
    names = dict.fromkeys(name for row in rows for name in row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def front_json(info: Info) -> str:
    """The front as JSON: the study's identity and the members' whole records."""
    content = {
        "study": info.run.study.name,
        "device": info.run.study.device,
        "objectives": {name: OBJECTIVES[name] for name in info.objectives},
        "reference": info.run.reference,
        "knee": info.knee,
        "front": [info.trial(number).model_dump(mode="json") for number in info.front],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


# --- the page -----------------------------------------------------------------------------------------


def _page(info: Info, shots: Gallery, important: Sequence[Importances], table: str) -> str:
    run, empty = info.run, info.knee is None
    body = [_findings(info)]
    if not empty:
        body += [_front(info, table), _gallery(info, shots), _course(info, important)]
    body += [_provenance(info), _trials(info)]
    return Template(_asset("page.html")).substitute(
        title=html.escape(f"{run.study.name} – paser-opt report"),
        css=_asset("page.css"),
        js=_asset("page.js"),
        plotly="" if empty else f"<script>{get_plotlyjs()}</script>",
        data=embedded({} if empty else _data(info, shots, important)),
        study=html.escape(run.study.name),
        answer=html.escape(answer(info)),
        facts=_facts(info),
        body="\n".join(body),
        footer=html.escape(
            f"Made by paser-opt {run.versions.get('paser_opt', '')} from run.json, trials, profiles and gallery "
            f"of this run. Data fingerprint {run.data.fingerprint}."
        ),
    )


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def embedded(content: Any) -> str:
    """JSON that cannot end or open anything inside a <script>."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _data(info: Info, shots: Gallery, important: Sequence[Importances]) -> dict[str, Any]:
    """What the page's script needs: figures, points, images."""
    iou = [point.figures["iou"] for point in info.points]
    figures = {
        f"front-{i}": json.loads(front_figure(info, front).to_json()) for i, front in enumerate(info.fronts)
    }
    if info.history.volume:
        figures["history"] = json.loads(history_figure(info.history).to_json())
    if any(each.shares for each in important):
        figures["importance"] = json.loads(importance_figure(important).to_json())
    for name, log in (("parallel", False), ("parallel-log", True)):
        figures[name] = json.loads(parallel_figure(info.columns, iou, log=log).to_json())
    return {
        "figures": figures,
        "knee": info.knee,
        "titles": words.TITLES,
        "images": shots.images,
        "points": [
            {
                "trial": point.trial,
                "tag": point.tag,
                "front": point.trial in info.front,
                "figures": point.figures,
                "rows": point.rows,
            }
            for point in info.points
        ],
    }


def _facts(info: Info) -> str:
    run, data = info.run, info.run.data
    states = [trial.state for trial in info.trials]
    facts = [
        run.study.description,
        f"device {run.study.device}",
        f"{data.kind} images, {data.height} × {data.width}, {len(data.class_names)} classes",
        ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed")) + " trials",
        f"{words.time(max((trial.clock_s for trial in info.trials), default=0.0))} of search",
        f"started {run.created}",
    ]
    return " · ".join(html.escape(fact) for fact in facts if fact)


def _section(name: str, title: str, content: str, lead: str = "") -> str:
    lead = f'<p class="lead">{html.escape(lead)}</p>' if lead else ""
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{lead}{content}</section>'


def _findings(info: Info) -> str:
    items = "".join(
        f'<li class="{"serious" if each.serious else "note"}"><b>{"Warning: " if each.serious else ""}'
        f"{html.escape(each.title)}.</b> {html.escape(each.text)}</li>"
        for each in findings(info)
    )
    return _section("findings", "What to know first", f"<ul>{items}</ul>") if items else ""


def _front(info: Info, table: str) -> str:
    tabs = "".join(
        f'<option value="front-{i}">{words.TITLES[front.y]} against {words.TITLES[front.x]}</option>'
        for i, front in enumerate(info.fronts)
    )
    choice = f'<label>Show <select id="pair">{tabs}</select></label>' if len(info.fronts) > 1 else ""
    limits = [name for name in OBJECTIVES if any(name in point.figures for point in info.points)]
    options = "".join(
        f'<option value="{name}">{words.TITLES[name]} at {"least" if name == "iou" else "most"}</option>'
        for name in sorted(limits, key=lambda name: (name not in info.objectives, name == "iou"))
    )
    download = base64.b64encode(table.encode()).decode()
    content = f"""
<div class="controls">{choice}
<label><input type="checkbox" id="log"> logarithmic cost</label>
<label><input type="checkbox" id="only"> front only</label>
<label><input type="checkbox" id="alone" checked> single models</label>
<label><input type="checkbox" id="test" checked> test IoU</label></div>
<div class="decide"><div class="plot tall" id="front-plot" role="img" aria-label="Pareto front; the table below holds its figures"></div>
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
        "Every dot is a trained pipeline, placed by its IoU on val, as the search saw it; members of the front carry "
        "their number. Hover or tap one for its figures, or move the budget to have a trial named."
    )
    return _section("front", "The front", content, lead)


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
    return _table("the front", head, rows)


def _cost(figures: dict[str, float], name: str) -> Cell:
    value = figures.get(name)
    return ("–", None) if value is None else (words.figure(name, value), value)


def _gallery(info: Info, shots: Gallery) -> str:
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
        f'<p class="legend"><span>Route:</span> {models}</p><p class="legend"><span>Classes:</span> {classes}</p>'
        f'<div class="gallery">{shots.figures}</div>'
    )
    lead = "Test images: each patch carries the number of the model that segmented it; fuller colour, surer policy."
    return _section("gallery", "Routes on test images", content, lead)


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f'<span class="key"><i style="background:{colour}"></i>{html.escape(name)}</span>'
        for name, colour in entries
    )


def _course(info: Info, important: Sequence[Importances]) -> str:
    if info.history.reason:
        volume = f'<p class="missing">No hypervolume: {html.escape(info.history.reason)}.</p>'
    else:
        reference = ", ".join(
            f"{words.TITLES[name]} {words.figure(name, value)}"
            for name, value in (info.run.reference or {}).items()
        )
        volume = (
            '<div class="controls"><label>Against <select id="course"><option value="trials">trials</option>'
            '<option value="clock">time</option></select></label></div>'
            '<div class="plot" id="history-plot" role="img" aria-label="hypervolume over the search"></div>'
            f'<p class="lead">Reference point, frozen after the pilot: {html.escape(reference)}.</p>'
        )
    reasons = dict.fromkeys(each.reason for each in important if each.reason)
    bars = '<div class="plot auto" id="importance-plot" role="img" aria-label="importance of each parameter"></div>'
    if reasons:
        bars = f'<p class="missing">No importances: {html.escape("; ".join(filter(None, reasons)))}.</p>'
    parallel = (
        '<div class="controls"><label><input type="checkbox" id="parallel-log"> logarithmic cost</label></div>'
        '<div class="wide" tabindex="0" role="region" aria-label="parallel coordinates"><div id="parallel-plot"></div></div>'
    )
    return "\n".join(
        (
            _section("history", "How the search went", volume),
            _section(
                "parallel",
                "Parameters and objectives",
                parallel,
                "One line a trial. Drag along an axis to keep the lines that pass there; click it to let go.",
            ),
            _section(
                "importance",
                "What decides each objective",
                bars,
                "PED-ANOVA: how far the best trials' values of a parameter differ from all trials'.",
            ),
        )
    )


def _provenance(info: Info) -> str:
    known = provenance(info)
    machine = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in known.machine
    )
    parts = [f"<dl>{machine}</dl>" if machine else '<p class="missing">No profile lies in this run.</p>']
    parts.append(
        _table("origins of the figures", ["figure", "how it was obtained", "source or reason"], known.origins)
    )
    if known.predictions:
        head = ["trial", "predicted", "measured end to end", "measured / predicted"]
        parts += [
            "<h3>Predicted beside measured</h3>",
            _table("predicted beside measured", head, known.predictions),
        ]
    if known.entries:
        inner = _table("measured workloads", list(ENTRY_HEAD), known.entries)
        parts.append(
            f"<details><summary>All {len(known.entries)} measured workloads</summary>{inner}</details>"
        )
    return _section("provenance", "Where the numbers come from", "".join(parts))


def _trials(info: Info) -> str:
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
    return _section("trials", "All trials", content + _table("all trials", head, rows) + "</details>")


def _table(name: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table that can be scrolled sideways and sorted by any column."""
    heads = "".join(
        f'<th scope="col"><button type="button">{html.escape(text)}</button></th>' for text in head
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{name}"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{html.escape(cell)}</td>"
    text, key = cell
    order = "" if key is None else f' data-key="{key!r}"'
    return f'<td class="number"{order}>{html.escape(text)}</td>'
