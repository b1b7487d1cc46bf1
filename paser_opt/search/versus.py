"""Routers compared on a finished run's models, or on a study's own pipeline from several seeds.

Models come from the stage store, and so do the policies that an earlier comparison trained; nothing is chosen on test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import optuna

from ..compare.outcome import box, budgets, per_gflop, results, unevenness
from ..compare.records import ENTROPY, LEARNED, ORACLE, PIPELINE, RANDOM, STATIC, Comparison
from ..compare.statistics import draw
from ..config import Device, Study
from ..data import load
from ..errors import ConfigError, DeviceError
from ..progress import Progress
from ..records import Quantity, TrialRecord
from ..runs import RunFolder
from .ahead import lessons, train_ahead
from .executors import MakeExecutor
from .lanes import Effort, Scorer, on_shared_axes
from .objective import price
from .pipelines import SeededPipeline, trial_pipeline
from .space import first_trials, static_sizes, suggest
from .static import SingleModels, Unfinished

__all__ = ["Effort", "compare_run", "compare_study"]

RESAMPLES = 2000


def compare_run(
    run: RunFolder,
    trial: TrialRecord,
    *,
    effort: Effort,
    device: Device,
    progress: Progress,
    executor: MakeExecutor | None = None,
) -> Comparison:
    """Compare routers on the models of a finished trial; seeds beyond the first are trained through the run's store.

    ``executor``: where UNets train, several at a time; None: here, one after another. Raises RunError for a trial that
    is not complete, weights that are gone, or data that has changed.
    """
    pipeline = trial_pipeline(run, trial, device=device, progress=progress)
    with run.locked():
        if executor:
            _train_ahead(pipeline, effort, run.run_file, executor, progress)
        return _Maker(pipeline, effort).comparison(f"{pipeline.study.name}, trial {trial.number}")


def compare_study(
    study: Study,
    run: RunFolder,
    *,
    effort: Effort,
    device: Device,
    progress: Progress,
    executor: MakeExecutor | None = None,
) -> Comparison:
    """Train the study's own pipeline (the paper's choices at its sizes) from several seeds, and compare on each.

    ``executor`` as for :func:`compare_run`. Raises ConfigError where the paper's choices are not in the study's space.
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
        pipeline = SeededPipeline(study, config, run, device, progress)
        if executor:
            _train_ahead(pipeline, effort, run.lock_file, executor, progress)
        return _Maker(pipeline, effort).comparison(study.name)


def _train_ahead(
    pipeline: SeededPipeline, effort: Effort, seen: Path, make_executor: MakeExecutor, progress: Progress
) -> None:
    """The UNets of all seeds, seed by seed; the trial's own are there. What a comparison refuses is refused before."""
    bench = pipeline.bench(0)
    pipeline.refuse_other_data(bench)
    price(pipeline.config, bench)
    sizes = static_sizes(pipeline.study, effort.static) if effort.static else []
    of_pipeline = lessons([pipeline.config], range(1 if pipeline.trial else 0, effort.seeds))
    work = sorted(of_pipeline + lessons(sizes, range(effort.seeds)), key=lambda one: one.seed)
    train_ahead(work, bench, seen, make_executor, progress)


@dataclass(frozen=True)
class _Maker:
    pipeline: SeededPipeline
    effort: Effort

    def comparison(self, title: str) -> Comparison:
        pipeline, lanes = self.pipeline, []
        unsettled: list[str] = []
        unfinished = Unfinished()
        uneven: list[float] = []
        axis, trial = pipeline.axis, pipeline.trial
        for seed in range(self.effort.seeds):
            bench = pipeline.bench(seed)
            priced, trained = pipeline.trained(seed, bench)
            sizes = static_sizes(pipeline.study, self.effort.static) if self.effort.static else []
            singles = SingleModels(bench, pipeline.device, pipeline.run, sizes, self.effort.int8, unfinished)
            scored = Scorer(bench, priced, trained, axis, self.effort, singles)
            lanes.append(dict(scored.lanes()))
            uneven.append(unevenness(scored.test.gain))
            unsettled += singles.notes
        unsettled += unfinished.notes()
        if (head := scored.policies.get("reference")) and head.every > 1:
            unsettled.append(
                f"The published head reads one of every {head.every} rows and columns of f_0's maps, in training and "
                "when it is timed; as published it reads all, which takes longer."
            )
        lanes, lacking = on_shared_axes(lanes)
        energy = scored.energy
        if lacking and energy.value is not None:
            energy = Quantity(value=None, how="predicted", reason=f"it is not known of {', '.join(lacking)}")
        if axis == "energy" and energy.value is None:
            raise DeviceError(f"routers cannot be compared by energy: {energy.reason}")
        boxes = {one: box(lanes, one) for one in lanes[0][PIPELINE].test.costs}
        spent = budgets(lanes, axis, random=RANDOM, oracle=ORACLE)
        images = [one[PIPELINE].test.matrices.shape[1] for one in lanes]
        pipeline.progress.stage("bootstrap", 1)
        resamples = draw(images, count=RESAMPLES)
        routers = results(
            lanes, axis, spent, boxes, resamples,
            pipeline=PIPELINE, learned=LEARNED, random=RANDOM, oracle=ORACLE, energy=energy,
        )  # fmt: skip
        return Comparison(
            title=title,
            trial=trial.number if trial else None,
            seeds=list(range(self.effort.seeds)),
            images=images,
            device=pipeline.device.name,
            axis=axis,
            budgets=spent,
            reference={one: edge.reference for one, edge in boxes.items()},
            ideal={one: edge.ideal for one, edge in boxes.items()},
            resamples=RESAMPLES,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            routers=routers,
            uneven=sum(uneven) / len(uneven),
            per_gflop=per_gflop(lanes, resamples, pipeline=PIPELINE, learned=LEARNED, static=STATIC)
            if STATIC in lanes[0]
            else [],
            notes=[*self._notes(energy), *dict.fromkeys(unsettled)],
        )

    def _notes(self, energy: Quantity) -> list[str]:
        notes = [
            f"Random routes and oracles decide nothing at run time; they are charged the step of the {ENTROPY}.",
            "f_1 … on whole images run outside the extent they were trained at; see docs/comparing.md.",
        ]
        if augment := self.pipeline.study.data.augment:
            notes.append(
                f"Policies and priced gains learn from copies of D_RL's images too, under {', '.join(augment)}; "
                "thresholds and cascade are chosen on val, which has none."
            )
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
