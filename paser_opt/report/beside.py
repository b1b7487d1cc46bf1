"""A run's fronts on several devices, side by side: where the best pipeline differs."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from ..errors import RunError
from ..records import write_text
from ..runs import RunFolder
from . import words
from .figures import MODEL_COLOURS, axis_title, hover, plain_layout
from .info import Info, collect
from .page import filled
from .sections import Cell, section, table

__all__ = ["cheapest", "devices_figure", "devices_headline", "write_devices"]


def write_devices(run: RunFolder, devices: Sequence[str]) -> Path:
    """Write devices.html and devices.json into the run's folder: its own front beside those retargeted to ``devices``.

    Returns the page's path. Raises RunError for a device that the run was not retargeted to, or not as it is now.
    """
    own = collect(run)
    others = [name for name in dict.fromkeys(devices) if name != own.run.study.device]
    infos = [own, *(_retargeted(run, own, name) for name in others)]
    write_text(run.path / "devices.json", json.dumps(_content(infos), indent=1, ensure_ascii=False) + "\n")
    page = run.path / "devices.html"
    write_text(page, _page(infos))
    return page


def _retargeted(run: RunFolder, own: Info, device: str) -> Info:
    folder, mend = run.retargeted(device), f"`paser-opt retarget {run.path} --device {device}`"
    if not folder.run_file.is_file():
        raise RunError(f"{run.path} has no front for {device}: {mend} makes it")
    info = collect(folder)
    expected = own.run.study.model_copy(update={"device": device})
    known = {trial.number for trial in info.trials}
    same = info.run.study == expected and info.run.data.fingerprint == own.run.data.fingerprint
    if not same or any(point.trial not in known for point in own.points):
        raise RunError(f"{folder.path} is not {run.path} as it is now: {mend} again, or move it away first")
    return info


def _cost(info: Info) -> str:
    return next(name for name in info.objectives if name != "iou")


def cheapest(info: Info, iou: float) -> int | None:
    """The trial that reaches ``iou`` on val at the least of the first cost; None where none does."""
    reaching = [point for point in info.points if point.figures["iou"] >= iou]
    return min(reaching, key=lambda point: point.figures[_cost(info)]).trial if reaching else None


def devices_headline(infos: Sequence[Info]) -> str:
    """Where the best pipeline differs: at each front's knee, and at the IoU of the first device's knee."""
    own = infos[0]
    if empty := [info.run.study.device for info in infos if info.knee is None]:
        return f"No trial is complete on {' and '.join(empty)}"
    assert own.knee is not None  # none is empty
    knees = {info.run.study.device: info.knee for info in infos}
    level = own.point(own.knee).figures["iou"]
    same = len(set(knees.values())) == 1
    at = [f"trial {number} on {device}" for device, number in knees.items()]
    found = [_at_level(info, level) for info in infos]
    return (
        f"Trial {own.knee} is the knee of every front" if same else f"The knees differ: {', '.join(at)}"
    ) + f". IoU {level:.3f} costs least with {', '.join(found)}"


def _at_level(info: Info, level: float) -> str:
    device, number = info.run.study.device, cheapest(info, level)
    if number is None:
        return f"no trial on {device}"
    value = words.valued(_cost(info), info.point(number).figures[_cost(info)])
    return f"trial {number} on {device} ({value})"


def _content(infos: Sequence[Info]) -> dict[str, Any]:
    fronts = [
        {
            "device": info.run.study.device,
            "knee": info.knee,
            "front": [{"trial": number, "figures": info.point(number).figures} for number in info.front],
        }
        for info in infos
    ]
    return {"study": infos[0].run.study.name, "headline": devices_headline(infos), "fronts": fronts}


def _page(infos: Sequence[Info]) -> str:
    run = infos[0].run
    drawn = '<div class="plot tall" id="plot-devices" role="group" aria-label="fronts; the table holds them"></div>'
    lead = "IoU on val. The UNets are the same on every device; each front's policies were trained for its own costs."
    figure = devices_figure(infos)
    return filled(
        title=f"{run.study.name} – fronts by device",
        study=run.study.name,
        answer=devices_headline(infos),
        facts=" · ".join(html.escape(f"device {info.run.study.device}") for info in infos),
        body=[section("devices", "The fronts side by side", drawn + _table(infos), lead)],
        data={"plots": {"plot-devices": json.loads(figure.to_json())}},
        footer=f"Made by paser-opt from the records of {len(infos)} runs. Data fingerprint {run.data.fingerprint}.",
    )


def _table(infos: Sequence[Info]) -> str:
    """Every trial that is on one of the fronts, on every device."""
    cost = _cost(infos[0])
    head = ["trial"]
    for info in infos:
        device = info.run.study.device
        head += [f"IoU, {device}", f"{words.TITLES[cost]}, {device}", f"front, {device}"]
    rows = []
    for number in sorted({number for info in infos for number in info.front}):
        row: list[Cell] = [(str(number), number)]
        for info in infos:
            figures = {point.trial: point.figures for point in info.points}.get(number)
            if figures is None:
                row += [("–", None), ("–", None), info.trial(number).reason]
                continue
            row.append((f"{figures['iou']:.3f}", figures["iou"]))
            row.append((f"{words.figure(cost, figures[cost])}{_how(info, number, cost)}", figures[cost]))
            row.append("knee" if number == info.knee else "front" if number in info.front else "")
        rows.append(row)
    return table("fronts by device", head, rows)


def _how(info: Info, number: int, cost: str) -> str:
    val = info.trial(number).val
    assert val is not None  # a point is a complete trial
    origins = {"latency": val.cost.latency_s, "energy": val.cost.energy_j, "memory": val.cost.memory_bytes}
    return f", {origins[cost].how}" if cost in origins else ", counted"


def devices_figure(infos: Sequence[Info]) -> go.Figure:
    """The fronts over the first cost, a step line a device; logarithmic, for devices are far apart."""
    cost = _cost(infos[0])
    factor, unit = words.scale(cost, max((point.figures[cost] for info in infos for point in info.points), default=1.0))
    figure = go.Figure(layout=plain_layout())
    for i, info in enumerate(infos):
        members = [info.point(number) for number in info.front]
        figure.add_scatter(
            x=[point.figures[cost] * factor for point in members],
            y=[point.figures["iou"] for point in members],
            name=info.run.study.device,
            mode="lines+markers+text",
            line={"shape": "hv", "color": MODEL_COLOURS[i % len(MODEL_COLOURS)]},
            marker={"size": [14 if point.trial == info.knee else 9 for point in members]},
            text=[str(point.trial) if point.trial == info.knee else "" for point in members],
            textposition="top left",
            hovertext=[hover(point) for point in members],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    figure.update_xaxes(title=axis_title(cost, unit, upwards=False), type="log")
    figure.update_yaxes(title=axis_title("iou", "", upwards=True))
    return figure
