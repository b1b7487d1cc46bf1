"""The search's one driver: ask, price, train, tell; survive anything; finish with the test set.

The order of writing keeps every finished trial, once: a trial's record is written whole, then Optuna is told.
After a kill, a RUNNING trial with a record is told what the record says; one without goes on under its own number,
its stages taken from the store. So a resumed search equals an uninterrupted one.
"""

from __future__ import annotations

import json
import sqlite3
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import optuna
import torch
from optuna.trial import TrialState

from ..config import OBJECTIVES, Device, Study
from ..cost import open_bench, open_profile
from ..data import load
from ..errors import DivergedError, RunError
from ..pareto import front, hypervolume, reference_point
from ..progress import Progress
from ..records import RunRecord, TrialRecord, write_text
from ..runs import RunFolder
from ..train import ArtifactStore, Trained, training_device
from .finish import finish
from .objective import Bench, budget_reason, over_budget, price, refuse_other_masks, score, train
from .space import first_trials, suggest, unfit

__all__ = ["Watcher", "now", "search", "write_history"]

STUCK = 12
"""A trial that was started this often without finishing one more stage takes its process down: told as failed."""


class Watcher(Progress, Protocol):
    """A Progress that is also told of trials."""

    def started(self, number: int, total: int, tag: str) -> None: ...

    def finished(self, trial: TrialRecord, front: list[TrialRecord], volume: float | None) -> None: ...


def search(
    study: Study,
    folder: Path,
    *,
    device: Device,
    trials: int,
    timeout_s: float | None,
    watcher: Watcher,
    estimate: bool = False,
    shared_store: Path | None = None,
    shared_limit_bytes: int | None = None,
) -> RunFolder:
    """Run ``study`` in ``folder`` until it holds ``trials`` trials or ``timeout_s`` is spent; goes on where it stopped.

    Stages that lie in ``shared_store`` are taken from there, and those made here are left there, up to
    ``shared_limit_bytes``.

    ``estimate``: costs are the data sheet's roofline, and marked so. Raises ConfigError for a runtime whose masks are
    not the trained models'; RunError where the folder holds another study or another driver is at work; and what the
    data, the device and the study themselves raise. KeyboardInterrupt leaves everything ready to go on.
    """
    refuse_other_masks(device)
    run = RunFolder(folder)
    device_bench = open_bench(device, estimate=estimate)
    data = load(study.data, progress=watcher)  # before anything is written: a fault in the data leaves no trace
    with run.locked():
        bench = Bench(
            study=study,
            data=data,
            store=ArtifactStore(run.artifacts, shared=shared_store, shared_limit_bytes=shared_limit_bytes),
            profile=open_profile(run.profile_file(device.name), device_bench),
            training_device=training_device(),
            progress=watcher,
        )
        driver = _Driver(run, bench, watcher)
        driver.open()
        driver.work(trials, timeout_s)
        finish(run, bench, lambda trial, priced: train(priced, bench))
    return run


