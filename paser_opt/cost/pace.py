"""How fast a machine runs now: one that others use does not keep the speed at which it was profiled."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from ..records import Entry
from .workload import Workload

__all__ = ["at_profile_pace", "pace_now", "pace_probes"]


def pace_probes(steps: Iterable[Workload], entries: Mapping[str, Entry]) -> list[Workload]:
    """At most three of the networks among ``steps`` whose latency was measured, from a fast one to a slow one."""
    networks = [load for load in steps if load.architecture and entries[load.key].latency.how == "measured"]
    ranked = sorted(networks, key=lambda load: entries[load.key].latency.median_s)
    return [ranked[i] for i in sorted({len(ranked) * quarter // 4 for quarter in (1, 2, 3)})] if ranked else []


def pace_now(probes: Sequence[Workload], medians_s: Sequence[float], entries: Mapping[str, Entry]) -> float | None:
    """Median ratio of what the probes take now to what ``entries`` says they took; None without probes.

    1.1: the machine takes 10 % longer than when it was profiled.
    """
    then_s = [entries[load.key].latency.median_s for load in probes]
    return statistics.median(now / then for now, then in zip(medians_s, then_s, strict=True)) if probes else None


def at_profile_pace(entry: Entry, pace: float) -> Entry:
    """An entry taken at another ``pace`` as it would stand beside the profile's others: its time divided by it.

    Estimated energy is time × power and goes with it; metered energy stays as it was metered.
    """
    taken, energy = entry.latency, entry.energy
    shown = f"networks profiled before took {pace:.2f} × their time just then, divided by that"
    latency = taken.model_copy(
        update={
            "median_s": taken.median_s / pace,
            "p95_s": taken.p95_s / pace if taken.p95_s else None,
            "low_s": taken.low_s / pace,
            "high_s": taken.high_s / pace,
            "verdict": f"{taken.verdict}; {shown}",
            "pace": pace,
        }
    )
    if energy.how == "estimated" and energy.gross_j:
        energy = energy.model_copy(update={"gross_j": energy.gross_j / pace})
    return entry.model_copy(update={"latency": latency, "energy": energy})
