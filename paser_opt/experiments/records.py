"""What an experiment leaves behind: sheets of figures, and where they come from; no torch in here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..compare.records import Difference, Equivalence, Estimate
from ..records import FORMAT, Record

__all__ = ["Cell", "Column", "ExperimentRecord", "Findings", "Kind", "Origin", "Sheet"]

Kind = Literal["text", "iou", "latency", "gflops", "ratio", "share", "change", "difference"]
"""Of a column's figures: IoU, seconds, GFLOPs in the full convention, a plain ratio, a share of 1, a change relative
to 1 or in shares, a difference of IoU."""

Cell = str | float | Estimate | Difference | Equivalence | None
"""None: there is no such figure, and the sheet's notes say why."""


class Column(Record):
    name: str
    kind: Kind = "text"


class Sheet(Record):
    """One table of results."""

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    notes: list[str] = Field(default_factory=list)

    def column(self, name: str) -> list[Cell]:
        """The cells under one heading."""
        index = next(i for i, column in enumerate(self.columns) if column.name == name)
        return [row[index] for row in self.rows]


class Findings(Record):
    """What one experiment found."""

    sheets: list[Sheet]
    notes: list[str] = Field(default_factory=list, description="how it was done")


class Origin(Record):
    """Where results come from: enough to make them again."""

    study: str
    run: str
    trial: int
    pipeline: str = Field(description="the trial's pipeline in words")
    seeds: list[int]
    images: list[int] = Field(description="test images of each seed")
    fingerprint: str = Field(description="of the data of seed 0")
    device: str
    machine: str
    commands: list[str]
    versions: dict[str, str]
    created: str


class ExperimentRecord(Record):
    """One experiment on one trial, whole."""

    format: int = FORMAT
    name: str
    question: str
    origin: Origin
    resamples: int
    findings: Findings
