"""Cost kinds: policies trained for one price and paid by another, and pipelines chosen by what a price makes believe.

The cost that is paid is latency, from the device's profile. Whoever goes by another price times one thing, f_m on
every patch, and scales from there: by parameters as the paper counts them (one pass of f_0 and each patch's share of
its model, no Monte-Carlo passes, no policy), by FLOPs, or by energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..compare.costs import CostTable, figures
from ..compare.curves import Points, at_budget, upper_hull
from ..compare.outcome import cost_of, iou_of
from ..compare.records import Axis
from ..compare.statistics import Statistic, compared
from ..config import CostKind
from ..cost import alone, cost_per_patch
from ..records import Quantity
from ..search.lanes import sweep
from ..search.objective import Priced
from ..train import gains
from .base import Sample, Subject, kept, less, point, retrained
from .records import Cell, Column, Findings, Sheet

__all__ = ["believed_latency_s", "run"]

POINTS = 5
"""Values of λ a policy is trained for, a kind."""
PAID: Literal["latency"] = "latency"
BUDGETS = (0.25, 0.5, 0.75)
"""Of the way from the latency of keeping every patch to that of sending every patch to f_m."""


@dataclass(frozen=True)
class Lane:
    """The policies trained for one kind of cost on one seed."""

    val: Points  # L = 1 + POINTS operating points, the first of them f_0 on everything
    test: Points
    believed: Tensor  # (L,) latency on val that its own price makes believe, s


def run(subjects: Sequence[Subject], sample: Sample) -> Findings:
    """What each kind charges; its routes at equal latency; what is chosen by it, and what that really costs."""
    kinds, notes = _kinds(subjects[0].priced)
    lanes = {kind: [_lane(subject, kind) for subject in subjects] for kind in kinds}
    budgets = _budgets(subjects[0].costs, subjects[0].priced)
    notes = [
        f"A policy of its own for each of {POINTS} λ and each cost, on the same UNets; points are mixed by a coin per "
        "image to meet a budget, and val decides which ones. Where they are too dear, f_0 keeps every patch.",
        "Believed: latency of f_m alone on every patch, times what the route costs by that price over what f_m costs.",
        "Really: predicted from the device's profile, every pass and the policy included.",
        *notes,
    ]
    sheets = [_charges(subjects[0].priced, kinds), _at_equal(lanes, budgets, sample), _chosen(lanes, budgets, sample)]
    return Findings(sheets=sheets, notes=notes)


def _kinds(priced: Priced) -> tuple[list[CostKind], list[str]]:
    """Those that this device can tell apart from latency, and why others are left out."""
    kinds: list[CostKind] = ["params", "flops", PAID]
    energy = priced.least().energy_j
    if energy.value is None:
        return kinds, [f"No energy: {energy.reason}."]
    if energy.how == "estimated":
        return kinds, [f"No energy: it is only estimated here ({energy.source}) and says nothing latency does not."]
    return [*kinds, "energy"], []


def _lane(subject: Subject, kind: CostKind) -> Lane:
    config, priced = subject.trained.config, subject.priced
    cost = torch.tensor(cost_per_patch(priced.entries, priced.plan, kind, priced.patches))
    val = subject.trained.tables("val")
    weights = sweep(gains(val.hard, val.soft, config.training.reward), cost, POINTS)
    points = {split: [kept(subject, split)] for split in ("val", "test")}
    for weight in weights:
        changed = config.model_copy(update={"reward_cost": kind, "cost_weight": weight})
        trained = retrained(subject, replace(priced, config=changed))
        for split, found in points.items():
            table = trained.tables(split)
            found.append(point(subject.costs, table, trained.route(table), f"λ {weight:.3g}"))
    joined = {split: Points.joined(found) for split, found in points.items()}
    return Lane(joined["val"], joined["test"], believed_latency_s(kind, joined["val"], priced))


def believed_latency_s(kind: CostKind, points: Points, priced: Priced) -> Tensor:
    """Latency (L,) of the operating points by one price, scaled from f_m alone on every patch, s."""
    largest = alone(priced.entries, priced.plan, len(priced.config.models) - 1, priced.patches)
    if kind == PAID:
        return points.cost("latency")
    if kind == "params":
        cost = torch.tensor(cost_per_patch(priced.entries, priced.plan, kind, priced.patches), dtype=torch.float64)
        share = (cost[0] + points.usage[:, 1:] @ cost[1:]) / cost[-1]
    else:
        axis: Axis = "gflops" if kind == "flops" else "energy"
        share = points.cost(axis) / figures(largest)[axis]
    return share * figures(largest)["latency"]


def _budgets(costs: CostTable, priced: Priced) -> list[float]:
    least = costs.least(priced.plan.policy).latency_s
    patches = torch.zeros(1, costs.models, dtype=torch.long)
    patches[0, -1] = priced.patches
    most = costs.images(patches, priced.plan.policy)[0]["latency"].item()
    low = _known(least)
    return [low + part * (most - low) for part in BUDGETS]


def _known(value: Quantity) -> float:
    assert value.value is not None  # a route's latency always has one
    return value.value


# --- sheets -------------------------------------------------------------------------------------------


def _charges(priced: Priced, kinds: Sequence[CostKind]) -> Sheet:
    charged = {kind: cost_per_patch(priced.entries, priced.plan, kind, priced.patches) for kind in kinds}
    names = [f"f_{index}" for index in range(len(priced.config.models))]
    return Sheet(
        title="What each cost charges: C of Eq. 3 relative to f_m",
        columns=[Column(name="cost"), *(Column(name=name, kind="ratio") for name in names)],
        rows=[[kind, *(one / cost[-1] for one in cost)] for kind, cost in charged.items()],
    )


def _met(lane: Lane, cost: str, budget: float) -> Points | None:
    """Where the lane meets ``budget`` by its "believed" latency on val, or by the "real" one on test."""
    real = lane.val.cost(PAID)
    kept = upper_hull(lane.believed if cost == "believed" else real, lane.val.iou())
    mix = at_budget(lane.believed if cost == "believed" else lane.test.cost(PAID), kept, budget)
    return lane.test.mixed(mix) if mix else None


def _at_equal(lanes: dict[CostKind, list[Lane]], budgets: Sequence[float], sample: Sample) -> Sheet:
    met = {
        (budget, kind): [_met(lane, "real", budget) for lane in of_seed]
        for budget in budgets
        for kind, of_seed in lanes.items()
    }
    there = {at: [one for one in points if one] for at, points in met.items() if None not in points}
    both = {at: sample.both([iou_of(one) for one in points]) for at, points in there.items()}
    against = compared(
        {
            f"{budget} {kind}": less(found, both[budget, PAID])
            for (budget, kind), found in both.items()
            if kind != PAID and (budget, PAID) in both
        }
    )
    rows: list[list[Cell]] = []
    for budget, kind in met:
        found: list[Cell] = [None, None, None, None]
        if points := there.get((budget, kind)):
            found = [
                sample.estimate([iou_of(one) for one in points]),
                against.get(f"{budget} {kind}"),
                sample.estimate([cost_of(one, "latency") for one in points]),
                _usage(points),
            ]
        rows.append([budget, kind, *found])
    return Sheet(
        title="Policies trained for each cost, at equal latency",
        columns=[
            Column(name="latency to be kept", kind="latency"),
            Column(name="trained for"),
            Column(name="IoU", kind="iou"),
            Column(name="less the policy trained for latency", kind="difference"),
            Column(name="latency", kind="latency"),
            Column(name="patches of f_0, f_1 …"),
        ],
        rows=rows,
    )


def _chosen(lanes: dict[CostKind, list[Lane]], budgets: Sequence[float], sample: Sample) -> Sheet:
    rows: list[list[Cell]] = []
    for budget in budgets:
        for kind, of_seed in lanes.items():
            met = [_met(lane, "believed", budget) for lane in of_seed]
            points = [one for one in met if one]
            found: list[Cell] = [None, None, None, None]
            if len(points) == len(met):
                found = [
                    sample.estimate([cost_of(one, "latency") for one in points]),
                    sample.estimate([_over(one, budget) for one in points]),
                    sample.estimate([iou_of(one) for one in points]),
                    _usage(points),
                ]
            rows.append([budget, kind, *found])
    return Sheet(
        title="Pipelines chosen by each cost for a budget, and what they really cost",
        columns=[
            Column(name="believed to keep", kind="latency"),
            Column(name="trained for and chosen by"),
            Column(name="really takes", kind="latency"),
            Column(name="over the budget", kind="change"),
            Column(name="IoU", kind="iou"),
            Column(name="patches of f_0, f_1 …"),
        ],
        rows=rows,
        notes=["Below the budget: by that price its best policy on val is cheaper, so nothing more is spent."],
    )


def _over(point: Points, budget_s: float) -> Statistic:
    latency_s = cost_of(point, "latency")
    return lambda weight: latency_s(weight) / budget_s - 1


def _usage(points: Sequence[Points]) -> str:
    shares = torch.stack([one.usage[0].double() for one in points]).mean(dim=0)
    return " · ".join(f"{100 * share:.0f} %" for share in shares.tolist())
