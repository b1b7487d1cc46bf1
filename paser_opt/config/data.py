"""Where images and masks come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from .base import Config, Corruption, CorruptionOrNone, Side, Standardise, listed

__all__ = ["DataConfig"]


class DataConfig(Config):
    """Where images and masks come from. Fields that a ``kind`` does not use must be left out."""

    kind: Literal["synthetic", "folder", "mnist"] = "synthetic"
    path: str | None = Field(
        None,
        description="folder: data folder; mnist: folder of IDX files. ${NAME} is read from the environment",
    )
    images: str = Field("images", description="folder: name of the image folder (in each split's folder)")
    masks: str = Field("masks", description="folder: name of the mask folder (in each split's folder)")
    classes: tuple[str, ...] = Field((), description="class names in order of index; empty: synthetic's / digits")
    mask_values: dict[str, int] | None = Field(
        None, description="folder: grey value in the mask file → class index; None: values are class indices"
    )
    ignore_index: int | None = Field(None, description="folder: mask value left out of loss and score")
    channels: Literal["auto", "grey", "rgb"] = "auto"
    size: tuple[Side, Side] | None = Field(
        None, description="(height, width); folder: centre-crop / pad (padding is ignored in the score) to it"
    )
    count: int = Field(120, ge=5, description="synthetic, mnist: number of images made")
    difficulty: float = Field(0.5, ge=0, le=1, description="synthetic: 0 easy … 1 hard (noise, blur, fine grain)")
    hard_share: float | None = Field(
        None, ge=0, le=1, description="synthetic: share of a section that is hard; unset: 0.6 × difficulty"
    )
    digits: int = Field(4, ge=1, le=64, description="mnist: digits on one canvas")
    target: Literal["foreground", "digit"] = Field("foreground", description="mnist: what the mask says")
    corruption: Annotated[tuple[CorruptionOrNone, ...], BeforeValidator(listed)] = Field(
        (), description='named corruption of every image; of several, each image has one in turn ("none": as it is)'
    )
    severity: int = Field(3, ge=1, le=5, description="severity of the corruption")
    augment: Annotated[tuple[Corruption, ...], BeforeValidator(listed)] = Field(
        (),
        description="augmentation: every training image comes again under each of these corruptions, in a severity "
        "drawn for it; val and test have none",
    )
    standardise: Standardise = Field(
        "dataset",
        description="models see images less the training images' mean, over their std; or each less its own, over its "
        "own: then brightness and contrast of a single image do not matter",
    )
    flips: Literal["none", "h", "hv"] = Field("hv", description="augmentation: mirror images while training")
    parts: tuple[float, float, float] = Field(
        (0.34, 0.33, 0.33),
        description="shares of the training images in D_PT, D_RL, D_FT (paper: 0.34/0.33/0.33)",
    )
    folds: int = Field(
        0,
        ge=0,
        le=10,
        description="2 or more, instead of parts: D_PT and D_RL are both all training images, and the reward on each "
        "is that of UNets trained on the other folds",
    )
    split: Literal["given", "seeded"] = Field(
        "given",
        description="folder: its own train, val and test, where it has them; seeded: all its images divided anew by "
        "the seed, so that each of several seeds tests on others",
    )
    holdout: tuple[float, float] = Field(
        (0.15, 0.15), description="shares of val and test where the data brings no split of its own, or it is not used"
    )
    limit: int | None = Field(None, ge=5, description="use at most this many training images (for quick looks)")
    seed: int = Field(0, ge=0, description="of the split and of anything made")

    @field_validator("parts")
    @classmethod
    def _parts(cls, parts: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(parts) < 0 or parts[0] <= 0 or parts[1] <= 0 or abs(sum(parts) - 1) > 1e-6:
            raise ValueError(f"parts {parts} must be ≥ 0 (the first two > 0) and sum to 1")
        return parts

    @field_validator("folds")
    @classmethod
    def _folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("folds = 1 leaves nothing to train on: 0 (parts) or 2 … 10")
        return folds

    @field_validator("augment")
    @classmethod
    def _augment(cls, augment: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(augment)) < len(augment):
            raise ValueError("name each corruption once")
        return augment

    @field_validator("holdout")
    @classmethod
    def _holdout(cls, holdout: tuple[float, float]) -> tuple[float, float]:
        if min(holdout) <= 0 or sum(holdout) >= 0.9:
            raise ValueError(f"holdout {holdout}: both shares must be > 0 and leave at least 10 % for training")
        return holdout

    @model_validator(mode="after")
    def _copies(self) -> DataConfig:
        if "contrast" in self.augment and self.standardise == "image":
            raise ValueError(
                'augment: under standardise = "image" a copy of another contrast is the image again; leave contrast out'
            )
        return self

    @model_validator(mode="after")
    def _kind(self) -> DataConfig:
        if self.kind != "synthetic" and not self.path:
            raise ValueError(f'data of kind "{self.kind}" needs path = "…"')
        if self.kind == "folder" and len(self.classes) < 2:
            raise ValueError('data of kind "folder" needs classes = ["name of class 0", "name of class 1", …]')
        return self
