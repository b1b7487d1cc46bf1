"""Images and masks: read or made, checked, divided, standardised, fingerprinted.

    folder · synthetic · mnist → RawSplit × (train, val, test) → assemble → SegmentationData

A new kind is one file with one function and one entry of DATASETS.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import DataConfig
from ..progress import Progress, Silent
from . import folder, mnist, synthetic
from .raw import PARTS, Part, RawSplit, SegmentationData, assemble

__all__ = ["DATASETS", "PARTS", "Part", "SegmentationData", "load"]

Splits = tuple[RawSplit, RawSplit, RawSplit, tuple[str, ...]]

DATASETS: dict[str, Callable[[DataConfig, Progress], Splits]] = {
    "folder": folder.read,
    "synthetic": synthetic.make,
    "mnist": mnist.make,
}
"""Kind → function to (train, val, test, class names)."""


def load(config: DataConfig, *, progress: Progress | None = None) -> SegmentationData:
    """The data of a study. Raises DataError, with the file, before anything is trained."""
    return assemble(config, *DATASETS[config.kind](config, progress or Silent()))
