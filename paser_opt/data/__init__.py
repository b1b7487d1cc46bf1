"""Images with masks, divided as PaSeR's stages need them.

    source (folder, mnist, synthetic)  →  train / val / test, images in [0, 1]
    corruptions, if any are named      →  the same, disturbed: each image by one of them, in turn
    seeded split of train              →  D_PT / D_RL / D_FT, disjoint; or folds, that take turns as D_RL
    augment, if corruptions are named  →  there, after each image, its copies, one under each of them
    mean and std of train, or of each  →  standardised images; copies do not count in the former

A new kind of data is one file with a ``read(config, progress) -> Splits``, one entry in DATASETS and its name
in DataConfig.kind. Everything follows from DataConfig alone; ``fingerprint`` says whether two loads are the same.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config import FLAT, DataConfig, Standardise
from ..errors import ConfigError, DataError
from ..patches import IGNORE
from ..progress import Progress, Silent
from ..records import DataSummary
from . import folder, mnist, synthetic
from .corruptions import NONE, SEVERITIES, corrupt
from .splits import Part, Splits, divide

__all__ = ["DATASETS", "Part", "SegmentationData", "Source", "load"]


class Source(NamedTuple):
    """A kind of data: how it is read, and the fields of DataConfig that it alone gives a meaning to."""

    read: Callable[[DataConfig, Progress], Splits]
    fields: frozenset[str]


DATASETS: dict[str, Source] = {
    "synthetic": Source(synthetic.read, frozenset({"size", "count", "difficulty", "hard_share", "holdout"})),
    "folder": Source(
        folder.read,
        frozenset(
            {"path", "images", "masks", "mask_values", "ignore_index", "channels", "size", "split", "holdout", "limit"}
        ),
    ),
    "mnist": Source(mnist.read, frozenset({"path", "size", "count", "digits", "target", "holdout"})),
}

COMMON = frozenset(
    {"kind", "classes", "corruption", "severity", "augment", "standardise", "flips", "parts", "folds", "seed"}
)
PARTS = ("pretrain", "policy", "finetune", "val", "test")
STAGE_DRAWS = 6  # names the stream of the seed that divides the training images; another value is another split
COPY_DRAWS = 7  # and this one the severities and the noise of their copies


@dataclass(frozen=True)
class SegmentationData:
    """D_PT, D_RL, D_FT, val and test, standardised by the training images' mean and std or by each image's own."""

    kind: str
    pretrain: Part  # D_PT
    policy: Part  # D_RL
    finetune: Part  # D_FT
    val: Part
    test: Part
    class_names: tuple[str, ...]
    mean: tuple[float, ...]  # (C,) of the training images scaled to [0, 1]
    std: tuple[float, ...]  # (C,)
    fingerprint: str
    flips: str
    standardise: Standardise = "dataset"
    folds: int = 0
    """2 or more: D_PT and D_RL are both all training images, cut into as many folds."""
    augment: tuple[str, ...] = ()
    """In D_PT, D_RL and D_FT each image is followed by its copies under these."""

    @property
    def copies(self) -> int:
        """Rows of D_PT, D_RL and D_FT that are one image: itself and what ``augment`` makes of it."""
        return 1 + len(self.augment)

    @property
    def training(self) -> Part:
        """All training images."""
        return self.pretrain if self.folds else Part.joined(self.pretrain, self.policy, self.finetune)

    def without_folds(self) -> list[SegmentationData]:
        """The data for each fold: D_RL is the fold, D_PT all other training images; copies go with their image."""
        images = len(self.pretrain) // self.copies
        ends = (np.linspace(0, images, self.folds + 1).round().astype(int) * self.copies).tolist()
        every = range(len(self.pretrain))
        return [
            replace(self, folds=0, policy=self.pretrain.take(every[start:end]),
                    pretrain=self.pretrain.take([*every[:start], *every[end:]]))
            for start, end in itertools.pairwise(ends)
        ]  # fmt: skip

    def under(self, corruption: str) -> SegmentationData:
        """What a UNet that is trained under one corruption trains on, and is judged by: those images of D_PT and val.

        Raises DataError where there are none.
        """
        pretrain, val = self.pretrain.under(corruption), self.val.under(corruption)
        if not (len(pretrain) and len(val)):
            raise DataError(f"no image of D_PT or of val is under {corruption}; bring more images")
        return replace(self, pretrain=pretrain, val=val)

    def shows(self, corruption: str) -> bool:
        """Whether a UNet trained under ``corruption`` has images to train on and be judged by, without any fold too."""
        parts = (self.pretrain, self.val, *(one.pretrain for one in self.without_folds()))
        return all(corruption in part.corruptions for part in parts)

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def channels(self) -> int:
        return self.val.images.shape[1]

    @property
    def height(self) -> int:
        return self.val.images.shape[2]

    @property
    def width(self) -> int:
        return self.val.images.shape[3]

    def summary(self) -> DataSummary:
        """What a run records about its data."""
        return DataSummary(
            kind=self.kind,
            fingerprint=self.fingerprint,
            images={
                name: len(getattr(self, name)) // (1 if name in ("val", "test") else self.copies) for name in PARTS
            },
            augment=list(self.augment),
            height=self.height,
            width=self.width,
            channels=self.channels,
            class_names=list(self.class_names),
            mean=list(self.mean),
            std=list(self.std),
        )

    def standardised(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] → what models see."""
        return _standardised(images, self.mean, self.std, self.standardise)

    def display(self, images: Tensor) -> Tensor:
        """Standardised images (…, C, H, W) → uint8 of the same shape, as they were read; those standardised by their
        own mean and std with the training images' instead."""
        mean, std = (torch.tensor(one, device=images.device)[:, None, None] for one in (self.mean, self.std))
        return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def load(config: DataConfig, *, progress: Progress | None = None) -> SegmentationData:
    """Read or make the data that ``config`` describes; the same config gives the same data.

    Raises ConfigError for a field that does not fit the kind, DataError for a fault in a file or folder.
    """
    source = DATASETS[config.kind]
    _check_fields(config, source)
    splits = source.read(config, progress or Silent())
    class_names = config.classes or splits.class_names
    if len(class_names) != len(splits.class_names):
        raise ConfigError(
            f"classes has {len(class_names)} names, but data of kind {config.kind!r} has "
            f"{len(splits.class_names)} classes: {', '.join(splits.class_names)}"
        )
    train, val, test = splits.train, splits.val, splits.test
    if config.corruption:
        generator = torch.Generator().manual_seed(config.seed)
        train, val, test = (_corrupted(part, config, generator) for part in (train, val, test))
    draws = np.random.default_rng((config.seed, STAGE_DRAWS))
    if config.folds:
        if len(train) < config.folds:
            raise DataError(f"{len(train)} training images are too few for folds = {config.folds}; lower it")
        every = draws.permutation(len(train)).tolist()
        stages = [every, every, []]
    else:
        stages = divide(len(train), config.parts, ("D_PT", "D_RL", "D_FT"), draws)
    mean, std = _mean_and_std(train.images)
    if config.augment:
        train, copies = _with_copies(train, splits.train, config), 1 + len(config.augment)
        stages = [[index * copies + copy for index in indices for copy in range(copies)] for indices in stages]
    parts = dict(zip(PARTS, (*(train.take(indices) for indices in stages), val, test), strict=True))
    _check_labels(parts)
    return SegmentationData(
        kind=config.kind,
        class_names=class_names,
        mean=mean,
        std=std,
        fingerprint=_fingerprint(parts, config.standardise),
        flips=config.flips,
        folds=config.folds,
        augment=config.augment,
        standardise=config.standardise,
        **{
            name: replace(part, images=_standardised(part.images, mean, std, config.standardise))
            for name, part in parts.items()
        },
    )


