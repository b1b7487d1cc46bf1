"""One experiment on one trial of a run."""

from __future__ import annotations

import difflib
import platform
from collections.abc import Callable
from datetime import datetime, timezone

from ..config import Device, PipelineConfig
from ..errors import ConfigError
from ..progress import Progress
from ..records import TrialRecord, versions
from ..report import words
from ..runs import RunFolder
from ..search.pipelines import trial_pipeline
from ..train import trained_on
from . import NAMES, ablation, adaptability, cost_kinds, mc_samples
from .base import RESAMPLES, Experiment, Sample, Subject, subject
from .records import ExperimentRecord, Origin

__all__ = ["EXPERIMENTS", "known", "run_experiments"]

EXPERIMENTS: dict[str, Experiment] = {
    "mc-samples": mc_samples.run,
    "cost-kinds": cost_kinds.run,
    "ablation": ablation.run,
    "adaptability": adaptability.run,
}


def known(name: str) -> str:
    """The name itself. Raises ConfigError that lists the names there are."""
    if name in EXPERIMENTS:
        return name
    near = difflib.get_close_matches(name, EXPERIMENTS, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise ConfigError(f"no experiment {name!r}{hint} Known: {', '.join(EXPERIMENTS)}")


def run_experiments(
    names: list[str],
    run: RunFolder,
    trial: TrialRecord,
    *,
    seeds: int,
    device: Device,
    progress: Progress,
    after: Callable[[Origin, list[ExperimentRecord]], object] = lambda origin, records: None,
) -> list[ExperimentRecord]:
    """Each of ``names`` on the trial's pipeline from ``seeds`` seeds; writes RUN/experiments/<name>.json.

    ``after`` is given all there are by then, with where they come from: before the first of them, and after each.
    What was trained before is taken from the run's store. Raises RunError for a trial that is not complete, weights
    that are gone or data that has changed, DivergedError.
    """
    pipeline = trial_pipeline(run, trial, device=device, progress=progress)
    with run.locked():
        subjects = [subject(pipeline, seed) for seed in range(seeds)]
        sample = Sample.of(subjects)
        records: list[ExperimentRecord] = []
        after(_origin(subjects, run, trial, []), records)
        for name in names:
            found = EXPERIMENTS[name](subjects, sample)
            command = f"paser-opt experiment {name} {_place(run)} --trial {trial.number} --seeds {seeds}"
            record = ExperimentRecord(
                name=name,
                question=NAMES[name],
                origin=_origin(subjects, run, trial, [command]),
                resamples=RESAMPLES,
                findings=found,
            )
            if seeds < 5:
                found.notes.append(
                    f"{seeds} seed{'s' if seeds > 1 else ''}: intervals say little or nothing of the luck of training; "
                    "5 seeds or more do."
                )
            record.write(run.experiment_file(name))
            records.append(record)
            after(record.origin, records)
    return records


def _place(run: RunFolder) -> str:
    """The run as a reader may call it: no folder of this machine."""
    return run.path.name if run.path.is_absolute() else run.path.as_posix()


def _origin(subjects: list[Subject], run: RunFolder, trial: TrialRecord, commands: list[str]) -> Origin:
    first = subjects[0]
    machine = first.bench.profile.profile.machine
    models = [key for one in subjects for name, key in one.trained.keys.items() if name != "policy"]
    places = trained_on(first.bench.store, models)
    return Origin(
        study=first.pipeline.study.name,
        run=_place(run),
        trial=trial.number,
        pipeline=described(trial.pipeline),
        seeds=[one.seed for one in subjects],
        images=[len(one.data.test) for one in subjects],
        fingerprint=first.data.fingerprint,
        device=first.pipeline.device.name,
        machine=machine.described + (f"; trained on {places}" if places else ""),
        commands=commands,
        versions={
            "python": platform.python_version(),
            **versions("paser-opt", "torch", "optuna", "numpy"),
        },
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def described(pipeline: PipelineConfig) -> str:
    """A pipeline in one line."""
    models = ", ".join(f"f_{index} {words.model(model)}" for index, model in enumerate(pipeline.models))
    return (
        f"{models}; grid {pipeline.grid[0]} x {pipeline.grid[1]}, halo {pipeline.halo}, "
        f"context {pipeline.context}, S {pipeline.mc_samples}, "
        f"λ {pipeline.cost_weight:.3g}, β {pipeline.distill_weight:g}, C {pipeline.reward_cost}, "
        f"policy {pipeline.policy.kind}, reward {pipeline.training.reward}"
    )
