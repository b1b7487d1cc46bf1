"""UNets that a search or a comparison will ask for, several at a time before it begins: it finds them in the store.

A comparison goes from seed to seed, and from one single UNet to the next; what trains on one core leaves the others
idle. And nothing here is measured, so it may be done on another machine than the one that is. Policies and fine-tuning
are left to them: they need costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..config import DataConfig, PipelineConfig, Size, StaticSize, Study, TrainConfig, UNetConfig
from ..data import SegmentationData, load
from ..errors import ConfigError, DivergedError, RunError
from ..models import smallest_extent
from ..patches import patch_size
from ..progress import Progress, Silent
from ..runs import RunFolder
from ..train import Artifact, ArtifactStore, Tensors, train_unets, train_whole, training_device
from .attempt import out_of_memory
from .executors import LostError, MakeExecutor
from .objective import Workshop
from .space import every_unet, static_sizes, unfit

__all__ = [
    "Ahead",
    "Lesson",
    "fits",
    "held",
    "lessons",
    "single_config",
    "single_training",
    "sized",
    "train_ahead",
    "train_study",
    "training_side",
]


@dataclass(frozen=True)
class Lesson:
    """UNets to train: those of a pipeline, or a single one; ``seed`` is added to the study's and its data's."""

    what: PipelineConfig | StaticSize
    seed: int

    def __str__(self) -> str:
        if isinstance(self.what, PipelineConfig):
            return f"UNets of seed {self.seed} ({'; '.join(map(sized, self.what.models))})"
        return f"{sized(self.what)} of seed {self.seed}"

    def run(self, workshop: Workshop) -> None:
        """Train into the store what is not in it. Raises DivergedError."""
        study, store, device = workshop.study, workshop.store, workshop.training_device
        data = (
            _data(study.data.model_copy(update={"seed": study.data.seed + self.seed})) if self.seed else workshop.data
        )
        if isinstance(self.what, PipelineConfig):
            train_unets(self.what, data, store, device=device, progress=workshop.progress)
            return
        if not fits(self.what, study, data):
            return  # the comparison leaves it out too, and says so
        train_whole(
            single_config(self.what, study, data), data, single_training(self.what, study), store,
            seed=study.seed + self.seed, device=device, progress=workshop.progress, epochs=self.what.epochs,
        )  # fmt: skip


def sized(one: Size) -> str:
    """In words."""
    return f"base {one.base}, depth {one.depth}, scale {one.scale:g}"


@lru_cache(maxsize=1)
def _data(config: DataConfig) -> SegmentationData:
    """The last that a worker loaded: the lessons of a seed follow one another."""
    return load(config)


def single_config(size: StaticSize, study: Study, data: SegmentationData) -> UNetConfig:
    """A single UNet of ``size`` for the data of ``study``."""
    return UNetConfig(
        base=size.base, depth=size.depth, scale=size.scale, norm=study.norm, dropout=study.dropout,
        in_channels=data.channels, classes=data.classes,
    )  # fmt: skip


def single_training(size: StaticSize, study: Study) -> TrainConfig:
    """The study's, with the windows of ``size``."""
    usual = study.training
    own = {"windows": size.windows or usual.windows, "screen_crops": size.crops or usual.screen_crops}
    return usual.model_copy(update=own)


def fits(size: StaticSize, study: Study, data: SegmentationData) -> bool:
    """Whether its training windows are large enough for it."""
    return training_side(size, study, data) >= smallest_extent(single_config(size, study, data))


def training_side(size: StaticSize, study: Study, data: SegmentationData) -> int:
    """The shorter side of the windows that it trains on, px."""
    return min(patch_size(data.height, data.width, single_training(size, study).windows))


@dataclass(frozen=True)
class Ahead:
    """What was trained ahead."""

    folder: Path  # of the store
    pieces: int  # trained: a pipeline's UNets, or a single one, of one seed
    left: tuple[str, ...]  # for later, and why
    unfit: tuple[str, ...]  # what no search trains on these images, and why
    size_bytes: int  # of the store


def lessons(whats: Sequence[PipelineConfig | StaticSize], seeds: Iterable[int]) -> list[Lesson]:
    """All of ``whats`` from each seed, seed by seed."""
    return [
        Lesson(one.model_copy(update={"seed": one.seed + seed}) if isinstance(one, PipelineConfig) else one, seed)
        for seed in seeds for one in whats
    ]  # fmt: skip


