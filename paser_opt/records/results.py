"""What a run keeps: its trials, their scores and costs, and what they are compared with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ..config import PipelineConfig, Study, UNetConfig
from .base import FORMAT, Record
from .measurements import Latency, Quantity

__all__ = [
    "STEPS",
    "Alone",
    "Cost",
    "DataSummary",
    "Evaluation",
    "GalleryItem",
    "Rivalry",
    "RunRecord",
    "StaticFront",
    "StaticModel",
    "TrialRecord",
    "Versus",
]


class Cost(Record):
    """Mean cost of one image through a pipeline."""

    macs: float = Field(description="full convention: S passes of f_0, policy, every patch")
    paper_macs: float = Field(description="the paper's: one pass of f_0 and the patches sent on, no policy")
    latency_s: Quantity
    energy_j: Quantity
    memory_bytes: Quantity
    parts_s: dict[str, float] = Field(default_factory=dict, description="latency by step")

    @property
    def gflops(self) -> float:
        """Full convention, 2·MACs / 1e9."""
        return 2 * self.macs / 1e9


class Alone(Record):
    """One model used by itself: f_0 on the whole image in one pass, f_i on every patch."""

    model: int
    name: str
    params: int
    iou: float
    cost: Cost
    unseen: list[str] = Field(default_factory=list, description="classes the truth has and the model never predicts")


class Versus(Record):
    """A paired difference of IoU against a baseline, 95 % bootstrap interval over images."""

    baseline: str
    baseline_iou: float
    difference: float
    low: float
    high: float


class Evaluation(Record):
    """A pipeline on one split."""

    split: Literal["val", "test"]
    images: int
    iou: float = Field(description="mean over classes of the IoU of the summed confusion matrix (data-set IoU)")
    iou_low: float = Field(description="95 % bootstrap interval over images")
    iou_high: float
    image_iou: float = Field(description="mean over images of the image's own IoU")
    class_iou: list[float | None]
    per_image: list[float]
    usage: list[float] = Field(description="share of patches kept by f_0 … f_m")
    patches: list[list[int]] = Field(
        default_factory=list, description="patches of f_0 … f_m, image by image; [] in runs of older versions"
    )
    cost: Cost
    random: Versus | None = Field(None, description="against a random route with exactly the same usage")
    oracle_iou: float | None = Field(None, description="the best route by the same reward, λ and cost, labels known")
    alone: list[Alone] = Field(default_factory=list)

    @property
    def iou_per_gflop(self) -> float:
        """Full convention: IoU / (2·MACs / 1e9)."""
        return self.iou / self.cost.gflops

    @property
    def iou_per_gflop_paper(self) -> float:
        """The paper's: a multiply-accumulate is one FLOP, MC passes and policy are not charged."""
        return self.iou / (self.cost.paper_macs / 1e9)


class StaticModel(Record):
    """A single UNet on whole images."""

    config: UNetConfig
    precision: Literal["fp32", "int8"]
    runtime: str
    params: int
    macs: int
    epochs: int | None = None
    trained_s: float | None = Field(None, description="seconds its training took")
    latency: Latency
    val_iou: float
    test_iou: float
    test_low: float = Field(description="95 % bootstrap interval over images")
    test_high: float

    @property
    def name(self) -> str:
        size = self.config
        scale = f", scale {size.scale:g}" if size.scale != 1 else ""
        return f"static UNet (base {size.base}, depth {size.depth}{scale}, {self.precision})"


class Rivalry(Record):
    """A trial against the static model with the best IoU on val that is no slower."""

    trial: int
    latency_s: float
    rival: int | None = Field(description="index in the static front; None: no static model is as fast")
    versus: Versus | None = Field(description="on test, paired over images")


class StaticFront(Record):
    """What would be deployed without a route: single UNets on whole images."""

    format: int = FORMAT
    device: str
    models: list[StaticModel]
    against: list[Rivalry]
    notes: list[str] = Field(default_factory=list)


class Reward(Record):
    """Mean reward of a patch on val (Eq. 2), by the trial's own λ, A and C."""

    policy: float
    one_model: float = Field(description="of the best single choice for all patches")
    oracle: float


class TrialRecord(Record):
    """One trial, whole."""

    format: int = FORMAT
    number: int
    state: Literal["complete", "pruned", "failed"]
    reason: str = ""
    tag: str = Field("", description='"paper", "corner …", or "" for a sampled one')
    params: dict[str, Any] = Field(description="as Optuna knows them")
    pipeline: PipelineConfig
    values: dict[str, float] = Field(default_factory=dict, description="objective → value, on val")
    rung_values: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="share of the epochs → objective → value on val, of the pipeline as it was then",
    )
    val: Evaluation | None = None
    test: Evaluation | None = Field(None, description="only of front members, once, when the search has ended")
    measured_latency: Quantity | None = Field(None, description="of the routed pipeline, end to end, on test images")
    measured_pace: float | None = Field(
        None, description="latency of profiled steps, timed in turns with those test images, over the profile's"
    )
    started: str
    seconds: float
    clock_s: float = Field(description="search seconds spent up to the end of this trial, over all sessions")
    stages: dict[str, float] = Field(default_factory=dict, description="stage → seconds; 0 means taken from the store")
    warnings: list[str] = Field(default_factory=list)
    unconverged: list[str] = Field(
        default_factory=list, description="models that still gained IoU on val at the end of their training"
    )
    reward: Reward | None = None
    weights: dict[str, str] = Field(default_factory=dict, description="part → key in the stage store")
    cost_per_patch: list[float] = Field(
        default_factory=list, description="C of Eq. 3 that the policy was trained for; [] in runs of older versions"
    )


class DataSummary(Record):
    """The data of a run."""

    kind: str
    fingerprint: str
    images: dict[str, int] = Field(description="part → number of images, copies not counted")
    augment: list[str] = Field(
        default_factory=list, description="corruptions under which each training image has a copy"
    )
    height: int
    width: int
    channels: int
    class_names: list[str]
    mean: list[float] = Field(default_factory=list, description="of the training images in [0, 1], a channel each")
    std: list[float] = Field(default_factory=list)


class GalleryItem(Record):
    """One test image through one front member; files lie beside the index."""

    trial: int
    name: str
    image: str
    truth: str
    mask: str
    route: list[list[int]] = Field(description="model per patch, (rows, columns)")
    confidence: list[list[float]] = Field(description="the policy's probability of its choice")
    gain: list[list[float]] | None = Field(
        None, description="of the best choice over f_0, labels known, by the study's reward; (rows, columns)"
    )
    best: list[list[int]] | None = Field(None, description="which model that is")
    iou: float


STEPS = "v6"
"""What the steps of a pipeline compute, and how: raised when one comes to compute something else, or to take another
time, so that what was measured, trained or scored before is not taken for it. Stands in the keys of profiles and in
runs."""


class RunRecord(Record):
    """What a run folder holds, besides its trials."""

    format: int = FORMAT
    steps: str = Field("v1", description="STEPS of the version that started it")
    study: Study
    data: DataSummary
    created: str
    finished: bool = False
    reference: dict[str, float] | None = Field(
        None, description="hypervolume's reference point, frozen after the pilot"
    )
    notes: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    gallery: list[GalleryItem] = Field(default_factory=list)
    source: str | None = Field(None, description="the run whose trials were retargeted to the device of this one")
    storage: str = Field("", description='database of the trials, without its password; "": the run\'s study.db')
    storage_name: str = Field("", description="the study's name in that database")
