"""The static front: what a sceptic deploys instead of a route. Single UNets on whole images, fp32 and int8.

Same images: each is trained on D_PT, D_RL and D_FT together, for as many epochs as the UNet of a pipeline that has most
or as the study says, and its best epoch on val is kept. Sizes span those of the study's space.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor

from ..config import Device, StaticSize, UNetConfig
from ..cost import ProfileStore, Workload, cost_per_patch, open_bench, open_profile, runtime_for
from ..data import Part, load
from ..errors import ConfigError, DeviceError, DivergedError, RunError
from ..evaluate import bootstrap, data_iou, never_predicted
from ..models import smallest_extent
from ..patches import confusion
from ..progress import Progress
from ..records import Entry, Rivalry, StaticFront, StaticModel, TrialRecord, Versus
from ..routing import Screen, screening, workloads
from ..runs import RunFolder
from ..train import TRAINED_S, Single, restore_pipeline, train_whole, trained_on, whole_epochs
from .ahead import fits, lessons, single_config, single_training, sized, train_ahead, training_side
from .executors import MakeExecutor
from .objective import Bench, price
from .pipelines import run_bench
from .space import static_sizes

__all__ = ["SingleModels", "Unfinished", "static_front"]

Matrices = dict[str, Tensor]
"""Of val and test, the confusion matrices (N, K, K)."""

INT8_EXAMPLES = 16
"""Training images from which int8 takes the range of activations."""


def static_front(
    run: RunFolder,
    *,
    device: Device,
    models: int,
    int8: bool,
    progress: Progress,
    executor: MakeExecutor | None = None,
) -> StaticFront:
    """Train, price and score the static front of a run, and set its trials against it; goes on where it stopped.

    ``executor``: where its UNets train, several at a time; None: here, one after another. Raises RunError where the
    run's data has changed or its trials' weights are gone, DivergedError where every training diverges.
    """
    with run.locked():
        record = run.run()
        bench = run_bench(run, record.study, load(record.study.data, progress=progress), device, progress)
        if bench.data.fingerprint != record.data.fingerprint:
            raise RunError(f"the data has changed since {run.path} was started: search anew, then compare")
        sizes = static_sizes(record.study, models)
        if executor:
            train_ahead(lessons(sizes, [0]), bench, run.run_file, executor, progress)
        trials = [trial for trial in run.trials() if trial.state == "complete" and trial.test]
        beside = [load for trial in trials[:1] for load in _steps(trial, bench)]
        fronts = SingleModels(bench, device, run, sizes, int8)
        fronts.measure(beside)
        found: list[tuple[StaticModel, Matrices]] = []
        for config in fronts.configs:
            try:
                found += fronts.of_size(config, record.study.seed)
            except DivergedError as error:
                fronts.notes.append(f"{sized(config)} is left out: {error}.")
        if not found:
            raise DivergedError(f"no single UNet can be set against the routes: {' '.join(fronts.notes)}")
        rows, matrices = zip(*found, strict=True)
        fronts.notes.append(f"Single UNets were trained on {' and '.join(sorted(fronts.places))}.")
        fronts.notes += [_trained(trial, bench) for trial in trials] + fronts.unfinished.notes()
        progress.stage("routes against it", len(trials))
        against = []
        for done, trial in enumerate(trials, start=1):
            against.append(_rivalry(trial, rows, [one["test"] for one in matrices], bench))
            progress.advance(done, f"trial {trial.number}")
        result = StaticFront(device=device.name, models=list(rows), against=against, notes=fronts.notes)
        result.write(run.static_file)
        return result


def _steps(trial: TrialRecord, bench: Bench) -> list[Workload]:
    data = bench.data
    return workloads(trial.pipeline, height=data.height, width=data.width, device=bench.cost_device)[0]


def _trained(trial: TrialRecord, bench: Bench) -> str:
    """How long the UNets of a trial were trained: what single ones are to be held against."""
    names = [f"f_{index}" for index in range(len(trial.pipeline.models))]
    found = {name: bench.store.get(trial.weights[name]) for name in names}
    each = [f"{name} {one.notes[TRAINED_S]:.0f} s" for name, one in found.items() if one and TRAINED_S in one.notes]
    if len(each) < len(names):
        return f"How long the UNets of trial {trial.number} were trained is not kept."
    place = trained_on(bench.store, (trial.weights[name] for name in names))
    where = f"; on {place}" if place else ""  # runs of earlier versions do not tell
    return f"UNets of trial {trial.number} were trained for: {', '.join(each)}{where}; folds not counted."


class Unfinished:
    """What single UNets have not learnt by their last epoch: one note for all seeds of a size."""

    def __init__(self) -> None:
        self.gaining: dict[UNetConfig, list[int]] = {}  # seeds
        self.unlearnt: dict[UNetConfig, dict[int, int]] = {}  # seed → classes that are never predicted

    def notes(self) -> list[str]:
        gaining = [
            f"{sized(config)}, {_seeds(seeds)}, still gained IoU at its end: train longer."
            for config, seeds in self.gaining.items()
        ]
        unlearnt = [
            f"{sized(config)}, {_seeds(never)}, never predicts {_between(never.values())} of {config.classes} classes "
            "on test: it has not learnt them."
            for config, never in self.unlearnt.items()
        ]
        return [*gaining, *unlearnt]


class SingleModels:
    """Single UNets of ``sizes``: measured once, trained from any seed; fp32 and int8."""

    def __init__(
        self,
        bench: Bench,
        device: Device,
        run: RunFolder,
        sizes: Sequence[StaticSize],
        int8: bool,
        unfinished: Unfinished | None = None,
    ) -> None:
        self.bench, self.data = bench, bench.data
        self.notes: list[str] = []
        self.places: set[str] = set()  # where the UNets were trained
        self.unfinished = unfinished or Unfinished()
        configs = {single_config(size, bench.study, bench.data): size for size in sizes}
        self.sizes = {config: size for config, size in configs.items() if self._fits(config, size)}
        self.configs = list(self.sizes)
        if sizes and not self.configs:
            raise ConfigError(f"no single UNet can be trained: {' '.join(self.notes)}")
        self.int8: ProfileStore | None = None
        if int8:
            quantized = device.model_copy(update={"runtime": "onnx-int8", "precision": "fp32"})
            try:
                self.int8 = open_profile(run.profile_file(f"{device.name}-int8"), open_bench(quantized))
                self.quantize = runtime_for(
                    Device(name="here", local=True, runtime="onnx-int8", threads=1), torch.device("cpu")
                )
            except DeviceError as error:
                self.notes.append(f"No int8: {error}.")

    def measure(self, beside: Sequence[Workload], *, energy: bool = False) -> None:
        """All latencies at the pace of the routes': those of fp32 in turns with each other and networks of the routes,
        ``beside``; those of int8 between two timings of such networks in fp32."""
        loads = [self._load(config) for config in self.configs]
        progress, profile = self.bench.progress, self.bench.profile
        profile.ensure(loads, progress=progress, energy=energy, beside=beside)
        if self.int8:
            self.int8.ensure_at_pace_of(profile, loads, progress=progress, energy=energy, beside=beside)

    def entry(self, row: StaticModel) -> Entry:
        """What the model of ``row`` was measured at."""
        profile = self.int8 if row.precision == "int8" else self.bench.profile
        assert profile is not None
        return profile.profile.entries[self._load(row.config).key]

    def rows(self, seed: int) -> Iterator[tuple[StaticModel, Matrices]]:
        """Of each size and precision, trained from ``seed``: a row, and its confusion matrices on val and test.

        Raises DivergedError: over several seeds a front must hold the same sizes.
        """
        for config in self.configs:
            yield from self.of_size(config, seed)

    def _fits(self, config: UNetConfig, size: StaticSize) -> bool:
        if fits(size, self.bench.study, self.data):
            return True
        least, side = smallest_extent(config), training_side(size, self.bench.study, self.data)
        self.notes.append(f"{sized(config)} is left out: it needs {least} px, and trains on windows of {side} px.")
        return False

    def _load(self, config: UNetConfig) -> Workload:
        data = self.data
        return screening(config, height=data.height, width=data.width, device=self.bench.cost_device)

    def of_size(self, config: UNetConfig, seed: int) -> Iterator[tuple[StaticModel, Matrices]]:
        """Its rows, fp32 first. Raises DivergedError."""
        bench, study = self.bench, self.bench.study
        size = self.sizes[config]
        training = single_training(size, study)
        single = train_whole(
            config, self.data, training, bench.store, seed=seed, device=bench.training_device,
            progress=bench.progress, epochs=size.epochs,
        )  # fmt: skip
        model = single.model.to("cpu").eval()
        self.places.add(single.trained_on)
        if not single.converged:
            self.unfinished.gaining.setdefault(config, []).append(seed)
        if single.epochs != (usual := whole_epochs(study.training)):
            each = f"{sized(config)} trains {single.epochs} epochs, by the study"
            self.notes.append(f"{each}; no UNet of a pipeline trains more than {usual}.")
        if training.screen_crops == "hard":
            self.notes.append(f"{sized(config)} trains on windows most of which lie where it misses most.")
        screen = Screen(model, 0, seed=0)
        key = self._load(config).key
        row, matrices = self._row(single, "fp32", bench.profile, key, screen)
        if never := never_predicted(matrices["test"]):
            self.unfinished.unlearnt.setdefault(config, {})[seed] = never
        yield row, matrices
        if self.int8:
            images = self.data.pretrain.images[:: self.data.copies]
            examples = [(image[None],) for image in images[:INT8_EXAMPLES]]
            yield self._row(single, "int8", self.int8, key, self.quantize(screen, examples))

    def _row(
        self, single: Single, precision: str, profile: ProfileStore, key: str, screen: Callable[..., object]
    ) -> tuple[StaticModel, Matrices]:
        entry = profile.profile.entries[key]
        matrices = {name: _matrices(screen, part, self.data.classes) for name, part in
                    (("val", self.data.val), ("test", self.data.test))}  # fmt: skip
        low, high = bootstrap(matrices["test"])
        row = StaticModel(
            config=single.model.config, precision=precision, runtime=profile.profile.machine.runtime,
            params=entry.params, macs=entry.macs, epochs=single.epochs, trained_s=single.trained_s,
            latency=entry.latency, val_iou=data_iou(matrices["val"]),
            test_iou=data_iou(matrices["test"]), test_low=low, test_high=high,
        )  # fmt: skip
        return row, matrices


def _seeds(seeds: Collection[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"


def _between(counts: Collection[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


@torch.inference_mode()
def _matrices(screen: Callable[..., object], part: Part, classes: int) -> Tensor:
    """Confusion matrices (N, K, K), image by image: a quantized model takes no batch."""
    labels = [screen(image[None])[1] for image in part.images]  # type: ignore[index]
    return confusion(torch.cat(labels), part.masks, classes)


def _rivalry(trial: TrialRecord, rows: Sequence[StaticModel], matrices: Sequence[Tensor], bench: Bench) -> Rivalry:
    """The trial's route on test against the single model with the best IoU on val that is no slower."""
    assert trial.test is not None
    latency_s = trial.test.cost.latency_s.value or 0.0
    slower = [index for index, row in enumerate(rows) if row.latency.median_s <= latency_s]
    if not slower:
        return Rivalry(trial=trial.number, latency_s=latency_s, rival=None, versus=None)
    rival = max(slower, key=lambda index: rows[index].val_iou)
    priced = price(trial.pipeline, bench)
    cost = cost_per_patch(priced.entries, priced.plan, priced.config.reward_cost, priced.patches)
    trained = restore_pipeline(
        trial.pipeline, bench.data, bench.store, cost, trial.weights, device=bench.training_device,
        progress=bench.progress,
    )  # fmt: skip
    table = trained.tables("test")
    routed = table.routed(trained.route(table))
    low, high = bootstrap(routed, matrices[rival])
    versus = Versus(
        baseline=rows[rival].name,
        baseline_iou=rows[rival].test_iou,
        difference=data_iou(routed) - rows[rival].test_iou,
        low=low,
        high=high,
    )
    return Rivalry(trial=trial.number, latency_s=latency_s, rival=rival, versus=versus)
