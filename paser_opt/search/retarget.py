"""The front for another device from a run: costs from its profile, policies for those costs, every UNet as it is.

Eq. 2 charges the policy C(i), which the device decides. Where C stays what it was, the policy stays too; else it goes
on learning on the tables of the trial's own UNets. The fine-tuned f_i stay the ones that the search fine-tuned.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from ..config import Device, Study
from ..cost import Bench as DeviceBench
from ..cost import ProfileStore, cost_per_patch, has_energy, identity, open_bench, open_profile
from ..data import SegmentationData, load
from ..errors import DivergedError, RunError
from ..pareto import front, reference_point
from ..records import STEPS, Profile, RunRecord, TrialRecord, read_record, versions
from ..routing import workloads
from ..runs import RunFolder
from ..train import ArtifactStore, Trained, restore_pipeline, training_device
from .finish import finish
from .objective import Bench, Priced, budget_reason, energy_matters, over_budget, price, refuse_other_masks, score
from .study import now, write_history
from .watcher import Watcher

__all__ = ["retarget"]


def retarget(source: RunFolder, out: Path, *, device: Device, watcher: Watcher, estimate: bool = False) -> RunFolder:
    """Every complete trial of ``source`` for ``device``, as a run in ``out``; goes on where it stopped.

    Stages are shared with the source's store, by hard links where the file system has them. Raises RunError where the
    data has changed, weights are gone, or ``out`` holds another run; and what the device and the study raise.
    """
    refuse_other_masks(device)
    source.refuse_other_steps()
    before, run = source.run(), RunFolder(out)
    study = before.study.model_copy(update={"device": device.name})
    trials = [trial for trial in source.trials() if trial.state == "complete"]
    if not trials:
        raise RunError(f"no trial of {source.path} is complete, so there is nothing to retarget; search on")
    _refuse_other_run(source, run, before, study)
    device_bench = open_bench(device, estimate=estimate)
    data = load(study.data, progress=watcher)
    if data.fingerprint != before.data.fingerprint:
        raise RunError(f"the data has changed since {source.path} was started; retarget it where it is as it was")
    with source.locked(), run.locked():  # both: nothing else may be measured or trained meanwhile
        if not run.run_file.is_file():
            _set_up(source, run, before, study, data)
        bench = Bench(
            study=study,
            data=data,
            store=ArtifactStore(run.artifacts, shared=source.artifacts),
            profile=_open_profile(source, run, device_bench),
            training_device=training_device(),
            progress=watcher,
        )
        _measure(trials, bench, energy=any(map(has_energy, source.profiles().values())))
        _Retargeting(run, bench, watcher).work(trials)
        finish(run, bench, lambda trial, priced: _restored(trial, priced, bench))
    return run


def _refuse_other_run(source: RunFolder, run: RunFolder, before: RunRecord, study: Study) -> None:
    if not run.run_file.is_file():
        return
    there = run.run()
    same = there.source is not None and there.study == study and there.data.fingerprint == before.data.fingerprint
    if not same or run.path.resolve() == source.path.resolve():
        raise RunError(f"{run.path} holds another run; give --out another folder")


def _set_up(source: RunFolder, run: RunFolder, before: RunRecord, study: Study, data: SegmentationData) -> None:
    record = RunRecord(
        steps=STEPS,
        study=study,
        data=data.summary(),
        created=now(),
        notes=[
            f"Retargeted from a search for {before.study.device}: its UNets, with policies for the costs of "
            f"{study.device}. A search for {study.device} itself may find better pipelines."
        ],
        versions=versions("paser-opt", "torch"),
        source=source.path.resolve().name,
    )
    record.write(run.run_file)


def _open_profile(source: RunFolder, run: RunFolder, bench: DeviceBench) -> ProfileStore:
    """What the source's profile of this very machine and set-up holds is not measured again."""
    path, known = run.profile_file(bench.device.name), source.profile_file(bench.device.name)
    if known.is_file() and not path.is_file():
        profile = read_record(Profile, known)
        if identity(profile.machine) == identity(bench.machine):
            profile.write(path)
    return open_profile(path, bench)


def _measure(trials: list[TrialRecord], bench: Bench, *, energy: bool) -> None:
    """All that the profile lacks in one go: interleaved, so that it can be compared. ``energy``: the source has it."""
    steps = {}
    for trial in trials:
        found, _ = workloads(trial.pipeline, height=bench.data.height, width=bench.data.width, device=bench.cost_device)
        steps.update({one.key: one for one in found})
    energy = energy or any(energy_matters(trial.pipeline, bench.study) for trial in trials)
    bench.profile.ensure(
        list(steps.values()), progress=bench.progress, energy=energy, within=bench.study.predict_within
    )


class _Retargeting:
    """One trial after another; a record that is written is not made again."""

    def __init__(self, run: RunFolder, bench: Bench, watcher: Watcher) -> None:
        self.run, self.bench, self.watcher = run, bench, watcher
        self.objectives = bench.study.objectives
        self.done = {trial.number: trial for trial in run.trials()}

    def work(self, trials: list[TrialRecord]) -> None:
        spent = max((trial.clock_s for trial in self.done.values()), default=0.0)
        since = time.monotonic()
        for trial in trials:
            if trial.number in self.done:
                continue
            self.watcher.started(trial.number, trials[-1].number + 1, trial.tag)
            begun = time.monotonic()
            record = self._retargeted(trial)
            record.seconds, record.clock_s = time.monotonic() - begun, spent + time.monotonic() - since
            record.write(self.run.trial_file(trial.number))
            self.done[trial.number] = record
            members = self._front()
            self.watcher.finished(record, members, None)
        self._freeze_reference()

    def _retargeted(self, trial: TrialRecord) -> TrialRecord:
        changes: dict[str, object] = {
            "reward": None,
            "val": None,
            "test": None,
            "measured_latency": None,
            "measured_pace": None,
            "values": {},
            "started": now(),
        }
        record = trial.model_copy(update=changes)
        priced = price(trial.pipeline, self.bench)
        if reason := budget_reason(over_budget(priced.least(), self.bench.study.budget)):
            record.state, record.reason = "pruned", reason
            return record
        try:
            trained = _restored(trial, priced, self.bench)
        except DivergedError as error:
            record.state, record.reason = "failed", str(error)
            return record
        score(record, trained, priced, self.bench)
        write_history(self.run, trial.number, trained.histories)
        return record

    def _complete(self) -> list[TrialRecord]:
        return [trial for _, trial in sorted(self.done.items()) if trial.state == "complete"]

    def _front(self) -> list[TrialRecord]:
        complete = self._complete()
        return [complete[i] for i in front([trial.values for trial in complete], self.objectives)]

    def _freeze_reference(self) -> None:
        record, complete = self.run.run(), self._complete()
        if record.reference is None and len(complete) > 1:
            record.reference = reference_point([trial.values for trial in complete], self.objectives)
            record.write(self.run.run_file)


def _restored(trial: TrialRecord, priced: Priced, bench: Bench) -> Trained:
    """The trial's own UNets; its own policy where that was trained for this very C, else one that goes on from it."""
    config = priced.config
    cost = cost_per_patch(priced.entries, priced.plan, config.reward_cost, priced.patches)
    return restore_pipeline(
        config, bench.data, bench.store, cost, trial.weights, device=bench.training_device, progress=bench.progress,
        retrain_policy=torch.tensor(cost).tolist() != trial.cost_per_patch,
    )  # fmt: skip
