"""From a study's space to one pipeline: what Optuna suggests, and what is tried first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from ..config import Context, PipelineConfig, PolicyConfig, Range, Space, StaticSize, Study, UNetConfig
from ..data import SegmentationData
from ..errors import ConfigError
from ..models import smallest_extent
from ..patches import patch_size

__all__ = [
    "Dimension",
    "FirstTrial",
    "cover",
    "dimensions",
    "every_unet",
    "first_trials",
    "static_sizes",
    "suggest",
    "unfit",
]

Value = float | int | str


@dataclass(frozen=True)
class Dimension:
    """One parameter: a fixed value, a choice, or a range. ``first`` is the study's own value."""

    name: str
    options: tuple[Value, ...] | Range

    @property
    def first(self) -> Value:
        return self.options.low if isinstance(self.options, Range) else self.options[0]

    def has(self, value: Value) -> bool:
        if isinstance(self.options, Range):
            return isinstance(value, int | float) and self.options.low <= value <= self.options.high
        return value in self.options

    def extreme(self, least: bool) -> Value:
        if isinstance(self.options, Range):
            return self.options.low if least else self.options.high
        return min(self.options) if least else max(self.options)

    def suggest(self, trial: optuna.Trial) -> Value:
        """A single option is no parameter of the trial, so importances and plots show real choices only."""
        if isinstance(self.options, Range):
            return trial.suggest_float(
                self.name, self.options.low, self.options.high, step=self.options.step, log=self.options.log
            )
        if len(self.options) == 1:
            return self.options[0]
        chosen: Value = trial.suggest_categorical(self.name, self.options)  # type: ignore[assignment]
        return chosen


def _grid_text(grid: tuple[int, int]) -> str:
    return f"{grid[0]}x{grid[1]}"


def _shared(space: Space) -> list[Dimension]:
    return [
        Dimension("cost_weight", space.cost_weight),
        Dimension("distill_weight", space.distill_weight),
        Dimension("mc_samples", space.mc_samples),
        Dimension("grid", tuple(_grid_text(grid) for grid in space.grid)),
        Dimension("halo", space.halo),
        Dimension("context", space.context),
        Dimension("policy", space.policy),
        Dimension("reward_cost", space.reward_cost),
        Dimension("model_count", tuple(n or len(space.models) for n in space.model_count)),
    ]


def _sizes(space: Space, index: int) -> list[Dimension]:
    model = space.models[index]
    return [Dimension(f"f_{index}.{name}", getattr(model, name)) for name in ("base", "depth", "scale")]


def dimensions(space: Space) -> list[Dimension]:
    """Every dimension, those of models that a smaller model_count leaves out included."""
    return [*_shared(space), *(one for index in range(len(space.models)) for one in _sizes(space, index))]


def suggest(trial: optuna.Trial, study: Study, *, channels: int, classes: int) -> PipelineConfig:
    """The pipeline of one trial; sizes are asked only for the models that take part."""
    chosen: dict[str, Any] = {one.name: one.suggest(trial) for one in _shared(study.space)}
    in_context = chosen["context"] == "screen"
    if in_context:  # f_0 is trained first, without a teacher
        chosen["distill_weight"] = 0.0
    models = [
        UNetConfig(
            **{one.name.split(".")[1]: one.suggest(trial) for one in _sizes(study.space, index)},
            norm=study.norm,
            dropout=study.dropout,
            in_channels=channels + (classes if in_context and index else 0),
            classes=classes,
            corruption=study.space.models[index].corruption,
        )
        for index in range(chosen.pop("model_count"))
    ]
    policy = PolicyConfig(kind=chosen.pop("policy"))
    return PipelineConfig(models=tuple(models), policy=policy, training=study.training, seed=study.seed, **chosen)


def every_unet(study: Study, *, channels: int, classes: int) -> list[PipelineConfig]:
    """Pipelines of the space that between them hold all UNets it can ask for, each trained as a trial would train it.

    Raises ConfigError where β is a range: each value of it makes other UNets.
    """
    if isinstance(study.space.distill_weight, Range) and study.space.context != ("screen",):
        raise ConfigError(
            "space.distill_weight is a range, so the UNets that a search will ask for are not known before: "
            "list its values"
        )
    of_unets = ("distill_weight", "grid", "halo", "context", "model_count")
    options = {
        one.name: one.options
        if not isinstance(one.options, Range) and (one.name in of_unets or one.name.startswith("f_"))
        else (one.first,)
        for one in dimensions(study.space)
    }
    found = dict.fromkeys(
        suggest(
            optuna.trial.FixedTrial(dict(zip(options, values, strict=True))),  # type: ignore[arg-type]
            study, channels=channels, classes=classes,
        )
        for values in itertools.product(*options.values())
    )  # fmt: skip
    return list(found)


def unfit(config: PipelineConfig, data: SegmentationData) -> str | None:
    """Why this pipeline cannot run on these images, or None."""
    h, w = patch_size(data.height, data.width, config.grid)
    sides = [min(patch_size(data.height, data.width, config.training.windows))] + [min(h, w) + 2 * config.halo] * (
        len(config.models) - 1
    )
    for index, (model, side) in enumerate(zip(config.models, sides, strict=True)):
        if model.corruption is not None and not data.shows(model.corruption):
            return f"f_{index} trains under {model.corruption}, which no image of D_PT or of val is under; bring more"
        if side < smallest_extent(model):
            return (
                f"f_{index} (depth {model.depth}, scale {model.scale:g}) needs {smallest_extent(model)} px, "
                f"its input is {side} px at a {_grid_text(config.grid)} grid"
            )
    return None


