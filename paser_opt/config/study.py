"""What a search may choose, within what, on which data: one study."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from .base import Base, Config, Context, CorruptionOrNone, CostKind, Depth, Grid, Halo, Objective, Scale, listed
from .data import DataConfig
from .pipeline import StaticSize, TrainConfig

__all__ = ["Budget", "ModelSpace", "Range", "Space", "Study"]


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


FloatDim = Annotated[Range | tuple[float, ...], BeforeValidator(listed)]
IntDim = Annotated[tuple[int, ...], BeforeValidator(listed), Field(min_length=1)]


class ModelSpace(Config):
    """Sizes one model may take. The first of each list is the study's own size (the paper's trial uses it)."""

    base: Annotated[tuple[Base, ...], BeforeValidator(listed), Field(min_length=1)]
    depth: Annotated[tuple[Depth, ...], BeforeValidator(listed), Field(min_length=1)]
    scale: Annotated[tuple[Scale, ...], BeforeValidator(listed), Field(min_length=1)] = (1.0,)
    corruption: CorruptionOrNone | None = Field(
        None,
        description="it trains, until fine-tuning, on the images under this corruption alone, one of data.corruption; "
        '"none": those left as they are; left out: all',
    )


class Space(Config):
    """What the search may choose. A single value is fixed; a list is a choice; {low, high} is a range."""

    models: tuple[ModelSpace, ...] = Field(min_length=2, max_length=6)
    model_count: IntDim = Field((0,), description="how many of the models take part; 0: all of them")
    cost_weight: FloatDim = Field(Range(low=0.01, high=0.9), description="λ")
    distill_weight: FloatDim = Field((0.01,), description="β")
    mc_samples: IntDim = Field((0, 1, 5), description="S")
    grid: Annotated[tuple[Grid, ...], BeforeValidator(listed), Field(min_length=1)] = ((4, 4),)
    halo: Annotated[tuple[Halo, ...], BeforeValidator(listed), Field(min_length=1)] = (0,)
    context: Annotated[tuple[Context, ...], BeforeValidator(listed), Field(min_length=1)] = Field(
        ("none",), description="screen: f_1 … see f_0's class probabilities too; β is then 0"
    )
    policy: Annotated[
        tuple[Literal["pooled", "priced", "reference"], ...], BeforeValidator(listed), Field(min_length=1)
    ] = ("pooled",)
    reward_cost: Annotated[tuple[CostKind, ...], BeforeValidator(listed), Field(min_length=1)] = ("latency",)

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
    static: tuple[StaticSize, ...] = Field(
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
        why = self.training.needs_screen
        if why and self.space.distill_weight != (0.0,):
            raise ValueError(f"{why} trains f_0 first, without a teacher: space.distill_weight must be 0")
        return self

    @model_validator(mode="after")
    def _start(self) -> Study:
        first, *rest = self.space.models
        alike = any(set(first.base) & set(one.base) and set(first.depth) & set(one.depth) for one in rest)
        if self.training.start == "screen" and not alike:
            raise ValueError('start = "screen": no f_1 … has f_0\'s base and depth, so none can begin with its weights')
        return self

    @model_validator(mode="after")
    def _complementary(self) -> Study:
        for index, model in enumerate(self.space.models):
            if model.corruption is not None and self.data.augment:
                raise ValueError(
                    f'f_{index} is to train under "{model.corruption}" alone, and data.augment gives every UNet copies '
                    "under others: leave out one of them"
                )
            if model.corruption is not None and model.corruption not in self.data.corruption:
                known = ", ".join(self.data.corruption) or "none at all"
                raise ValueError(
                    f'f_{index} is to train under "{model.corruption}": data.corruption names {known}; add it there'
                )
        return self

    @model_validator(mode="after")
    def _extent(self) -> Study:
        windows = {
            "training.windows": self.training.windows,
            **{f"static.{i}.windows": one.windows for i, one in enumerate(self.static)},
        }
        for key, shape in windows.items():
            if shape not in (None, (1, 1)) and self.norm in ("instance", "group"):
                raise ValueError(
                    f'norm = "{self.norm}" takes its statistics over the extent it sees, and these UNets run on whole '
                    f'images: choose norm = "batch", or {key} = "1x1"'
                )
        return self

    @model_validator(mode="after")
    def _hard_windows(self) -> Study:
        for index, one in enumerate(self.static):
            if one.crops == "hard" and (one.windows or self.training.windows) == (1, 1):
                raise ValueError(f'static.{index}.crops = "hard" chooses windows: give it windows, such as "2x2"')
        return self

    @field_validator("static")
    @classmethod
    def _once(cls, static: tuple[StaticSize, ...]) -> tuple[StaticSize, ...]:
        sizes = [(one.base, one.depth, one.scale) for one in static]
        if twice := [size for size in sizes if sizes.count(size) > 1]:
            base, depth, scale = twice[0]
            raise ValueError(f"base {base}, depth {depth}, scale {scale:g} is there twice: name each size once")
        return static

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
