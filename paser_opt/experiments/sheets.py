"""Sheets as text: cells in the words a person reads, and Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from ..compare.records import Difference, Equivalence, Estimate
from ..report import words
from .records import Cell, Kind, Sheet

__all__ = ["cell_text", "listed", "markdown", "markdown_table", "row_texts"]


def cell_text(cell: Cell, kind: Kind) -> str:
    """ "0.712 (0.700 … 0.724)", "+0.012 (+0.003 … +0.021), p 0.02: better", "–" for what there is none of."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float):
        return _figure(cell, kind)
    point = cell.value if isinstance(cell, Estimate) else cell.difference
    interval = f"{_figure(point, kind)} ({_figure(cell.low, kind)} … {_figure(cell.high, kind)})"
    if isinstance(cell, Difference | Equivalence):
        return f"{interval}, p {cell.p_holm:.2g}: {cell.verdict}"
    return interval


def _figure(value: float, kind: Kind) -> str:
    if kind in ("iou", "latency", "gflops"):
        return words.figure(kind, value)
    if kind == "share":
        return f"{100 * value:.1f}\u00a0%"
    if kind == "change":
        return f"{100 * value:+.1f}\u00a0%"
    return f"{value:+.3f}" if kind == "difference" else f"{value:.3g}"


def markdown(sheet: Sheet, level: int = 3) -> str:
    """A heading, the table, its notes."""
    parts = [
        f"{'#' * level} {sheet.title}",
        markdown_table([column.name for column in sheet.columns], row_texts(sheet)),
    ]
    return "\n\n".join([*parts, listed(sheet.notes)]).rstrip() + "\n"


def listed(notes: Iterable[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)


def row_texts(sheet: Sheet) -> list[list[str]]:
    """Every cell as text."""
    return [
        [cell_text(cell, column.kind) for cell, column in zip(row, sheet.columns, strict=True)] for row in sheet.rows
    ]


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |"

    return "\n".join([line(names), line(["---"] * len(names)), *(line(row) for row in rows)])