# --- tried first --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FirstTrial:
    """Parameters enqueued before anything is sampled."""

    tag: str
    params: dict[str, Value]


PAPER: dict[str, Value] = {
    "cost_weight": 0.5,
    "distill_weight": 0.01,
    "mc_samples": 5,
    "grid": "4x4",
    "context": "none",
    "reward_cost": "params",
}
"""The paper's choices (arXiv 2402.11760); sizes are the study's own."""


def first_trials(space: Space) -> tuple[list[FirstTrial], list[str]]:
    """The paper's configuration at the study's sizes and the corners of the space, and notes on what is left out.

    Optuna uses enqueued values as they are, even outside the space; here only values of the space are enqueued.
    """
    every = dimensions(space)
    notes = []
    outside = [name for name in PAPER if not next(one for one in every if one.name == name).has(PAPER[name])]
    trials = []
    if outside:
        wanted = ", ".join(f"{name} = {PAPER[name]}" for name in outside)
        notes.append(f"The paper's configuration is not in this space ({wanted}), so it was not tried.")
    else:
        params = {one.name: PAPER.get(one.name, one.first) for one in every}
        if "reference" in space.policy:
            params["policy"] = "reference"
        trials.append(FirstTrial("paper", params))
    trials += [FirstTrial(tag, dict(_corner(every, least=least))) for tag, least in
               (("corner: cheapest", True), ("corner: richest", False))]  # fmt: skip
    open_names = {one.name for one in every if isinstance(one.options, Range) or len(one.options) > 1}
    unique: dict[tuple[tuple[str, Value], ...], FirstTrial] = {}
    for trial in trials:
        params = {name: value for name, value in trial.params.items() if name in open_names}
        unique.setdefault(tuple(sorted(params.items())), FirstTrial(trial.tag, params))
    return list(unique.values()), notes


def _corner(every: list[Dimension], *, least: bool) -> Iterator[tuple[str, Value]]:
    for one in every:
        if one.name in ("policy", "reward_cost", "grid", "distill_weight", "halo", "context"):
            yield one.name, one.first
        else:  # a high λ is a cheap route
            yield one.name, one.extreme(not least if one.name == "cost_weight" else least)


# --- to profile ---------------------------------------------------------------------------------------


def cover(study: Study, *, channels: int, classes: int) -> Iterator[PipelineConfig]:
    """Few pipelines that between them hold every model size, S, grid, halo and policy of the space."""
    space = study.space

    def unet(index: int, pick: int, context: Context) -> UNetConfig:
        chosen = space.models[index]
        sizes = list(itertools.product(chosen.base, chosen.depth, chosen.scale))
        base, depth, scale = sizes[pick % len(sizes)]
        return UNetConfig(
            base=base, depth=depth, scale=scale, norm=study.norm, dropout=study.dropout,
            in_channels=channels + (classes if context == "screen" and index else 0), classes=classes,
        )  # fmt: skip

    most = max(len(one.base) * len(one.depth) * len(one.scale) for one in space.models)
    for grid, halo, context, policy, count in itertools.product(
        space.grid, space.halo, space.context, space.policy, space.model_count
    ):
        for pick, samples in itertools.product(range(most), space.mc_samples):
            yield PipelineConfig(
                models=tuple(unet(index, pick, context) for index in range(count or len(space.models))),
                grid=grid,
                halo=halo,
                context=context,
                distill_weight=0.0,  # costs nothing at run time
                mc_samples=samples,
                policy=PolicyConfig(kind=policy),
                training=study.training,
            )


# --- single UNets -------------------------------------------------------------------------------------


def static_sizes(study: Study, count: int) -> list[StaticSize]:
    """The study's own ``static``; without, ``count`` widths from the smallest to the
    largest of the space, the upper half of them at half scale as well: at equal training, the scale of the input is
    the largest lever."""
    if study.static:
        return list(study.static)
    space = study.space
    listed = sorted((base, depth) for model in space.models for base in model.base for depth in model.depth)
    (low, shallow), (high, deep) = listed[0], listed[-1]
    high = max(high, low + 2 * (count - 1))  # widths are even, and all different
    bases = np.geomspace(low, high, count)
    even = [low]
    for base in bases[1:]:
        even.append(max(even[-1] + 2, 2 * round(base / 2)))
    depths = np.rint(np.linspace(shallow, deep, count)).astype(int).tolist()
    full = [(base, depth, 1.0) for base, depth in zip(even, depths, strict=True)]
    half = [(base, depth, 0.5) for base, depth, _ in full[count // 2 :]]
    first = space.models[0]  # f_0 at a reduced scale is a single UNet to beat
    own = itertools.product(first.base, first.depth, [scale for scale in first.scale if scale < 1])
    sizes = dict.fromkeys([*full, *half, *own])
    return [StaticSize(base=base, depth=depth, scale=scale) for base, depth, scale in sizes]
