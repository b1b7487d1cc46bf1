"""What every kind of data gives, and what all of it becomes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..config import DataConfig
from ..records import DataSummary
from .corruptions import corrupt
from .splits import three_parts

__all__ = ["PARTS", "Part", "RawSplit", "SegmentationData", "assemble"]

PARTS = ("pretrain", "policy", "finetune", "val", "test")
"""D_PT, D_RL, D_FT (the training images), val, test."""


@dataclass(frozen=True)
class RawSplit:
    """Images as they were read: (N, C, H, W) float32 in [0, 1]; masks (N, H, W) uint8, IGNORE where ignored."""

    images: Tensor
    masks: Tensor
    names: tuple[str, ...]

    def take(self, indices: list[int]) -> RawSplit:
        return RawSplit(self.images[indices], self.masks[indices], tuple(self.names[i] for i in indices))


@dataclass(frozen=True)
class Part:
    """One part of the data, standardised."""

    images: Tensor  # (N, C, H, W) float32
    masks: Tensor  # (N, H, W) uint8, IGNORE where ignored
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Part:
        return replace(self, images=self.images.to(device), masks=self.masks.to(device))


@dataclass(frozen=True)
class SegmentationData:
    """Images and masks of all parts, in memory. ``fingerprint`` changes with any pixel, name, order or split."""

    kind: str
    pretrain: Part
    policy: Part
    finetune: Part
    val: Part
    test: Part
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    flips: str

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
        return DataSummary(
            kind=self.kind,
            fingerprint=self.fingerprint,
            images={name: len(getattr(self, name)) for name in PARTS},
            height=self.height,
            width=self.width,
            channels=self.channels,
            class_names=list(self.class_names),
        )

    def display(self, images: Tensor) -> Tensor:
        """Standardised (N, C, H, W) → uint8, as people saw them."""
        std, mean = (torch.tensor(one).view(-1, 1, 1) for one in (self.std, self.mean))
        return ((images.cpu() * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)


def assemble(
    config: DataConfig, train: RawSplit, val: RawSplit, test: RawSplit, class_names: tuple[str, ...]
) -> SegmentationData:
    """Corrupt where asked, divide the training images, standardise by their mean and deviation, fingerprint."""
    if config.limit is not None and config.limit < len(train.names):
        train = train.take(list(range(config.limit)))
    divided = [train.take(part) for part in three_parts(len(train.names), config.parts, config.seed)]
    splits = dict(zip(PARTS, (*divided, val, test), strict=True))
    if config.corruption:
        splits = {
            name: replace(one, images=corrupt(one.images, config.corruption, config.severity, seed=config.seed + i))
            for i, (name, one) in enumerate(splits.items())
        }
    seen = torch.cat([one.images for one in list(splits.values())[:3]])
    mean, std = seen.mean(dim=(0, 2, 3)), seen.std(dim=(0, 2, 3)).clamp_min(1e-6)
    parts = {
        name: Part((one.images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1), one.masks, one.names)
        for name, one in splits.items()
    }
    return SegmentationData(
        kind=config.kind,
        **parts,
        class_names=class_names,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        fingerprint=_fingerprint(splits, class_names, config.flips),
        flips=config.flips,
    )


def _fingerprint(splits: dict[str, RawSplit], class_names: tuple[str, ...], flips: str) -> str:
    sha = hashlib.sha256(repr((class_names, flips)).encode())
    for name, one in splits.items():
        sha.update(repr((name, one.names, tuple(one.images.shape))).encode())
        sha.update(one.images.contiguous().numpy().tobytes())
        sha.update(one.masks.contiguous().numpy().tobytes())
    return sha.hexdigest()
