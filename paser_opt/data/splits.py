"""Parts of a data set, and the seeded ways to divide images among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError

__all__ = ["TRAIN_VAL_TEST", "Part", "Splits", "divide", "shares_of", "sizes"]

TRAIN_VAL_TEST = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """Images and masks that are used together, in the order of their names."""

    images: Tensor  # (N, C, H, W) float32: in [0, 1] as a source reads them, standardised in SegmentationData
    masks: Tensor  # (N, H, W) uint8 class indices, patches.IGNORE where a pixel does not count
    names: tuple[str, ...]
    corruptions: tuple[str, ...] = ()
    """of each image, where the data names any; "none" for an image as it is"""

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device) -> Part:
        return replace(self, images=self.images.to(device), masks=self.masks.to(device))

    @classmethod
    def joined(cls, *parts: Part) -> Part:
        return cls(
            torch.cat([part.images for part in parts]),
            torch.cat([part.masks for part in parts]),
            tuple(name for part in parts for name in part.names),
            tuple(name for part in parts for name in part.corruptions),
        )

    def take(self, indices: Sequence[int]) -> Part:
        """The images at ``indices``, in that order."""
        chosen = torch.tensor(indices, dtype=torch.long)
        return Part(
            self.images[chosen],
            self.masks[chosen],
            tuple(self.names[index] for index in indices),
            tuple(self.corruptions[index] for index in indices) if self.corruptions else (),
        )

    def under(self, corruption: str) -> Part:
        """The images under ``corruption``."""
        return self.take([index for index, name in enumerate(self.corruptions) if name == corruption])


@dataclass(frozen=True)
class Splits:
    """What a source reads: images in [0, 1], the training images not yet divided among the stages."""

    train: Part
    val: Part
    test: Part
    class_names: tuple[str, ...]


def shares_of(holdout: tuple[float, float]) -> tuple[float, float, float]:
    """Shares of train, val and test."""
    return 1 - sum(holdout), *holdout


def sizes(count: int, shares: Sequence[float], names: Sequence[str]) -> list[int]:
    """Whole numbers that sum to ``count``, by the method of largest remainders.

    Raises DataError where a part with a share above 0 would get no image.
    """
    exact = count * np.asarray(shares, dtype=float)
    whole = np.floor(exact + 1e-9).astype(int)
    largest = np.argsort(whole - exact, kind="stable")[: count - whole.sum()]
    whole[largest] += 1
    for name, size, share in zip(names, whole.tolist(), shares, strict=True):
        if share > 0 and size == 0:
            raise DataError(
                f"{count} images leave none for {name} (share {share:g}); "
                "bring more images or raise its share in [data]"
            )
    return [int(size) for size in whole]


def divide(count: int, shares: Sequence[float], names: Sequence[str], rng: np.random.Generator) -> list[list[int]]:
    """Disjoint random index lists that cover ``range(count)``, each ascending. Raises DataError as :func:`sizes`."""
    ends = np.cumsum(sizes(count, shares, names))[:-1]
    return [sorted(part.tolist()) for part in np.split(rng.permutation(count), ends)]
