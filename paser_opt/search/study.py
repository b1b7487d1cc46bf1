"""The search's one driver: ask, price, submit, tell; survive anything; finish with the test set.

The order of writing keeps every finished trial, once: a trial's record is written whole, then Optuna is told.
After a kill, a RUNNING trial with a record is told what the record says; one without goes on under its own number,
its stages taken from the store. So a resumed search equals an uninterrupted one, trials taken one at a time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from uuid import uuid4

import optuna
from optuna.trial import TrialState

from ..config import OBJECTIVES, Device, PipelineConfig, Study
from ..cost import open_bench, open_profile
from ..data import load
from ..errors import RunError
from ..pareto import front, hypervolume, reference_point
from ..records import STEPS, RunRecord, TrialRecord, versions, write_text
from ..runs import RunFolder
from ..train import ArtifactStore, History, training_device
from .ahead import held
from .attempt import Job, Outcome
from .executors import Executor, Here, LostError, MakeExecutor
from .finish import finish
from .objective import Bench, Priced, budget_reason, over_budget, price, refuse_other_masks, to_measure, train
from .rungs import promoted, rungs
from .space import first_trials, suggest, unfit
from .storage import open_local, open_url, without_password
from .watcher import Watcher

__all__ = ["now", "search", "write_history"]

STUCK = 12
"""A trial that was started this often without finishing one more stage takes its process down: told as failed."""

LOSSES = 3
"""A trial whose worker died this often in one session is told as failed."""


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
    executor: MakeExecutor = Here,
    storage: str | None = None,
) -> RunFolder:
    """Run ``study`` in ``folder`` until it holds ``trials`` trials or ``timeout_s`` is spent; goes on where it stopped.

    Stages that lie in ``shared_store`` are taken from there, and those made here are left there, up to
    ``shared_limit_bytes``. ``executor`` says where trials run, ``storage`` (a database URL) where Optuna's trials lie
    if not in the run's ``study.db``.

    ``estimate``: costs are the data sheet's roofline, and marked so. Raises ConfigError for a runtime whose masks are
    not the trained models'; RunError where the folder holds another study, another driver is at work or the database
    stays away; and what the data, the device and the study themselves raise. KeyboardInterrupt leaves everything ready
    to go on.
    """
    refuse_other_masks(device)
    run = RunFolder(folder)
    device_bench = open_bench(device, estimate=estimate)
    data = load(study.data, progress=watcher)  # before anything is written: a fault in the data leaves no trace
    if run.only_trained and (said := held(study, data, run)):
        watcher.note(said)
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
        driver.open(storage)
        driver.work(trials, timeout_s, executor)
        finish(run, bench, lambda trial, priced: train(priced, bench))
    return run


@dataclass
class _Running:
    """A trial on its way, and when its work began."""

    job: Job
    begun: float
    losses: int = 0


class _Driver:
    def __init__(self, run: RunFolder, bench: Bench, watcher: Watcher) -> None:
        self.run, self.bench, self.watcher = run, bench, watcher
        self.study = bench.study
        self.records: dict[int, TrialRecord] = {}
        self.asked: dict[int, optuna.Trial] = {}  # and not told yet
        self.rungs: dict[int, dict[str, dict[str, float]]] = {}  # values at rungs, of all trials that came to one
        self.running: dict[Future[Outcome], _Running] = {}

    # --- opening --------------------------------------------------------------------------------------

    def open(self, storage: str | None) -> None:
        """Make the run, or take it up again."""
        new = not self.run.run_file.is_file()
        if not new and (source := self.run.run().source):
            raise RunError(f"{self.run.path} was retargeted from {source}: search on there, and retarget again")
        if new:
            self.run.database.unlink(missing_ok=True)  # a set-up that was cut short holds nothing yet
            record = self._new_record(storage)
        else:
            record = self.run.run()
            self._same_run(record, storage)
        directions = [OBJECTIVES[name] for name in self.study.objectives]
        if storage:
            self.optuna = open_url(storage, record.storage_name, directions, say=self.watcher.note)
        else:
            self.optuna = open_local(self.run.database, self.study.name, directions, say=self.watcher.note)
        if new:
            for one in first_trials(self.study.space)[0]:
                self.optuna.enqueue_trial(one.params, user_attrs={"tag": one.tag})
            record.write(self.run.run_file)
        self.record = record
        self.records = {trial.number: trial for trial in self.run.trials()}
        self.rungs = {number: trial.rung_values for number, trial in self.records.items()}
        if len(self.optuna.trials) <= max(self.records, default=-1):
            raise RunError(
                f"{record.storage or self.run.database} lacks trials that {self.run.path} holds: bring the database "
                "back, or start afresh with --new"
            )
        for orphan in self.optuna.get_trials(states=(TrialState.RUNNING,), deepcopy=False):
            if orphan.number in self.records:
                self._tell(self.records[orphan.number])

    def _new_record(self, storage: str | None) -> RunRecord:
        return RunRecord(
            steps=STEPS,
            study=self.study,
            data=self.bench.data.summary(),
            created=now(),
            notes=first_trials(self.study.space)[1],
            versions=versions("paser-opt", "torch", "optuna"),
            storage=without_password(storage) if storage else "",
            storage_name=f"{self.study.name}-{uuid4().hex[:8]}" if storage else "",  # a server holds many runs
        )

    def _same_run(self, record: RunRecord, storage: str | None) -> None:
        self.run.refuse_other_steps()
        ignored = {"trials", "timeout_s", "description"}
        before, now = (one.model_dump(exclude=ignored) for one in (record.study, self.study))
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            raise RunError(
                f"{self.run.path} holds a run of this study with another {', '.join(changed)}; "
                "start afresh with --new, or give --out another folder"
            )
        if record.data.fingerprint != self.bench.data.fingerprint:
            raise RunError(
                f"the data has changed since {self.run.path} was started; start afresh with --new, or give --out"
            )
        if record.storage != (without_password(storage) if storage else ""):
            mend = f"give --storage {record.storage}" if record.storage else "leave out --storage"
            raise RunError(f"{self.run.path} keeps its trials in {record.storage or 'its own study.db'}: {mend}")

    # --- the loop -------------------------------------------------------------------------------------

    def work(self, total: int, timeout_s: float | None, make_executor: MakeExecutor) -> None:
        """Keep the executor's workers busy until ``total`` trials are there or the time is spent."""
        self.spent = max((trial.clock_s for trial in self.records.values()), default=0.0)
        self.since = time.monotonic()
        self.executor: Executor = make_executor(self.bench, self.run.run_file)
        try:
            while True:
                late = timeout_s is not None and self._clock() > timeout_s
                wanted = not late and len(self.records) + len(self.running) < total
                if wanted and len(self.running) < self.executor.workers:
                    self._start(self._next(), total)
                elif self.running:
                    self._collect()
                else:
                    return
        except KeyboardInterrupt:
            for trial in self.asked.values():
                trial.set_user_attr("attempts", None)  # stopped by a person: says nothing about the trial
            raise
        finally:
            self.executor.close()

    def _clock(self) -> float:
        return self.spent + time.monotonic() - self.since

    def _next(self) -> optuna.Trial:
        """The trial that was cut short, or a new one.

        The sampler is seeded by the trial's number: the same seed in a resumed process would repeat its draws.
        """
        running = self.optuna.get_trials(states=(TrialState.RUNNING,), deepcopy=False)
        orphans = [trial for trial in running if trial.number not in self.asked]
        asked = len(self.optuna.trials) - len(self.optuna.get_trials(states=(TrialState.WAITING,), deepcopy=False))
        number = orphans[0].number if orphans else asked
        self.optuna.sampler = optuna.samplers.TPESampler(seed=self.study.seed * 100_003 + number)
        if not orphans:
            return self.optuna.ask()
        return optuna.trial.Trial(self.optuna, orphans[0]._trial_id)

    def _start(self, trial: optuna.Trial, total: int) -> None:
        """From asking to submitting; a trial that is not worth training is told at once."""
        tag = trial.user_attrs.get("tag", "")
        self.asked[trial.number] = trial
        self.watcher.started(trial.number, total, tag)
        data = self.bench.data
        started = now()
        config = suggest(trial, self.study, channels=data.channels, classes=data.classes)
        misfit = unfit(config, data)
        if not misfit:
            self._drain_to_measure(config)
        begun = time.monotonic()
        attempt, stuck = self._count_attempt(trial)
        record = TrialRecord(
            number=trial.number, state="complete", tag=tag, params=dict(trial.params), pipeline=config, started=started,
            seconds=0.0, clock_s=0.0,
        )  # fmt: skip
        if attempt > 1:
            record.warnings.append(f"attempt {attempt}: the search was stopped while this trial ran")
        if stuck >= STUCK:
            record.state, record.reason = "failed", f"the search ended {STUCK} times in one stage of this trial"
        elif misfit:
            record.state, record.reason = "pruned", misfit
        else:
            priced = price(config, self.bench)
            record.reason = self._over_budget(trial, priced)
            if not record.reason:
                record.rung_values = trial.user_attrs.get("rungs", {})
                self._train_on(_Running(Job(record, priced), begun))
                return
            record.state = "pruned"
        self._finish(record, begun)

    def _train_on(self, one: _Running) -> None:
        """To the first rung the trial has not come to, or to the end of its training; or stop it at a rung.

        Decided from what others have reached there by now: with one worker, those of lower numbers. The trials tried
        first are never stopped: they span the front and its reference.
        """
        record = one.job.record
        self.rungs[record.number] = record.rung_values
        for rung in rungs(self.study):
            mine = record.rung_values.get(rung.name)
            if mine is None:
                one.job = replace(one.job, rung=rung)
                self._submit(one)
                return
            others = [
                values[rung.name]
                for number, values in self.rungs.items()
                if number != record.number and rung.name in values
            ]
            if not record.tag and not promoted(mine, others, self.study.objectives):
                record.state = "pruned"
                record.reason = f"stopped {rung.words}, where at least a third of the trials are better"
                self._finish(record, one.begun)
                return
        one.job = replace(one.job, rung=None)
        self._submit(one)

    def _drain_to_measure(self, config: PipelineConfig) -> None:
        """Nothing is measured on this machine beside a trial: those that run end first."""
        while self.running and to_measure(config, self.bench):
            self._collect()

    def _count_attempt(self, trial: optuna.Trial) -> tuple[int, int]:
        """Which attempt at this trial this is, and how many before it finished no stage."""
        stages = len(list(self.run.artifacts.glob("*.safetensors"))) + len(self.bench.profile.profile.entries)
        before = trial.user_attrs.get("attempts") or {"count": 0, "stuck": 0, "stages": -1}
        stuck = before["stuck"] + 1 if before["stages"] == stages else 0
        trial.set_user_attr("attempts", {"count": before["count"] + 1, "stuck": stuck, "stages": stages})
        return before["count"] + 1, stuck

    def _over_budget(self, trial: optuna.Trial, priced: Priced) -> str:
        excess = over_budget(priced.least(), self.study.budget)
        for name, value in excess.items():
            trial.set_constraint(name, value)
        return budget_reason(excess)

    def _submit(self, one: _Running) -> None:
        self.running[self.executor.submit(one.job, self.watcher.running(one.job.record.number))] = one

    def _collect(self) -> None:
        """Wait for the next trial to end, and keep what has ended; an error is raised after what others finished."""
        done, _ = wait(self.running, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda one: (one.exception() is not None, self.running[one].job.record.number)):
            one = self.running.pop(future)
            try:
                outcome = future.result()
            except LostError as lost:
                self._again(one, str(lost))
                continue
            record = outcome.record
            if one.job.rung and record.state == "complete":
                self.asked[record.number].set_user_attr("rungs", record.rung_values)
                one.job = replace(one.job, record=record)
                self._train_on(one)
                continue
            write_history(self.run, record.number, outcome.histories)
            self._finish(record, one.begun)

    def _again(self, one: _Running, lost: str) -> None:
        record = one.job.record
        one.losses += 1
        if one.losses == LOSSES:
            record.state, record.reason = "failed", f"{lost}, {LOSSES} times"
            self._finish(record, one.begun)
            return
        attempt, _ = self._count_attempt(self.asked[record.number])
        record.warnings.append(f"attempt {attempt}: {lost}")
        self.watcher.note(f"trial {record.number}, {record.warnings[-1]}")
        self._submit(one)

    def _finish(self, record: TrialRecord, begun: float) -> None:
        record.seconds = time.monotonic() - begun
        record.clock_s = self._clock()
        record.write(self.run.trial_file(record.number))
        self.records[record.number] = record
        del self.asked[record.number]
        self._tell(record)
        self._freeze_reference()
        members = self.front()
        self.watcher.finished(record, members, self._volume(members))

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
        """Hypervolume's reference: the worst of the pilot (the trials tried first) and 10 % of its range beyond.

        The pilot goes by number, so that the point does not depend on which trial ended first.
        """
        if self.record.reference is not None:
            return
        tried_first = len(first_trials(self.study.space)[0])
        complete = []
        for number in count():
            if number not in self.records:
                return
            if self.records[number].state == "complete":
                complete.append(self.records[number].values)
            if number + 1 >= tried_first and len(complete) > 1:
                break
        self.record.reference = reference_point(complete, self.study.objectives)
        self.record.write(self.run.run_file)

    def _volume(self, members: list[TrialRecord]) -> float | None:
        if self.record.reference is None:
            return None
        return hypervolume([one.values for one in members], self.study.objectives, self.record.reference)


def write_history(run: RunFolder, number: int, histories: Mapping[str, History]) -> None:
    """Losses and scores of a trial's stages, one JSON line an epoch."""
    rows = ({"stage": stage, **row} for stage, history in histories.items() for row in history)
    write_text(run.trial_folder(number) / "history.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