class _Driver:
    def __init__(self, run: RunFolder, bench: Bench, watcher: Watcher) -> None:
        self.run, self.bench, self.watcher = run, bench, watcher
        self.study = bench.study
        self.records: dict[int, TrialRecord] = {}

    # --- opening --------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the run, or take it up again."""
        new = not self.run.run_file.is_file()
        if not new and (source := self.run.run().source):
            raise RunError(f"{self.run.path} was retargeted from {source}: search on there, and retarget again")
        if new:
            self.run.database.unlink(missing_ok=True)  # a set-up that was cut short holds nothing yet
        self.optuna = _open_database(self.run.database, self.study)
        if new:
            self._set_up()
        self.record = self.run.run()
        self._same_run()
        self.records = {trial.number: trial for trial in self.run.trials()}
        for orphan in self.optuna.get_trials(states=(TrialState.RUNNING,), deepcopy=False):
            if orphan.number in self.records:
                self._tell(self.records[orphan.number])

    def _set_up(self) -> None:
        first, notes = first_trials(self.study.space)
        for one in first:
            self.optuna.enqueue_trial(one.params, user_attrs={"tag": one.tag})
        record = RunRecord(
            study=self.study,
            data=self.bench.data.summary(),
            created=now(),
            notes=notes,
            versions={name: version(name) for name in ("paser-opt", "torch", "optuna")},
        )
        record.write(self.run.run_file)

    def _same_run(self) -> None:
        ignored = {"trials", "timeout_s", "description"}
        before, now = (one.model_dump(exclude=ignored) for one in (self.record.study, self.study))
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            raise RunError(
                f"{self.run.path} holds a run of this study with another {', '.join(changed)}; "
                "start afresh with --new, or give --out another folder"
            )
        if self.record.data.fingerprint != self.bench.data.fingerprint:
            raise RunError(
                f"the data has changed since {self.run.path} was started; start afresh with --new, or give --out"
            )

    # --- the loop -------------------------------------------------------------------------------------

    def work(self, total: int, timeout_s: float | None) -> None:
        self.spent = max((trial.clock_s for trial in self.records.values()), default=0.0)
        self.since = time.monotonic()
        while len(self.records) < total and not (timeout_s and self._clock() > timeout_s):
            trial = self._next()
            number = trial.number
            tag = trial.user_attrs.get("tag", "")
            self.watcher.started(number, total, tag)
            try:
                record = self._attempt(trial, tag)
            except KeyboardInterrupt:
                trial.set_user_attr("attempts", None)  # stopped by a person: says nothing about the trial
                raise
            record.write(self.run.trial_file(number))
            self.records[number] = record
            self._tell(record)
            self._freeze_reference()
            members = self.front()
            self.watcher.finished(record, members, self._volume(members))

    def _clock(self) -> float:
        return self.spent + time.monotonic() - self.since

    def _next(self) -> optuna.Trial:
        """The trial that was cut short, or a new one.

        The sampler is seeded by the trial's number: the same seed in a resumed process would repeat its draws.
        """
        running = self.optuna.get_trials(states=(TrialState.RUNNING,), deepcopy=False)
        asked = len(self.optuna.trials) - len(self.optuna.get_trials(states=(TrialState.WAITING,), deepcopy=False))
        number = running[0].number if running else asked
        self.optuna.sampler = optuna.samplers.TPESampler(seed=self.study.seed * 100_003 + number)
        if not running:
            return self.optuna.ask()
        return optuna.trial.Trial(self.optuna, running[0]._trial_id)

    def _attempt(self, trial: optuna.Trial, tag: str) -> TrialRecord:
        """Everything between asking and telling."""
        started, begin = now(), time.monotonic()
        data = self.bench.data
        config = suggest(trial, self.study, channels=data.channels, classes=data.classes)
        attempt, stuck = self._count_attempt(trial)
        record = TrialRecord(
            number=trial.number, state="complete", tag=tag, params=dict(trial.params), pipeline=config, started=started,
            seconds=0.0, clock_s=0.0,
        )  # fmt: skip
        if attempt > 1:
            record.warnings.append(f"attempt {attempt}: the search was stopped while this trial ran")
        if stuck >= STUCK:
            record.state, record.reason = "failed", f"the search ended {STUCK} times in one stage of this trial"
        elif reason := unfit(config, data):
            record.state, record.reason = "pruned", reason
        else:
            self._train(trial, record)
        record.seconds = time.monotonic() - begin
        record.clock_s = self._clock()
        return record

    def _count_attempt(self, trial: optuna.Trial) -> tuple[int, int]:
        """Which attempt at this trial this is, and how many before it finished no stage."""
        stages = len(list(self.run.artifacts.glob("*.safetensors"))) + len(self.bench.profile.profile.entries)
        before = trial.user_attrs.get("attempts") or {"count": 0, "stuck": 0, "stages": -1}
        stuck = before["stuck"] + 1 if before["stages"] == stages else 0
        trial.set_user_attr("attempts", {"count": before["count"] + 1, "stuck": stuck, "stages": stages})
        return before["count"] + 1, stuck

    def _train(self, trial: optuna.Trial, record: TrialRecord) -> None:
        priced = price(record.pipeline, self.bench)
        excess = over_budget(priced.least(), self.study.budget)
        for name, value in excess.items():
            trial.set_constraint(name, value)
        if reason := budget_reason(excess):
            record.state, record.reason = "pruned", reason
            return
        try:
            trained = train(priced, self.bench)
            score(record, trained, priced, self.bench)
        except (DivergedError, MemoryError, torch.OutOfMemoryError) as error:
            record.state, record.reason = "failed", str(error) or "out of memory"
            return
        write_history(self.run, record.number, trained)

    def _tell(self, record: TrialRecord) -> None:
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        values: list[float] | None = (
            [record.values[name] for name in self.study.objectives] if record.state == "complete" else None
        )
        self.optuna.tell(record.number, values, state=states[record.state])

    # --- the front so far -----------------------------------------------------------------------------

    def front(self) -> list[TrialRecord]:
        complete = [trial for _, trial in sorted(self.records.items()) if trial.state == "complete"]
        return [complete[i] for i in front([trial.values for trial in complete], self.study.objectives)]

    def _freeze_reference(self) -> None:
        """Hypervolume's reference: the worst of the pilot (the trials tried first) and 10 % of its range beyond."""
        if self.record.reference is not None:
            return
        waiting = self.optuna.get_trials(states=(TrialState.WAITING,), deepcopy=False)
        complete = [trial.values for trial in self.records.values() if trial.state == "complete"]
        if waiting or len(complete) < 2:
            return
        self.record.reference = reference_point(complete, self.study.objectives)
        self.record.write(self.run.run_file)

    def _volume(self, members: list[TrialRecord]) -> float | None:
        if self.record.reference is None:
            return None
        return hypervolume([one.values for one in members], self.study.objectives, self.record.reference)


def _open_database(path: Path, study: Study) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
        return optuna.create_study(
            study_name=study.name,
            storage=storage,
            directions=[OBJECTIVES[name] for name in study.objectives],
            load_if_exists=True,
        )
    except sqlite3.DatabaseError as error:
        raise RunError(f"{path} is damaged ({error}); start afresh with --new") from None


def write_history(run: RunFolder, number: int, trained: Trained) -> None:
    """Losses and scores of a trial's stages, one JSON line an epoch."""
    rows = ({"stage": stage, **row} for stage, history in trained.histories.items() for row in history)
    write_text(run.trial_folder(number) / "history.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
