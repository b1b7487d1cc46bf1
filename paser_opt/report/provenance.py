"""Where the run's numbers come from: machine, origins, and what was predicted beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..records import Latency, Machine, Profile, Quantity, TrialRecord
from . import words
from .info import Info

__all__ = ["Provenance", "provenance"]


@dataclass(frozen=True)
class Provenance:
    """Tables of text."""

    machine: tuple[tuple[str, str], ...]
    origins: tuple[tuple[str, str, str], ...]
    """(figure, how it was obtained, source or reason it is missing)"""
    entries: tuple[tuple[str, ...], ...]
    """one row a measured workload: ENTRY_HEAD"""
    predictions: tuple[tuple[str, ...], ...]
    """(trial, predicted, measured end to end, measured / predicted, the machine's pace)"""


ENTRY_HEAD = (
    "device",
    "workload",
    "batch",
    "parameters",
    "GMAC",
    "latency, median",
    "p95",
    "energy",
    "stability",
)


def provenance(info: Info) -> Provenance:
    """Of everything shown in the report."""
    return Provenance(
        machine=tuple(row for profile in info.profiles.values() for row in _machine(profile.machine, profile)),
        origins=_origins(info),
        entries=tuple(row for device, profile in info.profiles.items() for row in _entries(device, profile)),
        predictions=_predictions(info.trials),
    )


def _machine(machine: Machine, profile: Profile) -> list[tuple[str, str]]:
    rows = [
        ("device", machine.device),
        ("system", machine.system),
        ("processor", machine.processor),
    ]
    if machine.cores:
        rows.append(("cores", f"{machine.cores}, {machine.threads} thread(s) used"))
    if machine.memory_bytes is not None:
        rows.append(("memory", words.figure("memory", machine.memory_bytes)))
    if machine.accelerator:
        rows.append(("accelerator", machine.accelerator))
    rows.append(("runtime", f"{machine.runtime}, {machine.precision}"))
    rows += [(name, version) for name, version in machine.versions.items()]
    rows += [(name, state) for name, state in machine.state.items()]
    rows.append(("profiled", f"{profile.created}, {words.time(profile.seconds)}"))
    return rows


def _origins(info: Info) -> tuple[tuple[str, str, str], ...]:
    rows = [
        (
            "IoU",
            "counted exactly",
            "mean over classes of the summed confusion matrix's IoU; interval: 95 % bootstrap",
        ),
        (
            "GFLOPs",
            words.HOW["counted"],
            "fvcore's multiply-accumulates × 2; operations without a rule: " + _uncounted(info),
        ),
    ]
    costs = [trial.val.cost for trial in info.trials if trial.val]
    for name, values in (
        ("latency", [cost.latency_s for cost in costs]),
        ("energy", [cost.energy_j for cost in costs]),
        ("memory", [cost.memory_bytes for cost in costs]),
    ):
        rows += [(words.TITLES[name], *origin) for origin in dict.fromkeys(map(_origin, values))]
    return tuple(rows)


def _origin(value: Quantity) -> tuple[str, str]:
    if value.value is None:
        return "missing", value.reason or ""
    return words.HOW[value.how], value.source


def _uncounted(info: Info) -> str:
    names = {name for profile in info.profiles.values() for e in profile.entries.values() for name in e.uncounted}
    return ", ".join(sorted(names)) or "none"


def _entries(device: str, profile: Profile) -> list[tuple[str, ...]]:
    return [
        (
            device,
            entry.key,
            str(entry.batch),
            f"{entry.params:,}",
            f"{entry.macs / 1e9:.3g}",
            f"{words.figure('latency', entry.latency.median_s)} "
            f"({words.figure('latency', entry.latency.low_s)} … "
            f"{words.figure('latency', entry.latency.high_s)}, {_samples(entry.latency)})",
            "too few samples" if entry.latency.p95_s is None else words.figure("latency", entry.latency.p95_s),
            words.energy(entry.energy),
            ("stable: " if entry.latency.stable else "unstable: ") + entry.latency.verdict,
        )
        for entry in profile.entries.values()
    ]


def _samples(latency: Latency) -> str:
    return f"{latency.samples} samples" if latency.how == "measured" else latency.how


def _predictions(trials: Sequence[TrialRecord]) -> tuple[tuple[str, ...], ...]:
    rows: list[tuple[str, ...]] = []
    for trial in trials:
        evaluation, measured = trial.test or trial.val, trial.measured_latency
        if evaluation is None or measured is None:
            continue
        predicted = evaluation.cost.latency_s
        ratio = "–"
        if predicted.value and measured.value:
            ratio = f"{measured.value / predicted.value:.2f} ×"
        rows.append(
            (
                f"trial {trial.number}",
                words.quantity("latency", predicted),
                words.quantity("latency", measured),
                ratio,
                f"{trial.measured_pace:.2f} ×" if trial.measured_pace else "–",
            )
        )
    return tuple(rows)
