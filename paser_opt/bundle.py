"""What a deployed pipeline is on disk: one ONNX file a step, and a manifest; no torch in here.

DIR/manifest.json   this record
    screen.onnx · policy.onnx · f_1.onnx … f_m.onnx
    README.txt
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .config import PipelineConfig, Standardise
from .errors import RunError
from .records import Quantity, Record, read_record

__all__ = ["MANIFEST", "OUTSIDE", "Manifest", "Score", "digest", "read_bundle", "step_file"]

MANIFEST = "manifest.json"

OUTSIDE = 255
"""Mask value of pixels that were cropped away before the models saw the image."""

Share = Annotated[float, Field(ge=0, le=1)]


class Score(Record):
    """IoU of the trial on one split, with its 95 % bootstrap interval over images."""

    split: Literal["val", "test"]
    iou: Share
    low: Share
    high: Share


class Manifest(Record):
    """Everything that running the bundle takes besides the models."""

    format: Literal[1] = 1
    study: str
    trial: int = Field(ge=0)
    pipeline: PipelineConfig
    height: int = Field(ge=1, le=2**16)
    width: int = Field(ge=1, le=2**16)
    channels: int = Field(ge=1, le=3)
    class_names: list[str] = Field(min_length=2, max_length=255)
    mean: list[Annotated[float, Field(ge=-1e3, le=1e3)]] = Field(
        description="of the training images in [0, 1], a channel each: pixels less this …"
    )
    std: list[Annotated[float, Field(ge=1e-9, le=1e3)]] = Field(description="… over this are what the models see")
    standardise: Standardise = Field("dataset", description="image: by each image's own mean and std instead of these")
    fitted: bool = Field(description="images of other sizes were centre-cropped and padded in training")
    mask_values: list[Annotated[int, Field(ge=0, le=255)]] | None = Field(
        None, description="the pixel value of each class in the study's own masks; None: its index"
    )
    scores: list[Score]
    most_patches: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=list,
        description="that an image of val sent on: at most in all, then at most to f_1 …; [] in bundles of older runs",
    )
    latency_s: Quantity = Field(description="of one image on the device of the search")
    device: str
    versions: dict[str, str]
    digests: dict[str, str] = Field(description="step → sha256 of its file")

    @property
    def steps(self) -> list[str]:
        """In the order in which they run."""
        return ["screen", "policy", *(f"f_{i}" for i in range(1, len(self.pipeline.models)))]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if not len(self.mean) == len(self.std) == self.channels == self.pipeline.models[0].in_channels:
            raise ValueError(f"mean, std and the models must have the {self.channels} channels of the images")
        if len(self.class_names) != self.pipeline.models[0].classes:
            raise ValueError(f"{len(self.class_names)} class names for models of {self.pipeline.models[0].classes}")
        values = self.mask_values
        if values is not None and not len(values) == len(set(values)) == len(self.class_names):
            raise ValueError("mask_values must be one different value a class")
        if self.fitted and OUTSIDE in (self.mask_values or ()):
            raise ValueError(f"mask_values must leave {OUTSIDE} to the pixels that are cropped away")
        if len(self.most_patches) not in (0, len(self.pipeline.models)):
            raise ValueError(f"most_patches must be {len(self.pipeline.models)} numbers: in all, then of f_1 …")
        if set(self.digests) != set(self.steps):
            raise ValueError(f"digests must be of {', '.join(self.steps)}")
        return self


def step_file(folder: Path, step: str) -> Path:
    return folder / f"{step}.onnx"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_bundle(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and the models by step. Raises RunError for what is missing, damaged or of another version."""
    if not (folder / MANIFEST).is_file():
        raise RunError(f"{folder} holds no bundle ({MANIFEST} is missing); `paser-opt export` makes one")
    manifest = read_record(Manifest, folder / MANIFEST)
    models = {}
    for step in manifest.steps:
        path = step_file(folder, step)
        try:
            models[step] = path.read_bytes()
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror or error}; export the bundle again") from None
        if digest(models[step]) != manifest.digests[step]:
            raise RunError(f"{path} is damaged: it is not what the manifest lists; export the bundle again")
    return manifest, models
