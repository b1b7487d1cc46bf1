"""What is measured and kept, as strict records with a JSON round trip; no torch in here.

A number never travels without its origin: ``how`` says whether it was measured, counted or estimated,
and a figure that is missing is ``None`` with a ``reason``. Files appear whole or not at all.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .config import PipelineConfig, Study, UNetConfig
from .errors import RunError

__all__ = [
    "FORMAT",
    "Agreement",
    "Alone",
    "Cost",
    "DataSummary",
    "Energy",
    "Entry",
    "Evaluation",
    "GalleryItem",
    "How",
    "Latency",
    "Machine",
    "Memory",
    "Profile",
    "Quantity",
    "Rivalry",
    "RoutePair",
    "RunRecord",
    "StaticFront",
    "StaticModel",
    "TrialRecord",
    "Validation",
    "Versus",
    "Work",
    "read_record",
    "write_bytes",
    "write_text",
]

FORMAT = 1
"""Version of the files of a run; raised when an older one could not be read any more."""

How = Literal["measured", "counter", "sampled", "counted", "predicted", "estimated"]
"""measured: timed here · counter: hardware energy counter · sampled: power sensor integrated over time ·
counted: exact arithmetic · predicted: composed from measured parts · estimated: a model, not a measurement."""


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    def write(self, path: Path) -> None:
        """Write as JSON; the file is there whole or not at all."""
        write_text(path, self.model_dump_json(indent=1) + "\n")


RecordT = TypeVar("RecordT", bound=Record)


def read_record(kind: type[RecordT], path: Path) -> RecordT:
    """Read one record. Raises RunError with the file and the field that is wrong."""
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RunError(f"{path} is not a text file; it is damaged: remove it and run again") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RunError(f"{path} is damaged or of another version: {where}: {first['msg']}") from None


def write_text(path: Path, text: str) -> None:
    """Write ``text`` so that the file is there whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path``, flush it to disk, then rename over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """The rename itself must reach the disk before anyone is told of the file."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- measurements -------------------------------------------------------------------------------------


class Quantity(Record):
    """One number with its origin; ``value`` None means missing, and ``reason`` says why."""

    value: float | None
    how: How
    source: str = ""
    reason: str | None = None
    low: float | None = Field(None, description="95 % interval")
    high: float | None = None

    @model_validator(mode="after")
    def _why(self) -> Quantity:
        if self.value is None and not self.reason:
            raise ValueError("a missing value needs a reason")
        return self


class Latency(Record):
    """Wall time of one call, seconds."""

    how: Literal["measured", "predicted", "estimated"] = "measured"
    median_s: float = Field(gt=0)
    p95_s: float | None = Field(None, description="None under 90 samples, too few for a 95th percentile's bound")
    low_s: float = Field(description="95 % interval of the median")
    high_s: float
    samples: int = Field(ge=0, description="0 where it was not measured")
    stable: bool
    verdict: str = Field(description="in words: why it is or is not stable")


class Energy(Record):
    """Energy of one call, joules. Gross is all the meter saw; net is gross less idle power × time."""

    gross_j: float | None
    net_j: float | None
    idle_w: float | None = None
    how: Literal["counter", "sampled", "predicted", "estimated"] | None
    source: str = Field(description="meter, and the sensors or rails it summed")
    samples: int = 0
    stable: bool = False
    reason: str | None = None


class Memory(Record):
    """Peak bytes of one call beyond its inputs, and the bytes of its weights."""

    peak_bytes: int | None
    weight_bytes: int
    how: Literal["measured", "counted", "predicted"]
    source: str
    reason: str | None = None


class Work(Record):
    """What a workload with convolutions computes, counted: what its cost is told from where it was not measured."""

    convolutions: int
    batch: int = Field(description="images or patches in the largest of them")
    weights: int = Field(description="of the convolutions")
    macs: tuple[int, int, int] = Field(description="with channels as they are, and rounded up to 8 and to 16")
    activations: tuple[int, int, int] = Field(description="elements read and written; channels likewise")


class Entry(Record):
    """What one workload costs on one device: a model at a shape and batch, or a step of the routing."""

    key: str
    batch: int
    architecture: str = Field("", description="entries of one architecture differ in size only")
    params: int
    macs: int = Field(description="multiply-accumulates of one call (fvcore's unit); FLOPs = 2·MACs")
    uncounted: dict[str, int] = Field(default_factory=dict, description="operations fvcore has no rule for")
    work: Work | None = Field(None, description="None where there are no convolutions")
    latency: Latency
    energy: Energy
    memory: Memory


class Machine(Record):
    """What the measurements were taken on."""

    device: str
    system: str
    processor: str
    cores: int
    threads: int
    memory_bytes: int | None = None
    accelerator: str | None = None
    runtime: str
    precision: str
    versions: dict[str, str] = Field(default_factory=dict)
    state: dict[str, str] = Field(default_factory=dict, description="governor, clocks, power mode, throttling")


class Profile(Record):
    """All measurements of one device, by workload key."""

    format: int = FORMAT
    machine: Machine
    created: str
    seconds: float
    entries: dict[str, Entry]


class RoutePair(Record):
    """One route of one pipeline, predicted and measured."""

    pipeline: str
    route: str
    counts: list[int] = Field(description="patches kept by f_0 … f_m")
    predicted: Quantity
    measured: Latency
    pace: float | None = Field(
        description="of the device while this was measured: latency of profiled steps timed again / in the profile"
    )
    macs: float = Field(description="full convention")
    params: float = Field(description="the paper's cost: f_0's parameters, and f_i's for its share of the patches")
    unprofiled: bool = Field(description="some model's latency was told from other sizes")


class Agreement(Record):
    """How well one way to price a route tells its measured latency, over all pairs."""

    cost: str
    mape: float = Field(description="mean of |predicted / measured - 1|")
    bias: float = Field(description="mean of predicted / measured - 1")
    within_10: float = Field(description="share of pairs within ±10 %")
    spearman: float | None = Field(description="rank correlation; None for a single pair")


class Validation(Record):
    """Predicted beside measured on one device."""

    format: int = FORMAT
    machine: Machine
    pairs: list[RoutePair]
    agreement: list[Agreement]


# --- results ------------------------------------------------------------------------------------------


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
    val: Evaluation | None = None
    test: Evaluation | None = Field(None, description="only of front members, once, when the search has ended")
    measured_latency: Quantity | None = Field(None, description="of the routed pipeline, end to end, on test images")
    started: str
    seconds: float
    clock_s: float = Field(description="search seconds spent up to the end of this trial, over all sessions")
    stages: dict[str, float] = Field(default_factory=dict, description="stage → seconds; 0 means taken from the store")
    warnings: list[str] = Field(default_factory=list)
    weights: dict[str, str] = Field(default_factory=dict, description="part → key in the stage store")
    cost_per_patch: list[float] = Field(
        default_factory=list, description="C of Eq. 3 that the policy was trained for; [] in runs of older versions"
    )


class DataSummary(Record):
    """The data of a run."""

    kind: str
    fingerprint: str
    images: dict[str, int] = Field(description="part → number of images")
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
    iou: float


class RunRecord(Record):
    """What a run folder holds, besides its trials."""

    format: int = FORMAT
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
