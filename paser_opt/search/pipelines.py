"""One pipeline from as many seeds as asked: a trial's own from the stage store, further ones trained through it."""

from __future__ import annotations

from dataclasses import dataclass

from ..compare.records import AXES, Axis
from ..config import Device, PipelineConfig, Study
from ..cost import cost_per_patch, open_bench, open_profile
from ..data import SegmentationData, load
from ..errors import RunError
from ..progress import Progress
from ..records import TrialRecord
from ..runs import RunFolder
from ..train import ArtifactStore, Trained, restore_pipeline, training_device
from .objective import Bench, Priced, price, train

__all__ = ["SeededPipeline", "run_bench", "trial_pipeline"]


def run_bench(run: RunFolder, study: Study, data: SegmentationData, device: Device, progress: Progress) -> Bench:
    """What works on a run that is there: its store, its profile of ``device``. Raises RunError for a run of a version
    whose steps were other ones."""
    run.refuse_other_steps()
    return Bench(
        study=study,
        data=data,
        store=ArtifactStore(run.artifacts),
        profile=open_profile(run.profile_file(device.name), open_bench(device)),
        training_device=training_device(),
        progress=progress,
    )


@dataclass(frozen=True)
class SeededPipeline:
    """One pipeline's configuration, and what it takes to train and price it from any seed.

    Initialisation, order and split vary together with the seed. Seed 0 of ``trial`` is what the search trained.
    """

    study: Study
    config: PipelineConfig
    run: RunFolder
    device: Device
    progress: Progress
    trial: TrialRecord | None = None

    @property
    def axis(self) -> Axis:
        """The study's first cost, where it can be added up over patches."""
        return next((axis for name in self.study.objectives for axis in AXES if axis == name), "latency")

    def data(self, seed: int, **changes: object) -> SegmentationData:
        """The study's data from this seed; ``changes``: keys of [data] that differ."""
        config = self.study.data.model_copy(update={"seed": self.study.data.seed + seed, **changes})
        return load(config, progress=self.progress)

    def bench(self, seed: int) -> Bench:
        return run_bench(self.run, self.study, self.data(seed), self.device, self.progress)

    def refuse_other_data(self, bench: Bench) -> None:
        """Raises RunError where a trial's data, ``bench``'s of its own seed, has changed."""
        if self.trial and bench.data.fingerprint != self.run.run().data.fingerprint:
            raise RunError(f"the data has changed since {self.run.path} was started; work where it is as it was")

    def trained(self, seed: int, bench: Bench) -> tuple[Priced, Trained]:
        """Raises RunError where a trial's weights are gone or its data has changed, DivergedError."""
        config = self.config.model_copy(update={"seed": self.config.seed + seed})
        if not seed:
            self.refuse_other_data(bench)
        priced = price(config, bench)
        if seed or self.trial is None:
            return priced, train(priced, bench)
        cost = cost_per_patch(priced.entries, priced.plan, config.reward_cost, priced.patches)
        found = restore_pipeline(
            config, bench.data, bench.store, cost, self.trial.weights, device=bench.training_device,
            progress=self.progress,
        )  # fmt: skip
        return priced, found


def trial_pipeline(run: RunFolder, trial: TrialRecord, *, device: Device, progress: Progress) -> SeededPipeline:
    """A finished trial's pipeline. Raises RunError for one that is not complete."""
    if trial.state != "complete":
        raise RunError(f"trial {trial.number} of {run.path} is {trial.state}; choose a complete one")
    return SeededPipeline(run.run().study, trial.pipeline, run, device, progress, trial)
