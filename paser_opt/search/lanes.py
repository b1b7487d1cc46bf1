"""Every router's operating points on the models of one seed, fitted on D_RL and val, priced and scored on test."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..compare.costs import CostTable, figures
from ..compare.curves import Points, upper_hull
from ..compare.outcome import Lane
from ..compare.records import ENTROPY, ORACLE, PIPELINE, RANDOM, STATIC, Axis, Group
from ..config import CostKind, PipelineConfig, PolicyConfig
from ..cost import RoutePlan, Workload, alone, cost_per_patch
from ..data import Part
from ..evaluate import image_confusions
from ..models import PricedPolicy
from ..patches import CELLS
from ..records import STEPS
from ..routers import (
    STRIDE,
    AlwaysRouter,
    BudgetOracle,
    CascadeRouter,
    DeployedPolicy,
    EntropyRouter,
    Goal,
    Labelled,
    MarginRouter,
    OracleRouter,
    PolicyRouter,
    PricedRouter,
    RandomRouter,
    Router,
    Routes,
    Schooling,
    TopKRouter,
    labelled,
)
from ..routing import workloads
from ..train import Trained
from .objective import Bench, Priced, asks_energy
from .static import SingleModels

__all__ = ["Effort", "Scorer", "on_shared_axes", "sweep"]

TRAININGS = 3
"""Values of λ, from low to high, that a policy is trained for which knows no other."""
REFERENCE_SIDE = 64
"""Longer side, at most, of the maps that the published head reads here: its time falls with their pixels."""
DRAWS = 16
"""Random twins that are averaged."""
BUDGETS = 24
"""Budgets the oracle is asked for."""
KINDS: dict[Axis, CostKind] = {"gflops": "flops", "latency": "latency", "energy": "energy"}


@dataclass(frozen=True)
class Effort:
    """How much is trained for a comparison."""

    seeds: int = 1
    points: int = 12
    """values of λ each router is fitted for, but TRAININGS for one that trains for each"""
    static: int = 6
    """widths of the static front, where the study names no sizes; 0: none"""
    int8: bool = True
    """the static front in int8 as well"""
    reinforce: bool = True
    """train the published head by REINFORCE too, on f_0's maps at no more than REFERENCE_SIDE"""


