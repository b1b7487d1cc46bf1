"""Figures in the words and units a person reads."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import UNetConfig
from ..records import Energy, Quantity

__all__ = [
    "HOW",
    "TITLES",
    "end_to_end",
    "energy",
    "figure",
    "model",
    "quantity",
    "scale",
    "share",
    "span",
    "time",
    "usage",
    "valued",
]

TITLES = {"iou": "IoU", "gflops": "GFLOPs", "latency": "latency", "energy": "energy", "memory": "peak memory"}

HOW = {
    "measured": "measured on the device",
    "counter": "read from a hardware energy counter",
    "sampled": "integrated from a power sensor",
    "counted": "counted exactly",
    "predicted": "predicted: composed from measured parts",
    "estimated": "estimated by a model, not measured",
}

_GAP = "\u00a0"
"""Keeps a number and its unit on one line."""

_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "iou": ((1.0, ""),),
    "gflops": ((1.0, "GFLOPs"),),
    "latency": ((1e6, "µs"), (1e3, "ms"), (1.0, "s")),
    "energy": ((1e6, "µJ"), (1e3, "mJ"), (1.0, "J")),
    "memory": ((2**-10, "KiB"), (2**-20, "MiB"), (2**-30, "GiB")),
}


def scale(objective: str, largest: float) -> tuple[float, str]:
    """(factor, unit) in which a value of ``largest`` (SI units, bytes) is at least one, where it can be."""
    steps = _SCALES[objective]
    return next((step for step in reversed(steps) if abs(largest) * step[0] >= 1), steps[0])


def figure(objective: str, value: float) -> str:
    """One value with its unit: 0.0063 s → "6.3 ms"; IoU with three decimals."""
    if objective == "iou":
        return f"{value:.3f}"
    factor, unit = scale(objective, value)
    return f"{_short(value * factor)}{_GAP}{unit}"


def valued(objective: str, value: float) -> str:
    """A value that says what it is: "IoU 0.712", "6.3 ms", "12 mJ of energy"."""
    text = figure(objective, value)
    if objective == "iou":
        return f"IoU {text}"
    return text if objective in ("latency", "gflops") else f"{text} of {TITLES[objective]}"


def time(seconds: float) -> str:
    """Time of a whole trial or search."""
    if seconds < 1:
        return figure("latency", seconds)
    if seconds < 90:
        return f"{_short(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _short(value: float) -> str:
    """Three significant digits, thousands kept whole."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def span(value: float, low: float | None, high: float | None) -> str:
    """An IoU with its 95 % interval."""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} (95 %: {low:.3f} … {high:.3f})"


def share(part: float) -> str:
    digits = 1 if 0 < part < 0.1 or 0.99 < part < 1 else 0
    return f"{100 * part:.{digits}f}{_GAP}%"


def end_to_end(latency: Quantity, pace: float | None) -> str:
    """A latency as it was measured, and how the machine ran just then."""
    return quantity("latency", latency) + (f"; profiled steps took {pace:.2f} × their time then" if pace else "")


def quantity(objective: str, value: Quantity) -> str:
    """A cost with its interval and its origin, or why it is missing."""
    if value.value is None:
        return f"missing: {value.reason}"
    text = figure(objective, value.value)
    if value.low is not None and value.high is not None:
        text += f" ({figure(objective, value.low)} … {figure(objective, value.high)})"
    return f"{text}, {value.how}"


def energy(value: Energy) -> str:
    if value.gross_j is None:
        return f"missing: {value.reason or 'no reason was recorded'}"
    net = "" if value.net_j is None else f", net of idle {figure('energy', value.net_j)}"
    return f"{figure('energy', value.gross_j)}{net}"


def model(config: UNetConfig) -> str:
    scaled = "" if config.scale == 1 else f", input × {config.scale:g}"
    return f"base {config.base}, depth {config.depth}{scaled}"


def usage(shares: Sequence[float]) -> str:
    return " · ".join(f"f_{i} {share(part)}" for i, part in enumerate(shares))
