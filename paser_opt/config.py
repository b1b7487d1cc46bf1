"""What users describe: devices, data, the pipeline, the search space, the study. Frozen and strict.

Each model is read from TOML by :mod:`paser_opt.catalog`; an unknown key or a wrong unit is an error.
Symbols of the paper (PaSeR, AAAI 2024, arXiv 2402.11760) stand beside the field that means them.
"""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

__all__ = [
    "OBJECTIVES",
    "Budget",
    "CostKind",
    "DataConfig",
    "Device",
    "Figure",
    "Grid",
    "ModelSpace",
    "Objective",
    "PipelineConfig",
    "PolicyConfig",
    "Precision",
    "Range",
    "RuntimeName",
    "Size",
    "Space",
    "Study",
    "TrainConfig",
    "UNetConfig",
]

CostKind = Literal["params", "flops", "latency", "energy", "memory"]
RuntimeName = Literal["auto", "eager", "compile", "onnx", "onnx-int8", "torchscript"]
Precision = Literal["fp32", "bf16", "fp16"]
Objective = Literal["iou", "gflops", "latency", "energy", "memory"]
OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "iou": "maximize",
    "gflops": "minimize",
    "latency": "minimize",
    "energy": "minimize",
    "memory": "minimize",
}


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _grid(value: Any) -> Any:
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+)\s*[x×]\s*(\d+)", value.strip())
        if not found:
            raise ValueError(f'grid {value!r} is not of the form "4x4" (rows x columns)')
        return int(found[1]), int(found[2])
    return value


Grid = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]], BeforeValidator(_grid)]


def _scale(value: float) -> float:
    if value not in (1.0, 0.5, 0.25):
        raise ValueError(f"scale {value:g}: 1, 0.5 or 0.25")
    return value


Scale = Annotated[float, AfterValidator(_scale)]
Base = Annotated[int, Field(ge=2, le=256, multiple_of=2)]
Depth = Annotated[int, Field(ge=1, le=6)]
Halo = Annotated[int, Field(ge=0, le=64)]
Context = Literal["none", "screen"]
Side = Annotated[int, Field(ge=8, le=16384)]


