"""What every experiment starts from: a trial's pipeline from each seed, and resamples of their test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..compare.costs import CostTable
from ..compare.curves import Points
from ..compare.records import Estimate
from ..compare.statistics import Resamples, Statistic, draw, estimated, value
from ..cost import cost_per_patch
from ..data import SegmentationData
from ..models import build_policy
from ..routers import charge_once, random_matched
from ..search.objective import Bench, Priced
from ..search.pipelines import SeededPipeline
from ..train import Table, Tensors, Trained, restore_pipeline
from .records import Findings

__all__ = [
    "Experiment",
    "Sample",
    "Subject",
    "kept",
    "less",
    "mean_gflops",
    "point",
    "retrained",
    "sent_on",
    "subject",
    "twin",
]

RESAMPLES = 2000
DRAWS = 16
"""Random routes that are averaged."""


@dataclass(frozen=True)
class Subject:
    """The pipeline from one seed, trained and priced."""

    pipeline: SeededPipeline
    seed: int
    bench: Bench
    priced: Priced
    trained: Trained

    @property
    def data(self) -> SegmentationData:
        return self.bench.data

    @property
    def test(self) -> Table:
        return self.trained.tables("test")

    @cached_property
    def costs(self) -> CostTable:
        return CostTable(self.priced.entries, self.priced.plan, self.priced.patches)

    @cached_property
    def own(self) -> Points:
        """The pipeline itself on test."""
        return point(self.costs, self.test, self.trained.route(self.test))


def subject(pipeline: SeededPipeline, seed: int) -> Subject:
    """Raises as SeededPipeline.trained."""
    bench = pipeline.bench(seed)
    return Subject(pipeline, seed, bench, *pipeline.trained(seed, bench))


Drawn = tuple[float, Tensor]
"""A figure and its resamples (B,)."""


@dataclass(frozen=True)
class Sample:
    """Resamples over images nested in seeds: every figure of an experiment meets the same ones."""

    images: tuple[int, ...]
    resamples: Resamples

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> Sample:
        images = tuple(len(one.data.test) for one in subjects)
        return cls(images, draw(images, count=RESAMPLES))

    def both(self, of_seed: Sequence[Statistic]) -> Drawn:
        """The statistic's mean over seeds, and its resamples (B,)."""
        return value(of_seed, self.images), self.resamples.values(of_seed)

    def estimate(self, of_seed: Sequence[Statistic]) -> Estimate:
        return estimated(*self.both(of_seed))


def less(one: Drawn, other: Drawn) -> Drawn:
    """The paired difference."""
    return one[0] - other[0], one[1] - other[1]


Experiment = Callable[[Sequence[Subject], Sample], Findings]


# --- routes -------------------------------------------------------------------------------------------


def point(costs: CostTable, table: Table, route: Tensor, label: str = "") -> Points:
    """What the routes (N, P) of the images of ``table`` reach and cost, decided by the pipeline's policy."""
    routes = charge_once(route, costs.models)
    return costs.point(table.routed(route), route, routes.charged, costs.plan.policy, label)


def twin(costs: CostTable, table: Table, route: Tensor, seed: int) -> Points:
    """The expectation over random routes that send exactly as many patches to each model as ``route`` (N, P)."""
    draws = random_matched(route, draws=DRAWS, seed=seed)
    return Points.averaged([point(costs, table, one, "random") for one in draws])


def kept(subject: Subject, split: str = "test") -> Points:
    """f_0 keeps every patch."""
    table = subject.trained.tables(split)
    return point(subject.costs, table, torch.zeros(table.hard.shape[:2], dtype=torch.long), "all kept")


def mean_gflops(points: Sequence[Points]) -> float:
    """Of an image, mean over seeds; full convention."""
    return sum(one.cost("gflops")[0].item() for one in points) / len(points)


def sent_on(points: Sequence[Points]) -> float:
    """Share of patches that f_0 does not keep, mean over seeds."""
    return sum(1 - one.usage[0, 0].item() for one in points) / len(points)


# --- policies -----------------------------------------------------------------------------------------


def retrained(of: Subject, priced: Priced) -> Trained:
    """The subject's UNets as they are, with a policy trained from its beginning for ``priced.config`` on their tables.

    Kept in the stage store. Raises DivergedError.
    """
    config, bench = priced.config, of.bench
    cost = cost_per_patch(priced.entries, priced.plan, config.reward_cost, priced.patches)
    made = restore_pipeline(
        config, bench.data, bench.store, cost, of.trained.keys, device=bench.training_device, progress=bench.progress
    )
    made.policy = build_policy(
        config.policy, models=len(config.models), grid=config.grid, classes=bench.data.classes,
        channels=bench.data.channels, seed=config.seed,
    ).to(bench.training_device)  # fmt: skip

    def make() -> tuple[Tensors, dict[str, Any]]:
        history = made.learn(
            epochs=config.training.policy_epochs, flips=bench.data.flips, progress=bench.progress,
            stage=f"policy, S {config.mc_samples}, λ {config.cost_weight:.3g}",
        )  # fmt: skip
        return made.policy.state_dict(), {"history": history}

    key = bench.store.key(
        "retrained",
        data=bench.data.fingerprint,
        folds=bench.data.folds,
        models={name: key for name, key in made.keys.items() if name != "policy"},
        config=config.model_dump(mode="json"),
        cost=torch.tensor(cost).tolist(),
    )
    made.policy.load_state_dict(bench.store.get_or_make(key, make).tensors)
    made.policy.eval()
    return made
