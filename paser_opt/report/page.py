"""One offline report.html, and front.csv and front.json beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from ..compare.records import Comparison
from ..records import read_record, write_text
from ..runs import RunFolder
from . import words
from .compared import compared_section
from .exports import front_csv, front_json
from .figures import front_figure, history_figure, importance_figure, parallel_figure
from .findings import answer
from .gallery import Gallery, gallery
from .importance import Importances, importances
from .info import Info, collect
from .sections import (
    course_section,
    facts,
    findings_section,
    front_section,
    gallery_section,
    provenance_section,
    trials_section,
)

__all__ = ["filled", "write_report"]

COMPARED = "compare.json"
"""The record that `paser-opt compare` leaves in a run."""


def write_report(run: RunFolder) -> Path:
    """Write report.html, front.csv and front.json into the run's folder; returns the page's path.

    Reads the run folder only and needs no network, then or when the page is opened. Raises RunError for a
    record that is missing or damaged.
    """
    info = collect(run)
    shots = gallery(run)
    record = run.comparison / COMPARED
    compared = read_record(Comparison, record) if record.is_file() else None
    important = importances(info.trials, info.objectives)
    table = front_csv(info)
    write_text(run.path / "front.csv", table)
    write_text(run.path / "front.json", front_json(info))
    write_text(run.report, _page(info, shots, important, table, compared))
    return run.report


def _page(info: Info, shots: Gallery, important: Sequence[Importances], table: str, compared: Comparison | None) -> str:
    run, empty = info.run, info.knee is None
    body = [findings_section(info), provenance_section(info), trials_section(info)]
    if compared is not None:
        body[1:1] = [compared_section(compared, "compare/compare.html")]
    if not empty:
        body[:0] = [front_section(info, table)]
        body[2:2] = [gallery_section(info, shots), course_section(info, important)]
    return filled(
        title=f"{run.study.name} – paser-opt report",
        study=run.study.name,
        answer=answer(info),
        facts=facts(info),
        body=body,
        data={} if empty else _data(info, shots, important),
        footer=f"Made by paser-opt {run.versions.get('paser-opt', '')} from this run's records. "
        f"Data fingerprint {run.data.fingerprint}.",
    )


def filled(
    *, title: str, study: str, answer: str, facts: str, body: Sequence[str], data: dict[str, Any], footer: str
) -> str:
    """The page's frame with everything in it; ``facts`` and ``body`` are HTML, the other texts plain.

    ``data`` goes to the page's script: {} where nothing is drawn, {"plots": {element id: figure}} for figures
    without controls.
    """
    return Template(_asset("page.html")).substitute(
        title=html.escape(title),
        css=_asset("page.css"),
        js=_asset("page.js"),
        plotly=f"<script>{get_plotlyjs()}</script>" if data else "",
        data=embedded(data),
        study=html.escape(study),
        answer=html.escape(answer),
        facts=facts,
        body="\n".join(body),
        footer=html.escape(footer),
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
    figures = {f"front-{i}": json.loads(front_figure(info, front).to_json()) for i, front in enumerate(info.fronts)}
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
                "test": point.test_iou.value if point.test_iou else None,
                "rows": point.rows,
            }
            for point in info.points
        ],
    }
