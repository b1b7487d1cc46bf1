"""The folder of one run: where everything lies, and its records read back.

runs/<study>/run.json           what was searched, on what, when (RunRecord)
             study.db           Optuna's SQLite file; only the search's one driver opens it
             trials/<n>/trial.json · history.jsonl
             profiles/<device>.json
             artifacts/         the stage store
             static.json        single UNets on whole images
             experiments/       adaptability, mc-samples, cost-kinds, ablation (experiments/records.py)
             gallery/           test images with their routes (RunRecord.gallery)
             report.html · front.csv · front.json
             devices.html · devices.json
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import RunError
from .records import STEPS, Profile, RunRecord, StaticFront, TrialRecord, read_record

__all__ = ["RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """Paths and records of a run; reads only what is asked for."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises RunError with the mend where there is none."""
        if not (path / "run.json").is_file():
            raise RunError(f"{path} holds no run (run.json is missing); `paser-opt search` makes one")
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else searches, profiles or moves this run meanwhile. Raises RunError where somebody does."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"another search or profile is at work in {self.path}; wait for it, or name another folder"
            ) from None
        with lock:
            yield

    def move_aside(self) -> Path:
        """Rename the run to <name>-old<n>. Raises RunError for a folder that is no run, or one in use."""
        if not (self.run_file.is_file() or (self.path / "profiles").is_dir() or self.artifacts.is_dir()):
            raise RunError(f"{self.path} is no run, so --new does not move it; give --out another folder")
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}-old{number}")).exists():
            number += 1
        with self.locked():
            self.path.rename(aside)
        return aside

    @property
    def only_trained(self) -> bool:
        """UNets are here, as `paser-opt train` leaves them, and no search has begun: it starts afresh with them."""
        begun = self.run_file.is_file() or (self.path / "trials").is_dir()
        return self.artifacts.is_dir() and not begun

    def retargeted(self, device: str) -> RunFolder:
        """Where this run's front for another device lies unless said otherwise: beside it."""
        path = self.path.resolve()
        return RunFolder(path.with_name(f"{path.name}-{device}"))

    def refuse_other_steps(self) -> None:
        """Raises RunError where a run is here whose steps computed something else: its scores are of those. To look at
        it stays possible."""
        if self.run_file.is_file() and self.run().steps != STEPS:
            raise RunError(
                f"{self.path} is of an earlier version of paser-opt, whose pipelines computed something else; "
                "search anew, with --new or another --out"
            )

    @property
    def lock_file(self) -> Path:
        return self.path / ".driver.lock"

    @property
    def run_file(self) -> Path:
        return self.path / "run.json"

    @property
    def database(self) -> Path:
        return self.path / "study.db"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def gallery(self) -> Path:
        return self.path / "gallery"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def static_file(self) -> Path:
        return self.path / "static.json"

    def static(self) -> StaticFront | None:
        """The static front, where it has been made."""
        return read_record(StaticFront, self.static_file) if self.static_file.is_file() else None

    @property
    def comparison(self) -> Path:
        """Folder of the comparison of routers."""
        return self.path / "compare"

    def experiment_file(self, name: str) -> Path:
        return self.path / "experiments" / f"{name}.json"

    def trial_folder(self, number: int) -> Path:
        return self.path / "trials" / str(number)

    def trial_file(self, number: int) -> Path:
        return self.trial_folder(number) / "trial.json"

    def profile_file(self, device: str) -> Path:
        return self.path / "profiles" / f"{device}.json"

    def run(self) -> RunRecord:
        return read_record(RunRecord, self.run_file)

    def trials(self) -> list[TrialRecord]:
        """All finished trials, by number."""
        files = sorted(self.path.glob("trials/*/trial.json"), key=lambda file: int(file.parent.name))
        return [read_record(TrialRecord, file) for file in files]

    def profiles(self) -> dict[str, Profile]:
        """Device name → profile."""
        return {file.stem: read_record(Profile, file) for file in sorted(self.path.glob("profiles/*.json"))}
