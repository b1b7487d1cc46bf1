"""One trial: price the pipeline, train it, score it. Here the measured cost meets the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ..config import Budget, Device, Objective, PipelineConfig, Study
from ..cost import ProfileStore, RoutePlan, alone, cost_per_patch, least, predict
from ..data import SegmentationData
from ..errors import ConfigError
from ..evaluate import bootstrap, class_iou, data_iou, image_confusions, image_iou
from ..models import parameter_count
from ..progress import Progress
from ..records import Alone, Cost, Entry, Evaluation, Reward, TrialRecord, Versus
from ..routers import random_matched
from ..routing import workloads
from ..train import ArtifactStore, Trained, converged, train_pipeline

__all__ = [
    "Bench",
    "Priced",
    "Workshop",
    "budget_reason",
    "evaluation",
    "objective_values",
    "over_budget",
    "price",
    "refuse_other_masks",
    "score",
    "score_rung",
    "to_measure",
    "train",
]

RANDOM_DRAWS = 40


@dataclass(frozen=True)
class Workshop:
    """What a trial is trained and scored with."""

    study: Study
    data: SegmentationData
    store: ArtifactStore
    training_device: torch.device
    progress: Progress


@dataclass(frozen=True)
class Bench(Workshop):
    """What the driver works with: the workshop, and the profile that prices trials."""

    profile: ProfileStore

    @property
    def cost_device(self) -> torch.device:
        """Where pipelines are made for their cost to be measured."""
        return self.profile.bench.where


@dataclass(frozen=True)
class Priced:
    """A pipeline's steps with what each costs on the device."""

    config: PipelineConfig
    plan: RoutePlan
    entries: dict[str, Entry]

    @property
    def patches(self) -> int:
        return self.config.patches

    def least(self) -> Cost:
        """Of the cheapest possible route: f_0 keeps every patch."""
        return least(self.entries, self.plan)


def refuse_other_masks(device: Device) -> None:
    """Raises ConfigError for a runtime whose masks are not the trained models'."""
    if device.runtime == "onnx-int8":
        raise ConfigError(
            "runtime onnx-int8 gives other masks than the fp32 models that a search scores: its latency must not stand "
            "beside their IoU; search with onnx, and profile with onnx-int8"
        )


def to_measure(config: PipelineConfig, bench: Bench) -> bool:
    """Whether pricing ``config`` would measure something on this very machine."""
    if not bench.profile.bench.here:
        return False
    steps, _ = workloads(config, height=bench.data.height, width=bench.data.width, device=bench.cost_device)
    energy = asks_energy(config, bench)
    return bool(bench.profile.missing(steps, energy=energy, within=bench.study.predict_within))


def asks_energy(config: PipelineConfig, bench: Bench) -> bool:
    """Whether steps are to be measured with energy: where the search needs it, or the profile has it of others.

    A sensor may take most of a minute over each step (NVML's counter needs windows of 5 s): nobody who searches for
    latency is to wait for that.
    """
    return energy_matters(config, bench.study) or bench.profile.has_energy


def energy_matters(config: PipelineConfig, study: Study) -> bool:
    """Whether energy is an objective, limited, or the reward's cost, be it of another trial: a front has one price."""
    kinds = (*study.objectives, *study.space.reward_cost, config.reward_cost)
    return "energy" in kinds or study.budget.max_energy_j is not None


def price(config: PipelineConfig, bench: Bench) -> Priced:
    """Measure the steps of ``config`` that the profile neither holds nor tells; nothing else runs meanwhile."""
    steps, plan = workloads(config, height=bench.data.height, width=bench.data.width, device=bench.cost_device)
    entries = bench.profile.ensure(
        steps, progress=bench.progress, energy=asks_energy(config, bench), within=bench.study.predict_within
    )
    priced = Priced(config, plan, entries)
    if energy_matters(config, bench.study):
        _refuse_energy(priced.least(), bench.study)
    return priced


def _refuse_energy(cost: Cost, study: Study) -> None:
    energy = cost.energy_j
    if energy.value is None:
        raise ConfigError(
            f"study {study.name}: energy cannot be an objective or a reward here: {energy.reason}; "
            "use latency, or a device with a power sensor"
        )
    if energy.how == "estimated" and not study.allow_estimated_energy:
        raise ConfigError(
            f"study {study.name}: energy is only estimated here ({energy.source}) and says nothing latency does not; "
            "use latency, or set allow_estimated_energy = true"
        )


def over_budget(cost: Cost, budget: Budget) -> dict[str, float]:
    """Constraints of the budget: name → excess in parts of the limit, ≤ 0 where it is kept.

    Raises ConfigError for a limit on a figure that this device cannot give.
    """
    limits: dict[str, tuple[float | None, float | None]] = {
        "gflops": (cost.gflops, budget.max_gflops),
        "latency": (cost.latency_s.value, budget.max_latency_s),
        "energy": (cost.energy_j.value, budget.max_energy_j),
        "memory": (cost.memory_bytes.value, budget.max_memory_bytes),
    }
    excess = {}
    for name, (value, limit) in limits.items():
        if limit is None:
            continue
        if value is None:
            raise ConfigError(
                f"budget: this device gives no figure for {name}; remove the limit, or use another device"
            )
        excess[name] = value / limit - 1
    return excess


def budget_reason(excess: dict[str, float]) -> str:
    """Why a pipeline is pruned before it is trained, or "" where it keeps the budget."""
    worst = max(excess, key=lambda name: excess[name], default="")
    if not worst or excess[worst] <= 0:
        return ""
    return f"its cheapest route is {excess[worst]:.0%} over the budget of {worst}"