class Scorer:
    """All routers on the models of one seed."""

    def __init__(
        self,
        bench: Bench,
        priced: Priced,
        trained: Trained,
        axis: Axis,
        effort: Effort,
        singles: SingleModels | None = None,
    ) -> None:
        self.bench, self.priced, self.trained, self.effort = bench, priced, trained, effort
        self.singles = singles
        self.config, data = priced.config, bench.data
        parts = (("policy", data.policy), ("val", data.val), ("test", data.test))
        self.policies = {"pooled": PolicyConfig(), "priced": PolicyConfig(kind="priced")}
        if effort.reinforce:
            self.policies["reference"] = PolicyConfig(
                kind="reference", every=-(-max(data.height, data.width) // REFERENCE_SIDE)
            )
        self.policies[self.config.policy.kind] = self.config.policy
        policies = list(self.policies.values())
        bench.progress.stage("what routers may see", len(parts))
        self.learn, self.val, self.test = (labelled(trained, part, name, bench.store, policies) for name, part in parts)
        cost = cost_per_patch(priced.entries, priced.plan, KINDS[axis], priced.patches)
        self.goals = [
            Goal(weight, torch.tensor(cost)) for weight in sweep(self.val.gain, torch.tensor(cost), effort.points)
        ]
        self.costs = CostTable(priced.entries, priced.plan, priced.patches)
        self.energy = self.costs.least(priced.plan.policy).energy_j
        self._steps: dict[str, str] = {}

    # --- lanes ----------------------------------------------------------------------------------------

    def lanes(self) -> Iterator[tuple[str, Lane]]:
        """(router, its lane), the pipeline first."""
        config = self.config
        own = DeployedPolicy(self.trained.policy, config.policy)
        point = self._one(own, f"λ {config.cost_weight:.3g}", self.test, self._step(own))
        yield PIPELINE, self._single("pipeline", point)
        whole: list[tuple[Points, Points]] = []
        for model in range(len(config.models)):
            if model == 0 or config.context == "none":  # else it sees f_0's result, which it was trained on in patches
                whole.append(self._whole(model))
                yield f"f_{model} alone, whole image", self._single("single model", whole[-1][1])
            if model:
                yield f"f_{model} alone, patches", self._single("single model", self._patches(model))
        yield from self._static(whole)
        entropy = EntropyRouter(config.grid)
        learned = PricedRouter(self._priced(), self.policies["priced"])
        rules: list[tuple[Group, Router]] = [
            ("rule", entropy),
            ("rule", MarginRouter(config.grid)),
            ("rule", TopKRouter(config.grid)),
            ("rule", CascadeRouter(config.grid)),
            ("learned", learned),
            ("learned", self._policy("expected reward", "pooled", "expected")),
        ]
        if self.effort.reinforce:
            rules.append(("learned", self._policy("REINFORCE, published head", "reference", "reinforce")))
        rules.append(("oracle", OracleRouter()))
        for group, router in rules:
            yield router.name, self.family(group, router)
        step = self._step(entropy)
        yield f"{RANDOM}, pipeline's usage", self._single("random", self._twin(own, self.test, step))
        yield RANDOM, self._random(learned, step)
        yield ORACLE, self._oracle(step)

    def _static(self, own: list[tuple[Points, Points]]) -> Iterator[tuple[str, Lane]]:
        """Single UNets on whole images, as a front: between two of them, a coin for each image.

        ``own``: the pipeline's UNets on val and test; whoever has them may deploy one alone.
        """
        if self.singles is None or not self.singles.configs:
            return
        beside, _ = self._workloads(self.config)
        with_energy = "energy" in self.costs.rising
        self.singles.measure(beside, energy=with_energy)
        axes = set(self.costs.rising)
        whole = [(val, test) for val, test in own if axes <= set(test.costs)]  # a lane needs every axis
        if len(whole) < len(own):
            self.singles.notes.append("The pipeline's own UNets are left out: no energy of theirs alone.")
        found = {"fp32": ([val for val, _ in whole], [test for _, test in whole])}
        for row, matrices in self.singles.rows(self.config.seed):
            costs: dict[Axis, float] = {"gflops": 2 * row.macs / 1e9, "latency": row.latency.median_s}
            if with_energy:
                energy = self.singles.entry(row).energy
                if energy.gross_j is None:  # a lane needs every axis
                    self.singles.notes.append(f"{row.name} is left out: no energy ({energy.reason}).")
                    continue
                costs["energy"] = energy.gross_j
            of_both = found.setdefault(row.precision, ([], []))
            for split, points in zip(("val", "test"), of_both, strict=True):
                points.append(self._constant(matrices[split], None, costs, row.macs, row.name))
        for precision, (val, test) in found.items():
            if not test:
                continue
            yield (
                STATIC if precision == "fp32" else f"{STATIC}, {precision}",
                self._lane("static", Points.joined(val), Points.joined(test)),
            )

    def _policy(self, name: str, kind: str, objective: str) -> PolicyRouter:
        bench = self.bench
        school = Schooling(
            training=self.config.training, grid=self.config.grid, models=len(self.config.models),
            classes=bench.data.classes, channels=bench.data.channels, flips=bench.data.flips, seed=self.config.seed,
            device=bench.training_device, store=bench.store, progress=bench.progress,
        )  # fmt: skip
        return PolicyRouter(name, self.policies[kind], school, policy_objective=objective)

    def _priced(self) -> PricedPolicy:
        data, config = self.bench.data, self.config
        return PricedPolicy(
            self.policies["priced"], models=len(config.models), grid=config.grid, classes=data.classes,
            channels=data.channels,
        )  # fmt: skip

    def _single(self, group: Group, point: Points) -> Lane:
        return Lane(group, point, {axis: [0] for axis in point.costs})

    def _lane(self, group: Group, val: Points, test: Points) -> Lane:
        iou = val.iou()
        return Lane(group, test, {axis: upper_hull(val.cost(axis), iou) for axis in val.costs}, val)

    def family(self, group: Group, router: Router) -> Lane:
        """One point for each λ: fitted on D_RL and val, val and test routed."""
        val, test = [], []
        goals = self.goals
        if isinstance(router, PolicyRouter):
            goals = [goals[i] for i in sorted(set(torch.linspace(1, len(goals) - 1, TRAININGS).long().tolist()))]
        for goal in goals:
            label = f"λ {goal.cost_weight:.3g}"
            router.fit(self.learn, self.test if router.hindsight else self.val, goal)
            step = self._step(router)
            test.append(self._one(router, label, self.test, step))
            val.append(test[-1] if router.hindsight else self._one(router, label, self.val, step))
        return self._lane(group, Points.joined(val), Points.joined(test))

    def _random(self, like: Router, step: str) -> Lane:
        """Random routes with the usage of ``like`` at each λ, and every patch to one model."""
        sides = []
        for tables in (self.val, self.test):
            ends = [AlwaysRouter(model) for model in range(len(self.config.models))]
            points = [self._one(end, end.name, tables, step) for end in ends]
            for goal in self.goals:
                like.fit(self.learn, self.val, goal)
                points.append(self._twin(like, tables, step))
            sides.append(Points.joined(points))
        return self._lane("random", *sides)

    def _oracle(self, step: str) -> Lane:
        dearest = OracleRouter()
        free = replace(self.goals[0], cost_weight=0.0)
        dearest.fit(self.learn, self.test, free)
        most = self._spend(dearest.route(self.test.seen).route)
        points = []
        for part in torch.linspace(0, 1, BUDGETS).tolist():
            router = BudgetOracle(part * most)
            router.fit(self.learn, self.test, free)
            points.append(self._one(router, f"{part:.0%} of the spending of λ = 0", self.test, step))
        joined = Points.joined(points)
        return self._lane("oracle", joined, joined)

    def _spend(self, route: Tensor) -> float:
        cost = self.goals[0].cost_per_patch.clone()
        cost[0] = 0.0
        return cost[route].double().mean().item()

    # --- points ---------------------------------------------------------------------------------------

    def _one(self, router: Router, label: str, tables: Labelled, step: str) -> Points:
        return self._point(router.route(tables.seen), label, tables, step)

    def _twin(self, like: Router, tables: Labelled, step: str) -> Points:
        """The expectation over random routes with the usage that ``like`` has on these images."""
        draws = RandomRouter(like, self.config.seed).draws(tables.seen, DRAWS)
        return Points.averaged([self._point(one, "random", tables, step) for one in draws])

    def _point(self, routes: Routes, label: str, tables: Labelled, step: str) -> Points:
        return self.costs.point(tables.routed(routes.route), routes.route, routes.charged, step, label)

    def _patches(self, model: int) -> Points:
        """f_i on every patch, without f_0 unless it sees f_0's result."""
        cost = alone(self.priced.entries, self.priced.plan, model, self.priced.patches)
        return self._constant(self.test.hard[:, :, model].sum(dim=1), model, figures(cost), cost.paper_macs)

    def _whole(self, model: int) -> tuple[Points, Points]:
        """f_i on whole images of val and test, one deterministic pass."""
        config, data = self.config, self.bench.data
        # As f_0 of another pipeline: routing.workloads knows how one is measured.
        as_first = config.model_copy(update={"models": (config.models[model], config.models[0])})
        steps, plan = self._workloads(as_first)
        self._ensure([one for one in steps if one.key == plan.screen_once], within=0.0)
        cost = alone(self.costs.entries, plan, 0, self.priced.patches)

        def points(part: Part) -> Points:
            moved = part.to(self.bench.training_device)
            matrices = image_confusions(self.trained.models[model], moved.images, moved.masks, precision="fp32").cpu()
            return self._constant(matrices, model, figures(cost), cost.paper_macs, f"f_{model} alone")

        return points(data.val), points(data.test)

    def _constant(
        self,
        matrices: Tensor,
        model: int | None,
        costs: dict[Axis, float],
        macs_paper: float,
        label: str = "its own cost",
    ) -> Points:
        """A model that is run on every image alike; ``model``: which of the pipeline's, None for none of them."""
        images = len(matrices)
        usage = torch.zeros(1, len(self.config.models), dtype=torch.float64)
        if model is not None:
            usage[0, model] = 1
        return Points(
            matrices[None],
            {axis: torch.full((1, images), cost, dtype=torch.float64) for axis, cost in costs.items()},
            torch.full((1, images), macs_paper, dtype=torch.float64),
            usage,
            (label,),
        )

    # --- what deciding costs --------------------------------------------------------------------------

    def _step(self, router: Router) -> str:
        """Key of the profile's entry for the decision that ``router`` makes at run time, measured if it is not there.

        A step's cost does not change with what was fitted, so each router is measured once.
        """
        if router.name not in self._steps:
            self._steps[router.name] = self._measured(router)
        return self._steps[router.name]

    def _measured(self, router: Router) -> str:
        if isinstance(router, DeployedPolicy):
            steps, plan = self._workloads(self.config.model_copy(update={"policy": router.config}))
            self._ensure([one for one in steps if one.key == plan.policy])
            return plan.policy
        module = router.step()
        if module is None:
            return self._steps[ENTROPY]
        data, (rows, columns) = self.bench.data, self.config.grid
        models = len(self.config.models)
        seen = f"m{models} k{data.classes} c{data.channels} g{rows}x{columns} {CELLS}cells{STRIDE}"
        image = torch.randn(1, data.channels, data.height, data.width, device=self.bench.cost_device)
        chance = torch.softmax(torch.randn(1, data.classes, *image.shape[2:], device=image.device), dim=1)
        load = Workload(
            f"decide {router.name} {seen} {data.height}x{data.width} {STEPS}",
            copy.deepcopy(module).to(image.device).eval(), (image, chance), 1,
        )  # fmt: skip
        self._ensure([load])
        return load.key

    def _workloads(self, config: PipelineConfig) -> tuple[list[Workload], RoutePlan]:
        data = self.bench.data
        return workloads(config, height=data.height, width=data.width, device=self.bench.cost_device)

    def _ensure(self, steps: list[Workload], *, within: float | None = None) -> None:
        """What of ``steps`` the profile lacks, told within a share from other sizes (the study's) or measured (0)."""
        within = self.bench.study.predict_within if within is None else within
        beside, _ = self._workloads(self.config)
        self.costs.entries = self.bench.profile.ensure(
            steps,
            progress=self.bench.progress,
            energy=asks_energy(self.config, self.bench),
            within=within,
            beside=beside,
        )


def on_shared_axes(seeds: Sequence[Mapping[str, Lane]]) -> tuple[list[dict[str, Lane]], list[str]]:
    """The lanes with their costs on the axes that every one of them has, and the names of those that lack one."""
    costs = [set(lane.test.costs) for lanes in seeds for lane in lanes.values()]
    shared, most = set.intersection(*costs), set.union(*costs)
    lacking = [name for lanes in seeds for name, lane in lanes.items() if most - set(lane.test.costs)]

    def reduced(lane: Lane) -> Lane:
        kept = {axis: of_axis for axis, of_axis in lane.kept.items() if axis in shared}
        return replace(lane, test=lane.test.on(shared), kept=kept, val=lane.val and lane.val.on(shared))

    return [{name: reduced(lane) for name, lane in lanes.items()} for lanes in seeds], list(dict.fromkeys(lacking))


def sweep(gain: Tensor, cost: Tensor, points: int) -> list[float]:
    """Values of λ, ascending, that take the oracle from spending freely to hardly at all; gain (N, P, M), cost (M,).

    λ / (1 − λ) is the gain that one unit of C has to bring. It runs evenly in its logarithm over two and a half
    decades up to what only one in twenty of the gains that exist brings; the first λ is 0.
    """
    ratio = (gain[..., 1:] / cost[1:]).flatten()
    ratio = ratio[ratio > 0]
    most = torch.quantile(ratio.double(), 0.95).item() if len(ratio) else 1.0
    prices = [0.0, *torch.logspace(-2.5, 0, points - 1, dtype=torch.float64).mul(most).tolist()]
    return [price / (1 + price) for price in prices]