# --- data ---------------------------------------------------------------------------------------------


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
    digits: int = Field(4, ge=1, le=64, description="mnist: digits on one canvas")
    target: Literal["foreground", "digit"] = Field("foreground", description="mnist: what the mask says")
    corruption: str | None = Field(None, description="mnist, synthetic: a named corruption put on every image")
    severity: int = Field(3, ge=1, le=5, description="severity of the corruption")
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
    holdout: tuple[float, float] = Field(
        (0.15, 0.15), description="shares of val and test where the data brings no split of its own"
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

    @field_validator("holdout")
    @classmethod
    def _holdout(cls, holdout: tuple[float, float]) -> tuple[float, float]:
        if min(holdout) <= 0 or sum(holdout) >= 0.9:
            raise ValueError(f"holdout {holdout}: both shares must be > 0 and leave at least 10 % for training")
        return holdout

    @model_validator(mode="after")
    def _kind(self) -> DataConfig:
        if self.kind != "synthetic" and not self.path:
            raise ValueError(f'data of kind "{self.kind}" needs path = "…"')
        if self.kind == "folder" and len(self.classes) < 2:
            raise ValueError('data of kind "folder" needs classes = ["name of class 0", "name of class 1", …]')
        return self


# --- models -------------------------------------------------------------------------------------------


class UNetConfig(Config):
    """One segmentation UNet f_i."""

    base: Base = Field(description="channels of the first level; doubled at each")
    depth: Depth = Field(description="levels down")
    scale: Scale = Field(1.0, description="input scale; logits are brought back to full size")
    norm: Literal["instance", "group", "batch", "none"] = "instance"
    dropout: float = Field(0.5, ge=0, lt=1, description="after each level down and the first up (paper: 0.5)")
    in_channels: int = Field(1, ge=1)
    classes: int = Field(3, ge=2)


class PolicyConfig(Config):
    """The policy f_RL: patches → categorical over the models."""

    kind: Literal["pooled", "priced", "reference"] = Field(
        "pooled",
        description="pooled: convolutions; priced: predicted gains, λ as a price; reference: the published head",
    )
    width: int = Field(24, ge=4, le=256, description="pooled: channels inside")
    stride: int = Field(4, ge=1, le=16, description="pooled, priced: maps are averaged by this factor first")


class TrainConfig(Config):
    """How long and how the stages train."""

    pretrain_epochs: int = Field(30, ge=1)
    distill_epochs: int = Field(40, ge=1)
    policy_epochs: int = Field(200, ge=1, description="paper: 200")
    finetune_epochs: int = Field(5, ge=0, description="0 leaves the stage out")
    pretrain_batch: int = Field(32, ge=1, description="patches (paper: 32)")
    distill_batch: int = Field(2, ge=1, description="whole images, or windows")
    windows: Grid = Field(
        (1, 1),
        description="f_0, and single UNets, train on windows of 1/rows x 1/columns of an image; 1x1: whole images",
    )
    learning_rate: float = Field(4e-3, gt=0, description="UNets; AdamW, one cycle (paper: Adam 1e-4)")
    policy_learning_rate: float = Field(3e-3, gt=0)
    finetune_learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    class_weights: Literal["none", "sqrt", "balanced"] = Field(
        "sqrt", description="of the cross-entropy: (1/frequency)^½; balanced: 1/frequency (paper)"
    )
    distill_loss: Literal["mse", "kl"] = Field("mse", description="on logits (paper: mse)")
    temperature: float = Field(2.0, gt=0, description="of kl")
    policy_objective: Literal["expected", "reinforce"] = Field(
        "expected", description="exact expected reward, or REINFORCE as published"
    )
    entropy_bonus: float = Field(
        0.3,
        ge=0,
        description="expected: weight of the policy's entropy against the reward's spread, annealed to 0",
    )
    reward: Literal["iou", "soft_iou", "dice", "accuracy", "image_iou", "data_iou", "steady_iou"] = Field(
        "data_iou",
        description="A of Eq. 2 (paper: iou of the patch); data_iou: change of the data set's IoU; steady_iou: half of "
        "it, half accuracy",
    )
    charge_f0: bool = Field(False, description="charge C(0) for keeping f_0 (paper: it has run anyway: 0)")
    crops: Literal["random", "hard", "grid"] = Field(
        "random", description="patches f_i train on: anywhere, where f_0 misses most, or the grid's"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 autocast where it is fast")


class PipelineConfig(Config):
    """One complete PaSeR pipeline: what a trial trains and a bundle deploys."""

    models: tuple[UNetConfig, ...] = Field(min_length=2, max_length=6, description="f_0 … f_m")
    grid: Grid = (4, 4)
    halo: Halo = Field(0, description="pixels of context around a patch, cropped from its result")
    context: Context = Field("none", description="screen: f_1 … see f_0's class probabilities beside the image")
    mc_samples: int = Field(0, ge=0, le=64, description="S: Monte-Carlo dropout passes of f_0; 0: one plain pass")
    cost_weight: float = Field(0.5, ge=0, lt=1, description="λ of Eq. 2")
    distill_weight: float = Field(0.01, ge=0, le=1, description="β")
    reward_cost: CostKind = Field("latency", description="C of Eq. 3 (paper: params)")
    policy: PolicyConfig = PolicyConfig()
    training: TrainConfig = TrainConfig()
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _what_models_see(self) -> PipelineConfig:
        first = self.models[0]
        inside = first.in_channels + (first.classes if self.context == "screen" else 0)
        if any(model.in_channels != inside for model in self.models[1:]):
            raise ValueError(f'f_1 … must have {inside} input channels at context = "{self.context}"')
        if self.context == "screen" and self.distill_weight > 0:
            raise ValueError('context = "screen" trains f_0 first, without a teacher: distill_weight must be 0')
        if self.training.crops == "hard" and self.distill_weight > 0:
            raise ValueError('crops = "hard" trains f_0 first, without a teacher: distill_weight must be 0')
        return self

    @property
    def screen_first(self) -> bool:
        """Whether f_0 is trained before f_1 …, without a teacher."""
        return self.context == "screen" or self.training.crops == "hard"


# --- the search space ---------------------------------------------------------------------------------


class Range(Config):
    """Numbers from ``low`` to ``high``; whole numbers when both are whole."""

    low: float
    high: float
    step: float | None = Field(None, gt=0)
    log: bool = False

    @model_validator(mode="after")
    def _order(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log = true needs low > 0 and no step")
        return self


def _listed(value: Any) -> Any:
    """A single value means a list of one."""
    return value if isinstance(value, list | tuple | dict | Range) else [value]


FloatDim = Annotated[Range | tuple[float, ...], BeforeValidator(_listed)]
IntDim = Annotated[tuple[int, ...], BeforeValidator(_listed), Field(min_length=1)]


class ModelSpace(Config):
    """Sizes one model may take. The first of each list is the study's own size (the paper's trial uses it)."""

    base: Annotated[tuple[Base, ...], BeforeValidator(_listed), Field(min_length=1)]
    depth: Annotated[tuple[Depth, ...], BeforeValidator(_listed), Field(min_length=1)]
    scale: Annotated[tuple[Scale, ...], BeforeValidator(_listed), Field(min_length=1)] = (1.0,)


class Size(Config):
    """The size of one UNet."""

    base: Base
    depth: Depth
    scale: Scale = 1.0


class Space(Config):
    """What the search may choose. A single value is fixed; a list is a choice; {low, high} is a range."""

    models: tuple[ModelSpace, ...] = Field(min_length=2, max_length=6)
    model_count: IntDim = Field((0,), description="how many of the models take part; 0: all of them")
    cost_weight: FloatDim = Field(Range(low=0.01, high=0.9), description="λ")
    distill_weight: FloatDim = Field((0.01,), description="β")
    mc_samples: IntDim = Field((0, 1, 5), description="S")
    grid: Annotated[tuple[Grid, ...], BeforeValidator(_listed), Field(min_length=1)] = ((4, 4),)
    halo: Annotated[tuple[Halo, ...], BeforeValidator(_listed), Field(min_length=1)] = (0,)
    context: Annotated[tuple[Context, ...], BeforeValidator(_listed), Field(min_length=1)] = Field(
        ("none",), description="screen: f_1 … see f_0's class probabilities too; β is then 0"
    )
    policy: Annotated[
        tuple[Literal["pooled", "priced", "reference"], ...], BeforeValidator(_listed), Field(min_length=1)
    ] = ("pooled",)
    reward_cost: Annotated[tuple[CostKind, ...], BeforeValidator(_listed), Field(min_length=1)] = ("latency",)

    @model_validator(mode="after")
    def _within(self) -> Space:
        counts = [len(self.models) if n == 0 else n for n in self.model_count]
        if not all(2 <= n <= len(self.models) for n in counts):
            raise ValueError(f"model_count {counts}: between 2 and the {len(self.models)} models listed")
        for name, low, high in (("cost_weight", 0.0, 0.999), ("distill_weight", 0.0, 1.0)):
            dim = getattr(self, name)
            values = (dim.low, dim.high) if isinstance(dim, Range) else dim
            if not values or not all(low <= v <= high for v in values):
                raise ValueError(f"{name} must lie in {low:g} … {high:g}")
        if not all(0 <= s <= 64 for s in self.mc_samples):
            raise ValueError(f"mc_samples {list(self.mc_samples)}: 0 … 64")
        return self


class Budget(Config):
    """Pipelines whose cheapest possible route costs more than this are told PRUNED before training."""

    max_gflops: float | None = Field(None, gt=0, description="full convention, 2·MACs, per image")
    max_latency_s: float | None = Field(None, gt=0)
    max_energy_j: float | None = Field(None, gt=0)
    max_memory_bytes: float | None = Field(None, gt=0)


class Study(Config):
    """One search: data, device, objectives, space, budget, seeds."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    description: str = ""
    device: str = Field("cpu", description="name in devices/, or a path to a TOML")
    objectives: tuple[Objective, ...] = ("iou", "latency")
    trials: int = Field(20, ge=1)
    timeout_s: float | None = Field(None, gt=0, description="stop asking for trials after this long")
    seed: int = Field(0, ge=0)
    allow_estimated_energy: bool = Field(
        False, description="accept time × assumed power as an objective (it says nothing latency does not)"
    )
    predict_within: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="sizes not profiled yet: accept a latency told from other sizes if sure within this share; else, "
        "and at 0, measure",
    )
    data: DataConfig = DataConfig()
    training: TrainConfig = TrainConfig()
    norm: Literal["instance", "group", "batch", "none"] = "instance"
    dropout: float = Field(0.5, ge=0, lt=1)
    space: Space
    static: tuple[Size, ...] = Field(
        (), description="single UNets of the static front; empty: sizes that span the space, and half scale"
    )
    budget: Budget = Budget()
    rungs: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.3, 1.0),
        description="shares of the epochs, rising, at which a trial is stopped unless it does well; 1: all of them, "
        "before fine-tuning; [] for none",
    )

    @model_validator(mode="after")
    def _teacher(self) -> Study:
        if self.training.crops == "hard" and self.space.distill_weight != (0.0,):
            raise ValueError('crops = "hard" trains f_0 first, without a teacher: space.distill_weight must be 0')
        return self

    @model_validator(mode="after")
    def _extent(self) -> Study:
        if self.training.windows != (1, 1) and self.norm in ("instance", "group"):
            raise ValueError(
                f'norm = "{self.norm}" takes its statistics over the extent it sees, and f_0 runs on whole images: '
                'choose norm = "batch", or training.windows = "1x1"'
            )
        return self

    @field_validator("rungs")
    @classmethod
    def _rising(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if any(after <= before for before, after in itertools.pairwise(rungs)):
            raise ValueError("rungs must rise, as in [0.1, 0.3, 1]")
        return rungs

    @field_validator("objectives")
    @classmethod
    def _objectives(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if len(set(objectives)) != len(objectives) or "iou" not in objectives or len(objectives) < 2:
            raise ValueError('objectives must be "iou" and at least one of gflops, latency, energy, memory, each once')
        return objectives


# --- devices ------------------------------------------------------------------------------------------


class Figure(Config):
    """A figure of a data sheet: its value in the unit its name says, and where it was read."""

    value: float = Field(gt=0, allow_inf_nan=False)
    source: str = Field(min_length=3)


class Device(Config):
    """One device: how to know it, how to measure it. Figures are a data sheet's, never measurements."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    description: str = ""
    kind: Literal["cpu", "cuda", "mps", "jetson", "raspberry-pi"] = "cpu"
    local: bool = Field(False, description="this is whatever machine paser-opt runs on")
    match: tuple[str, ...] = Field(
        (), description="words of which one stands in the device-tree compatible or the GPU's name"
    )
    host: str | None = Field(None, pattern=r"^[^-\s\x00][^\s\x00]*$", description="user@board for ssh")
    python: str = Field("python3", pattern=r"^[\w.~/+-]+$", description="Python on the host, or its path")
    threads: int = Field(1, ge=0, description="CPU threads of a measurement; 0: all cores")
    runtime: RuntimeName = Field("auto", description="auto: torch eager here; over ssh, what the board has")
    precision: Precision = Field("fp32", description="bf16, fp16: by autocast, with eager and compile")
    meters: tuple[str, ...] = Field((), description="energy meters to try, in this order")
    rails: tuple[str, ...] = Field((), description="INA3221 rails that sum to the module's total")
    peak_flops_per_s: Figure | None = None
    memory_bytes_per_s: Figure | None = None
    max_power_w: Figure | None = None
    memory_bytes: Figure | None = None
