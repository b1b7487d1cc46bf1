"""The profile of one device: every workload measured once, kept as JSON with the machine's identity.

open_bench(device) → open_profile(path, bench) → ensure(workloads) → Entry by key
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

from ..config import Device
from ..errors import DeviceError
from ..progress import Progress
from ..records import Entry, Machine, Profile, read_record
from .bench import NOT_ASKED, Bench
from .local import LocalBench
from .machine import identity
from .pace import at_profile_pace, pace_now, pace_probes
from .remote import RemoteBench
from .roofline import RooflineBench
from .unprofiled import tell, uncertainty
from .workload import Workload

__all__ = ["ProfileStore", "has_energy", "open_bench", "open_profile"]


def open_bench(device: Device, *, estimate: bool = False) -> Bench:
    """What measures ``device``: the board at its host, else this machine; or its data sheet, to ``estimate``.

    Raises DeviceError where that cannot be.
    """
    if estimate:
        return RooflineBench(device)
    return RemoteBench(device) if device.host else LocalBench(device)


def open_profile(path: Path, bench: Bench) -> ProfileStore:
    """The profile kept at ``path``, or a new one of what ``bench`` measures on.

    Raises DeviceError when the file was measured on another machine or set-up; RunError when it is damaged.
    Nothing is written before something is measured.
    """
    known = read_record(Profile, path) if path.exists() else None
    if known:
        _refuse_other(known.machine, bench.machine, path)
    return ProfileStore(path, bench, known or Profile(machine=bench.machine, created=_now(), seconds=0.0, entries={}))


class ProfileStore:
    """Entries by workload key; :meth:`ensure` measures what is missing."""

    def __init__(self, path: Path, bench: Bench, profile: Profile) -> None:
        self.path, self.bench, self.profile = path, bench, profile

    @property
    def has_energy(self) -> bool:
        return has_energy(self.profile)

    def ensure(
        self,
        workloads: Sequence[Workload],
        *,
        progress: Progress,
        energy: bool = True,
        within: float = 0.0,
        beside: Sequence[Workload] = (),
    ) -> dict[str, Entry]:
        """All entries of the profile, after measuring the ``workloads`` it lacks.

        A machine does not keep its pace, nor does a process that has trained meanwhile. So up to three networks that
        the profile has, of the ``workloads`` and those ``beside`` them, are timed again in turns with what is added;
        what is added is divided by the pace they show.

        Those of networks not profiled are told from the others instead where that is sure ``within`` this share of
        their latency, and kept as predicted. Modules are moved to the device and put into eval mode. The file is
        rewritten, whole, after every entry. ``energy`` False leaves energy out, with the reason. Raises DeviceError
        when a sensor or the way to the device fails midway, ConfigError for a meter that does not exist.
        """
        missing = self.missing(workloads, energy=energy, within=within)
        if missing:
            begun = time.monotonic()
            known = self.profile.entries
            lacking = {load.key for load in missing}
            there = {load.key: load for load in (*workloads, *beside) if load.key in known and load.key not in lacking}
            probes = pace_probes(there.values(), known)
            taken = iter(self.bench.measure([*probes, *missing], known=known, progress=progress, energy=energy))
            pace = pace_now(probes, [one.latency.median_s for one in islice(taken, len(probes))], known)
            for entry in taken:
                now = time.monotonic()
                self._keep({entry.key: at_profile_pace(entry, pace) if pace else entry}, now - begun)
                begun = now
        return dict(self.profile.entries)

    def ensure_at_pace_of(
        self,
        other: ProfileStore,
        workloads: Sequence[Workload],
        *,
        progress: Progress,
        energy: bool = True,
        beside: Sequence[Workload] = (),
    ) -> None:
        """Measure the ``workloads`` that this profile lacks, so that they stand beside those of ``other``: another
        runtime's, of the same machine.

        Two runtimes are not timed in turns. So up to three networks that ``other`` has, of the ``workloads`` and those
        ``beside`` them, are timed again on its bench before and after; what is added is divided by the pace they show.
        What stands here at no pace (earlier versions kept it so) is measured again. Raises as :meth:`ensure`.
        """
        here, there = self.profile.entries, other.profile.entries
        missing = [one for one in workloads if self._lacks(one.key, energy, 0.0) or here[one.key].latency.pace is None]
        if not missing:
            return
        begun = time.monotonic()
        known = {load.key: load for load in (*workloads, *beside) if load.key in there}
        probes = pace_probes(known.values(), there)
        before_s = other._timed(probes, progress)
        found = list(self.bench.measure(missing, known=here, progress=progress, energy=energy))
        pace = pace_now([*probes, *probes], [*before_s, *other._timed(probes, progress)], there)
        self._keep({one.key: at_profile_pace(one, pace) if pace else one for one in found}, time.monotonic() - begun)

    def _timed(self, loads: Sequence[Workload], progress: Progress) -> list[float]:
        """Their medians just now, kept nowhere."""
        taken = self.bench.measure(loads, known={}, progress=progress, energy=False) if loads else ()
        return [one.latency.median_s for one in taken]

    def missing(self, workloads: Sequence[Workload], *, energy: bool = True, within: float = 0.0) -> list[Workload]:
        """Those of the ``workloads`` that must be measured; what can be told ``within`` is told now, and kept."""
        missing = {load.key: load for load in workloads if self._lacks(load.key, energy, within)}
        if missing and within:
            told = tell(list(missing.values()), self.profile.entries, within=within)
            if energy:  # nothing tells energy from networks that were measured without
                told = {key: one for key, one in told.items() if not self._can_have_energy(one)}
            self._keep(told, 0.0)
            missing = {key: load for key, load in missing.items() if key not in told}
        return list(missing.values())

    def _keep(self, entries: Mapping[str, Entry], seconds: float) -> None:
        update = {"entries": {**self.profile.entries, **entries}, "seconds": self.profile.seconds + seconds}
        self.profile = self.profile.model_copy(update=update)
        self.profile.write(self.path)

    def _lacks(self, key: str, energy: bool, within: float) -> bool:
        entry = self.profile.entries.get(key)
        if entry is None or (energy and self._can_have_energy(entry)):
            return True
        return entry.latency.how == "predicted" and uncertainty(entry.latency) > within

    def _can_have_energy(self, entry: Entry) -> bool:
        """Whether it has none that measuring would give: not asked for, or not told on a device that has a meter."""
        if entry.energy.reason == NOT_ASKED:
            return True
        told_without = entry.latency.how == "predicted" and entry.energy.gross_j is None
        return told_without and any(one.energy.gross_j for one in self.profile.entries.values())


def has_energy(profile: Profile) -> bool:
    """Whether anything in it was measured with energy, as far as there was a meter."""
    return any(one.energy.reason != NOT_ASKED for one in profile.entries.values())


def _refuse_other(known: Machine, here: Machine, path: Path) -> None:
    then, now = identity(known), identity(here)
    differing = [
        f"{name} {then.get(name, 'none')} there, {now.get(name, 'none')} here"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
    if differing:
        raise DeviceError(
            f"{path} was measured on another machine or set-up ({'; '.join(differing)}): "
            f"measure afresh with --new, or give another --out"
        )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
