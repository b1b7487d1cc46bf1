"""What is measured and kept, as strict records with a JSON round trip; no torch in here.

A number never travels without its origin: ``how`` says whether it was measured, counted or estimated,
and a figure that is missing is ``None`` with a ``reason``.
"""

from .base import FORMAT, How, Record, make_room, read_record, write_bytes, write_text
from .measurements import (
    Agreement,
    Energy,
    Entry,
    Latency,
    Machine,
    Memory,
    Profile,
    Quantity,
    RoutePair,
    Validation,
    Work,
)
from .results import (
    STEPS,
    Alone,
    Cost,
    DataSummary,
    Evaluation,
    GalleryItem,
    Reward,
    Rivalry,
    RunRecord,
    StaticFront,
    StaticModel,
    TrialRecord,
    Versus,
)

__all__ = [
    "FORMAT",
    "STEPS",
    "Agreement",
    "Alone",
    "Cost",
    "DataSummary",
    "Energy",
    "Entry",
    "Evaluation",
    "GalleryItem",
    "How",
    "Latency",
    "Machine",
    "Memory",
    "Profile",
    "Quantity",
    "Record",
    "Reward",
    "Rivalry",
    "RoutePair",
    "RunRecord",
    "StaticFront",
    "StaticModel",
    "TrialRecord",
    "Validation",
    "Versus",
    "Work",
    "make_room",
    "read_record",
    "write_bytes",
    "write_text",
]