def train_study(
    study: Study, run: RunFolder, *, seeds: int, static: int, progress: Progress, executor: MakeExecutor
) -> Ahead:
    """Train into the run's store all UNets that a search of ``study``, a comparison of ``seeds`` seeds with ``static``
    single UNets, and the ablation of what it chooses can ask for. Nothing is measured.

    Raises ConfigError where the space does not say which, or none of them fits the images; RunError where the run has
    other data.
    """
    data = load(study.data, progress=progress)
    if run.run_file.is_file() and run.run().data.fingerprint != data.fingerprint:
        raise RunError(f"{run.path} holds a run on other data: name another folder")
    pipelines = every_unet(study, channels=data.channels, classes=data.classes)
    reasons = {one: unfit(one, data) for one in pipelines}
    if all(reasons.values()):
        raise ConfigError(f"study {study.name}: no pipeline of its space fits the images: {reasons[pipelines[0]]}")
    fit = [one for one, reason in reasons.items() if not reason]
    taught = [one.model_copy(update={"distill_weight": 0.0}) for one in fit if one.distill_weight]  # the ablation's
    every_size = static_sizes(study, static)
    sizes = [size for size in every_size if fits(size, study, data)]
    store = ArtifactStore(run.artifacts)
    with run.locked():
        workshop = Workshop(study, data, store, training_device(), progress)
        work = lessons(list(dict.fromkeys([*fit, *taught, *sizes])), range(seeds))
        left = train_ahead(work, workshop, run.lock_file, executor, progress)
    return Ahead(
        folder=store.folder,
        pieces=len(work) - len(left),
        left=tuple(left),
        unfit=(*dict.fromkeys(reason for reason in reasons.values() if reason),
               *(f"{sized(one)} is larger than its windows" for one in every_size if one not in sizes)),
        size_bytes=sum(file.stat().st_size for file in store.folder.glob("*.safetensors")),
    )  # fmt: skip


class _Held(ArtifactStore):
    """Makes nothing: what it lacks raises LookupError."""

    def get_or_make(self, key: str, make: Callable[[], tuple[Tensors, dict[str, Any]]]) -> Artifact:
        found = self.get(key)
        if found is None:
            raise LookupError(key)
        return found


def held(study: Study, data: SegmentationData, run: RunFolder) -> str:
    """In words: of how many of the pipelines that a search of ``study`` can ask for the run's store holds the UNets;
    "" where the space does not say which those are."""
    try:
        pipelines = every_unet(study, channels=data.channels, classes=data.classes)
    except ConfigError:
        return ""
    fit = [one for one in pipelines if not unfit(one, data)]
    missing = 0
    for one in fit:
        try:
            train_unets(one, data, _Held(run.artifacts), device=training_device(), progress=Silent())
        except LookupError:
            missing += 1
    if not missing:
        again = "; they train again up to each rung" if any(share < 1 for share in study.rungs) else ""
        return f"{run.artifacts} holds the UNets of every pipeline ({len(fit)}){again}"
    return (
        f"{run.artifacts} holds the UNets of {len(fit) - missing} out of {len(fit)} pipelines; the others train here. "
        "What another version of paser-opt trained, or the same one for other data or settings, is not taken"
    )


def train_ahead(
    work: Sequence[Lesson], workshop: Workshop, seen: Path, make_executor: MakeExecutor, progress: Progress
) -> list[str]:
    """Train ``work`` where the executor trains; ``seen`` is a file that every worker must see.

    One whose worker is lost, that diverges or has too little memory beside the others is left to the comparison: those
    are named, with the reason. Raises what else lessons raise.
    """
    left: list[str] = []
    executor = make_executor(workshop, seen)
    begun = time.monotonic()
    progress.stage("UNets", len(work))
    try:
        waiting = {executor.submit(lesson, Silent()): lesson for lesson in work}
        for done, future in enumerate(as_completed(waiting), start=1):
            said = str(waiting[future])
            try:
                future.result()
            except (LostError, DivergedError, MemoryError, RuntimeError) as error:
                if isinstance(error, MemoryError | RuntimeError) and not out_of_memory(error):
                    raise
                said += f" is left for later: {error}"
                left.append(said)
            left_s = (time.monotonic() - begun) / done * (len(work) - done)
            progress.advance(done, f"{said}; about {left_s / 60:.0f} min left")
    finally:
        executor.close()
    return left
