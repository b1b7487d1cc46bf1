"""One complete pipeline: its UNets, its policy, how it trains."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .base import Base, Config, Context, CorruptionOrNone, CostKind, Depth, Grid, Halo, Scale

__all__ = ["PipelineConfig", "PolicyConfig", "Size", "StaticSize", "TrainConfig", "UNetConfig"]


class Size(Config):
    """The size of one UNet."""

    base: Base = Field(description="channels of the first level; doubled at each")
    depth: Depth = Field(description="levels down")
    scale: Scale = Field(1.0, description="input scale; logits are brought back to full size")


class StaticSize(Size):
    """A single UNet of the static front."""

    epochs: int | None = Field(
        None, ge=1, description="it trains for these; left out: as many as the UNet of a pipeline that has most"
    )
    windows: Grid | None = Field(None, description="it trains on windows of this share; left out: as f_0 does")
    crops: Literal["random", "hard"] | None = Field(None, description="where they lie; left out: as those of f_0")


class UNetConfig(Size):
    """One segmentation UNet f_i."""

    norm: Literal["instance", "group", "batch", "none"] = "instance"
    dropout: float = Field(0.5, ge=0, lt=1, description="after each level down and the first up (paper: 0.5)")
    in_channels: int = Field(1, ge=1)
    classes: int = Field(3, ge=2)
    corruption: CorruptionOrNone | None = Field(
        None, description="it trains on the images under this corruption alone, until fine-tuning"
    )


class PolicyConfig(Config):
    """The policy f_RL: patches → categorical over the models."""

    kind: Literal["pooled", "priced", "reference"] = Field(
        "pooled",
        description="pooled: convolutions; priced: predicted gains, λ as a price; reference: the published head",
    )
    width: int = Field(24, ge=4, le=256, description="pooled: channels inside")
    stride: int = Field(
        8,
        ge=1,
        le=16,
        description="pooled, priced: side of the cells they see a patch in, px; at most 16 x 16 cells",
    )
    every: int = Field(1, ge=1, le=64, description="reference: it reads every n-th row and column (published: all)")


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
    screen_crops: Literal["random", "hard"] = Field(
        "random",
        description="where those lie: anywhere, or, from the second epoch on, most of them where the UNet misses most",
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
    start: Literal["random", "screen"] = Field(
        "random", description="screen: f_1 … of f_0's base and depth begin with its weights, whatever their scale"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 autocast where it is fast")

    @model_validator(mode="after")
    def _hard_windows(self) -> TrainConfig:
        if self.screen_crops == "hard" and self.windows == (1, 1):
            raise ValueError(
                'screen_crops = "hard" chooses windows: give windows, such as "2x2", instead of whole images'
            )
        return self

    @property
    def needs_screen(self) -> str:
        """The field by which f_1 … are trained on what f_0 has become; "" where none is."""
        return 'crops = "hard"' if self.crops == "hard" else 'start = "screen"' if self.start == "screen" else ""


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
        if self.screen_first and self.distill_weight > 0:
            why = 'context = "screen"' if self.context == "screen" else self.training.needs_screen
            raise ValueError(f"{why} trains f_0 first, without a teacher: distill_weight must be 0")
        return self

    @property
    def patches(self) -> int:
        """Of one image."""
        return self.grid[0] * self.grid[1]

    @property
    def screen_first(self) -> bool:
        """Whether f_0 is trained before f_1 …, without a teacher."""
        return self.context == "screen" or bool(self.training.needs_screen)