def _corrupted(part: Part, config: DataConfig, generator: torch.Generator) -> Part:
    """Image i under corruption i of those named, which come in turn."""
    kinds, images = len(config.corruption), torch.empty_like(part.images)
    for first, name in enumerate(config.corruption):
        images[first::kinds] = corrupt(part.images[first::kinds], name, config.severity, generator)
    return replace(part, images=images, corruptions=tuple(config.corruption[i % kinds] for i in range(len(part))))


def _with_copies(own: Part, clean: Part, config: DataConfig) -> Part:
    """Each image of ``own``, and after it that of ``clean`` under each corruption of ``augment``."""
    state = np.random.SeedSequence((config.seed, COPY_DRAWS)).generate_state(1)
    generator = torch.Generator().manual_seed(int(state[0]))
    pieces = [own.images]
    for name in config.augment:
        severity = torch.randint(SEVERITIES[0], SEVERITIES[-1] + 1, (len(own),), generator=generator)
        images = torch.empty_like(own.images)
        for one in SEVERITIES:
            images[severity == one] = corrupt(clean.images[severity == one], name, one, generator)
        pieces.append(images)
    under = ("", *config.augment)
    return Part(
        torch.stack(pieces, dim=1).flatten(0, 1),
        own.masks.repeat_interleave(len(under), dim=0),
        tuple(f"{name} {kind}".rstrip() for name in own.names for kind in under),
        tuple(kind or first for first in own.corruptions or (NONE,) * len(own) for kind in under),
    )


def _check_fields(config: DataConfig, source: Source) -> None:
    for name, field in DataConfig.model_fields.items():
        if name not in source.fields | COMMON and getattr(config, name) != field.default:
            raise ConfigError(f"[data] {name} means nothing for data of kind {config.kind!r}; leave it out")


def _check_labels(parts: dict[str, Part]) -> None:
    for name, part in parts.items():
        if len(part) and bool((part.masks == IGNORE).all()):
            raise DataError(f"every pixel of the {name} masks is ignored; correct ignore_index or the masks")


def _mean_and_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel over (N, C, H, W); the std of a constant channel is taken as 1."""
    mean = images.mean(dim=(0, 2, 3), dtype=torch.float64)
    square = torch.stack([image.double().square().mean(dim=(1, 2)) for image in images]).mean(dim=0)
    std = (square - mean.square()).clamp_min(0).sqrt()
    return tuple(mean.tolist()), tuple(torch.where(std < FLAT, 1.0, std).tolist())


def _standardised(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], standardise: Standardise) -> Tensor:
    """(N, C, H, W) by ``mean`` and ``std`` (C,), or by those of each image, where a constant channel becomes 0."""
    if standardise == "dataset" or not len(images):
        return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    pixels = images.double()
    centred = pixels - pixels.mean(dim=(2, 3), keepdim=True)
    own = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return (centred / torch.where(own < FLAT, 1.0, own)).float()


def _fingerprint(parts: dict[str, Part], standardise: Standardise) -> str:
    """sha256 over names, shapes, pixels and masks, part by part in order, and over how they are standardised."""
    digest = hashlib.sha256(b"" if standardise == "dataset" else f"{standardise} {FLAT}".encode())
    for name, part in parts.items():
        digest.update(repr((name, part.names, tuple(part.images.shape))).encode())
        digest.update(part.images.numpy().tobytes())
        digest.update(part.masks.numpy().tobytes())
    return digest.hexdigest()