def train(priced: Priced, bench: Workshop, shares: Sequence[float] = (1.0,), *, tuned: bool = True) -> Trained:
    """The full pipeline, stages taken from the store where they are there; to the last of ``shares`` of its epochs, and
    ``tuned`` or not."""
    cost = cost_per_patch(priced.entries, priced.plan, priced.config.reward_cost, priced.patches)
    return train_pipeline(
        priced.config, bench.data, bench.store, cost, device=bench.training_device, progress=bench.progress,
        shares=shares, tuned=tuned,
    )  # fmt: skip


OBJECTIVE_VALUES: dict[Objective, Callable[[Evaluation], float | None]] = {
    "iou": lambda result: result.iou,
    "gflops": lambda result: result.cost.gflops,
    "latency": lambda result: result.cost.latency_s.value,
    "energy": lambda result: result.cost.energy_j.value,
    "memory": lambda result: result.cost.memory_bytes.value,
}


def objective_values(result: Evaluation, objectives: tuple[Objective, ...]) -> dict[str, float]:
    """Objective → value. Raises ConfigError for a figure this device cannot give."""
    values: dict[str, float] = {}
    for name in objectives:
        value = OBJECTIVE_VALUES[name](result)
        if value is None:
            raise ConfigError(f"objective {name} has no value on this device; leave it out of objectives")
        values[name] = value
    return values


def evaluation(trained: Trained, priced: Priced, bench: Workshop, split: Literal["val", "test"]) -> Evaluation:
    """The pipeline, its parts alone, its random twin and its oracle on one split."""
    table = trained.tables(split)
    route = trained.route(table)
    matrices = table.routed(route)
    models = len(trained.models)
    counts = torch.nn.functional.one_hot(route, models).sum(dim=1)  # (N, M) patches of each model
    low, high = bootstrap(matrices)
    draws = random_matched(route, draws=RANDOM_DRAWS, seed=trained.config.seed)
    random = torch.stack([table.routed(draw) for draw in draws])  # (R, N, K, K)
    random_iou = sum(data_iou(one) for one in random) / RANDOM_DRAWS
    random_low, random_high = bootstrap(matrices, random)
    each = class_iou(matrices.sum(dim=0))
    iou = data_iou(matrices)
    return Evaluation(
        split=split,
        images=len(matrices),
        iou=iou,
        iou_low=low,
        iou_high=high,
        image_iou=image_iou(matrices).nanmean().item(),
        class_iou=[None if torch.isnan(one) else one.item() for one in each],
        per_image=image_iou(matrices).tolist(),
        usage=(counts.sum(dim=0) / counts.sum()).tolist(),
        patches=counts.tolist(),
        cost=predict(priced.entries, priced.plan, counts.numpy()),
        random=Versus(
            baseline="random route with the same usage",
            baseline_iou=random_iou,
            difference=iou - random_iou,
            low=random_low,
            high=random_high,
        ),
        oracle_iou=data_iou(table.routed(trained.bandit(table).reward.argmax(dim=-1))),
        alone=[_alone(index, trained, priced, bench, split) for index in range(models)],
    )


def score(record: TrialRecord, trained: Trained, priced: Priced, bench: Workshop) -> None:
    """Write into ``record`` what the pipeline reaches on val, and how it came about."""
    record.val = evaluation(trained, priced, bench, "val")
    record.values = objective_values(record.val, bench.study.objectives)
    record.weights = trained.keys
    record.cost_per_patch = trained.cost_per_patch.tolist()
    trainings = [(name.split()[-1], history) for name, history in trained.histories.items()
                 if name.startswith(("pretrain", "distill"))]  # fmt: skip
    if trainings:  # of a pipeline that was restored they are known already
        record.unconverged = sorted(model for model, history in trainings if not converged(history))
    table = trained.tables("val")
    earned = trained.bandit(table).reward  # (N, P, M)
    record.reward = Reward(
        policy=earned.gather(-1, trained.route(table).unsqueeze(-1)).mean().item(),
        one_model=earned.mean(dim=(0, 1)).max().item(),
        oracle=earned.amax(dim=-1).mean().item(),
    )


def score_rung(record: TrialRecord, rung: str, trained: Trained, priced: Priced, bench: Workshop) -> None:
    """Write into ``record`` what the pipeline reaches on val at this rung."""
    reached = evaluation(trained, priced, bench, "val")
    record.rung_values[rung] = objective_values(reached, bench.study.objectives)


def _alone(index: int, trained: Trained, priced: Priced, bench: Workshop, split: Literal["val", "test"]) -> Alone:
    """f_0 on the whole image in one deterministic pass; f_i on every patch."""
    if index == 0:
        part = getattr(bench.data, split).to(bench.training_device)
        matrices = image_confusions(trained.models[0], part.images, part.masks, precision="fp32")
    else:
        matrices = trained.tables(split).hard[:, :, index].sum(dim=1)
    size = trained.config.models[index]
    total = matrices.sum(dim=0)
    names = zip(bench.data.class_names, total.sum(dim=1).tolist(), total.sum(dim=0).tolist(), strict=True)
    return Alone(
        model=index,
        name=f"f_{index} (base {size.base}, depth {size.depth}"
        + (f", scale {size.scale:g})" if size.scale != 1 else ")"),
        params=parameter_count(trained.models[index]),
        iou=data_iou(matrices),
        cost=alone(priced.entries, priced.plan, index, priced.patches),
        unseen=[name for name, in_truth, predicted in names if in_truth and not predicted],
    )
