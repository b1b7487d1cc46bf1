"""Routers compared on a finished run's models, or on a study's own pipeline from several seeds.

Models come from the stage store, and so do the policies that an earlier comparison trained; nothing is chosen on test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

import optuna

from ..compare.outcome import box, budgets, results
from ..compare.records import AXES, Axis, Comparison
from ..compare.statistics import draw
from ..config import Device, PipelineConfig, Study
from ..cost import cost_per_patch, open_bench, open_profile
from ..data import load
from ..errors import ConfigError, RunError
from ..progress import Progress
from ..records import Quantity, TrialRecord
from ..runs import RunFolder
from ..train import ArtifactStore, Trained, restore_pipeline, training_device
from .lanes import ENTROPY, LEARNED, ORACLE, PIPELINE, RANDOM, Effort, Scorer
from .objective import Bench, Priced, price, train
from .space import first_trials, suggest

__all__ = ["Effort", "compare_run", "compare_study"]

RESAMPLES = 2000


def compare_run(
    run: RunFolder, trial: TrialRecord, *, effort: Effort, device: Device, progress: Progress
) -> Comparison:
    """Compare routers on the models of a finished trial; seeds beyond the first are trained through the run's store.

    Raises RunError for a trial that is not complete, weights that are gone, or data that has changed.
    """
    record = run.run()
    if trial.state != "complete":
        raise RunError(f"trial {trial.number} of {run.path} is {trial.state}; compare a complete one")
    with run.locked():
        maker = _Maker(record.study, trial.pipeline, run, device, effort, progress)
        return maker.comparison(f"{record.study.name}, trial {trial.number}", trial)


def compare_study(study: Study, run: RunFolder, *, effort: Effort, device: Device, progress: Progress) -> Comparison:
    """Train the study's own pipeline (the paper's choices at its sizes) from several seeds, and compare on each.

    Raises ConfigError where the paper's choices are not in the study's space.
    """
    paper = next((one for one in first_trials(study.space)[0] if one.tag == "paper"), None)
    if paper is None:
        raise ConfigError(
            f"study {study.name}: the paper's choices are not in its space, so it has no pipeline of its own; "
            "search it, and compare the run"
        )
    with run.locked():
        data = load(study.data, progress=progress)
        chosen = optuna.trial.FixedTrial(dict(paper.params))
        config = suggest(chosen, study, channels=data.channels, classes=data.classes)  # type: ignore[arg-type]
        return _Maker(study, config, run, device, effort, progress).comparison(study.name, None)


@dataclass
class _Maker:
    """One pipeline's configuration, and what it takes to train and price it from any seed."""

    study: Study
    config: PipelineConfig
    run: RunFolder
    device: Device
    effort: Effort
    progress: Progress

    @property
    def axis(self) -> Axis:
        """The study's first cost, where it can be added up over patches."""
        return next((axis for name in self.study.objectives for axis in AXES if axis == name), "latency")

    def bench(self, seed: int) -> Bench:
        """Initialisation, order and split vary together with the seed."""
        data = self.study.data.model_copy(update={"seed": self.study.data.seed + seed})
        return Bench(
            study=self.study,
            data=load(data, progress=self.progress),
            store=ArtifactStore(self.run.artifacts),
            profile=open_profile(self.run.profile_file(self.device.name), open_bench(self.device)),
            training_device=training_device(),
            progress=self.progress,
        )

    def trained(self, seed: int, bench: Bench, trial: TrialRecord | None) -> tuple[Priced, Trained]:
        config = self.config.model_copy(update={"seed": self.config.seed + seed})
        if trial and not seed and bench.data.fingerprint != self.run.run().data.fingerprint:
            raise RunError(f"the data has changed since {self.run.path} was started; compare where it is as it was")
        priced = price(config, bench)
        if seed or trial is None:
            return priced, train(priced, bench)
        cost = cost_per_patch(priced.entries, priced.plan, config.reward_cost, priced.patches)
        found = restore_pipeline(
            config, bench.data, bench.store, cost, trial.weights, device=bench.training_device, progress=self.progress
        )
        return priced, found

    def comparison(self, title: str, trial: TrialRecord | None) -> Comparison:
        lanes = []
        for seed in range(self.effort.seeds):
            bench = self.bench(seed)
            priced, trained = self.trained(seed, bench, trial)
            scored = Scorer(bench, priced, trained, self.axis, self.effort)
            lanes.append(dict(scored.lanes()))
        boxes = {axis: box(lanes, axis) for axis in lanes[0][PIPELINE].test.costs}
        spent = budgets(lanes, self.axis, random=RANDOM, oracle=ORACLE)
        images = [one[PIPELINE].test.matrices.shape[1] for one in lanes]
        self.progress.stage("bootstrap", 1)
        routers = results(
            lanes, self.axis, spent, boxes, draw(images, count=RESAMPLES),
            pipeline=PIPELINE, learned=LEARNED, random=RANDOM, oracle=ORACLE, energy=scored.energy,
        )  # fmt: skip
        return Comparison(
            title=title,
            trial=trial.number if trial else None,
            seeds=list(range(self.effort.seeds)),
            images=images,
            device=self.device.name,
            axis=self.axis,
            budgets=spent,
            reference={axis: edge.reference for axis, edge in boxes.items()},
            ideal={axis: edge.ideal for axis, edge in boxes.items()},
            resamples=RESAMPLES,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            routers=routers,
            notes=self._notes(scored.energy),
        )

    def _notes(self, energy: Quantity) -> list[str]:
        notes = [
            f"Random routes and oracles decide nothing at run time; they are charged the step of the {ENTROPY}.",
            "f_1 … on whole images run outside the extent they were trained at; see docs/comparing.md.",
        ]
        if energy.value is None:
            notes.append(f"No energy: {energy.reason}.")
        elif energy.how == "estimated":
            notes.append(f"Energy is estimated: {energy.source}.")
        if not self.effort.reinforce:
            notes.append("The published head was not trained by REINFORCE (--no-reinforce).")
        if (seeds := self.effort.seeds) < 5:
            few = "1 seed: the intervals cover" if seeds == 1 else f"{seeds} seeds: the intervals mostly cover"
            notes.append(f"{few} the choice of test images, not the luck of training; 5 seeds or more cover both.")
        return notes
