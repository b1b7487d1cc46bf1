"""A comparison of routers in words and as a table, for its own page and for the run's report."""

from __future__ import annotations

import html
from collections.abc import Sequence
from statistics import mean, stdev

from ..compare.records import (
    ENTROPY,
    EQUAL,
    LEARNED,
    ORACLE,
    PIPELINE,
    RANDOM,
    STATIC,
    Axis,
    Comparison,
    Difference,
    FrontPoint,
    PerGflop,
    RouterResult,
    same_cost,
)
from . import words
from .sections import Cell, section, table

__all__ = ["cell", "compared_section", "difference_text", "headline", "routers_section", "said_of_routing"]

SPREAD = 0.15
"""Standard deviation of IoU/GFLOP over seeds, in parts of its mean, from which on its variance is called high."""
EVEN = 0.4
"""Share of the patches with 80 % of the gain from which on difficulty is called even; all alike would be 0.8."""


def compared_section(found: Comparison, page: str) -> str:
    """A comparison inside the report of its run; ``page``: where its own page lies, relative to the report."""
    said = "".join(f"<li>{html.escape(text)}</li>" for text in [headline(found) + ".", *said_of_routing(found)])
    seeds = f"{len(found.seeds)} seed" + ("s" if len(found.seeds) > 1 else "")
    about = f"{found.title}: {seeds}, {sum(found.images)} test images. {_lead(found)}"
    link = f'<p><a href="{html.escape(page)}">Fronts of all routers, and every figure</a></p>'
    return section("compared", "Routers compared", f"<ul>{said}</ul>{_table(found)}{link}", about)


def routers_section(found: Comparison) -> str:
    """Every router at the pipeline's cost."""
    return section("routers", "At the pipeline's cost", _table(found), _lead(found))


def headline(found: Comparison) -> str:
    """Whether the pipeline has earned its cost, in one sentence."""
    own = found.router(PIPELINE)
    at = words.valued(found.axis, _cost(own, found.axis))
    beating = [
        one
        for one in found.routers
        if one.group == "single model" and one.against and _cost(one, found.axis) <= _cost(own, found.axis)
        and one.against.verdict != "better"
    ]  # fmt: skip
    if beating:
        best = max(beating, key=lambda one: one.iou.value)
        return (
            f"Routing has not earned its cost: {best.name} reaches IoU {best.iou.value:.3f} at "
            f"{words.valued(found.axis, _cost(best, found.axis))}, the pipeline {own.iou.value:.3f} at {at}"
        )
    rival = found.router(ENTROPY)
    assert rival.against is not None  # every baseline has one
    said = {
        "better": "The pipeline beats",
        "worse": "The pipeline loses to",
        "not told apart": "The pipeline is not told apart from",
    }[rival.against.verdict]
    spent, others = _cost(own, found.axis), _cost(rival, found.axis)
    if same_cost(others, spent):
        return f"{said} the {ENTROPY} at {at}: IoU {own.iou.value:.3f} against {rival.iou.value:.3f}"
    return (
        f"{said} the {ENTROPY}, which takes {'less' if others < spent else 'more'}: IoU {own.iou.value:.3f} at {at} "
        f"against {rival.iou.value:.3f} at {words.valued(found.axis, others)}"
    )


def said_of_routing(found: Comparison) -> list[str]:
    """In words: how uneven the difficulty is, what is to be gained, whether to route, and what to deploy instead."""
    said = []
    learned = found.router(LEARNED)
    random, oracle = found.router(RANDOM), found.router(ORACLE)
    if found.uneven == 1:
        said.append("Difficulty: no larger model gains anything on any patch.")
    elif found.uneven is not None:
        said.append(
            f"Difficulty: {words.share(found.uneven)} of the patches hold 80 % of all that a larger model could gain"
            + ("; it is spread too evenly for a route to save much." if found.uneven > EVEN else ".")
        )
    for at, chance, best, captured in zip(
        found.budgets, random.iou_at, oracle.iou_at, learned.captured_at or [None] * len(found.budgets), strict=True
    ):
        if chance is None or best is None:
            continue
        said.append(
            f"Within {words.figure(found.axis, at)} the oracle gains {best - chance:+.3f} IoU over random routes"
            + ("." if captured is None else f"; predicted gains capture {words.share(captured)} of it.")
        )
    return said + _said_of_spread(found) + _said_of_static(found)


def _said_of_spread(found: Comparison) -> list[str]:
    """Whether training from another seed gives another pipeline."""
    ratios = [point.iou / point.costs["gflops"] for point in found.router(PIPELINE).front]
    if len(ratios) < 2 or stdev(ratios) < SPREAD * mean(ratios):
        return []
    return [
        f"High variance: IoU/GFLOP of the pipeline runs from {min(ratios):.3g} to {max(ratios):.3g} over "
        f"{len(ratios)} seeds; one seed says little."
    ]


def _said_of_static(found: Comparison) -> list[str]:
    rivals = [one for one in found.routers if one.group == "static"]
    if not rivals:
        return []
    learned, said = found.router(LEARNED), []
    better: list[float] = []
    worse: list[float] = []
    own = found.router(PIPELINE)
    spent = _cost(own, found.axis)
    within_cost = [
        (one, one.against) for one in rivals if one.against and _cost(one, found.axis) <= spent * (1 + EQUAL)
    ]
    for one, versus in within_cost:
        others = _cost(one, found.axis)
        at_less = "" if same_cost(others, spent) else f" at {words.figure(found.axis, others)}"
        said.append(
            f"At the pipeline's {words.figure(found.axis, spent)} it reaches IoU {own.iou.value:.3f}, the {one.name} "
            f"(single UNets on whole images) {one.iou.value:.3f}{at_less}: {difference_text(versus)}."
        )
    verdicts = [versus.verdict for _, versus in within_cost]
    if verdicts and all(one == "better" for one in verdicts):
        better.append(spent)
    if "worse" in verdicts:
        worse.append(spent)
    for place, (at, mine) in enumerate(zip(found.budgets, learned.iou_at, strict=True)):
        within = words.figure(found.axis, at)
        verdicts = []
        for one in rivals:
            difference, iou = one.at_against[place], one.iou_at[place]
            if difference is not None:
                verdicts.append(difference.verdict)
                said.append(
                    f"Within {within} routes reach IoU {mine:.3f}, the {one.name} (single UNets on whole images) "
                    f"{iou:.3f}: {difference_text(difference)}."
                )
            elif iou is not None:
                said.append(
                    f"Within {within} {LEARNED} cannot be run, so nothing is tested there; the {one.name} reaches "
                    f"IoU {iou:.3f}."
                )
            elif mine is not None:
                said.append(f"Within {within} no model of the {one.name} can be run; routes reach IoU {mine:.3f}.")
        if "worse" in verdicts:
            worse.append(at)
        elif verdicts and all(one == "better" for one in verdicts):
            better.append(at)

    def listed(budgets: list[float]) -> str:
        return ", ".join(words.figure(found.axis, one) for one in sorted(budgets))

    if better:
        said.append(f"Routing earns its cost within {listed(better)}{_unless_trained_on(found)}.")
    if worse:
        said.append(f"Within {listed(worse)} a single UNet is better.")
    if not better:
        said.append(
            f"No budget is shown at which a route earns its cost: deploy a single UNet, such as {_best(found)}."
        )
    return said + [_per_gflop(one) for one in found.per_gflop]


def _unless_trained_on(found: Comparison) -> str:
    """What is to be held against a win over single UNets none of which has learnt its task."""
    never: dict[str, list[int]] = {}
    for one in found.routers:
        for point in one.front:
            if point.unlearnt is not None:
                never.setdefault(point.label, []).append(point.unlearnt)
    if not never or not all(map(any, never.values())):
        return ""
    seeds = " from every seed" if len(found.seeds) > 1 else ""
    return (
        f" – against single UNets of which none has learnt all classes{seeds} in its training time: train them "
        "longer, or with the crops of the pipeline, before you trust it"
    )


def _best(found: Comparison) -> str:
    """The single UNet with the best IoU on val among those that cost no more than the dearest budget compared, and
    what it reaches on test; the cheapest where all are dearer. Means over seeds."""
    points = [point for point in found.router(STATIC).front if point.val_iou is not None]
    if not points:
        return "the largest that is fast enough"
    by_label: dict[str, list[FrontPoint]] = {}
    for point in points:
        by_label.setdefault(point.label, []).append(point)
    cost = {label: mean(point.costs[found.axis] for point in points) for label, points in by_label.items()}
    limit = max(*found.budgets, _cost(found.router(PIPELINE), found.axis))
    within, most = [label for label in by_label if cost[label] <= limit], words.valued(found.axis, limit)
    if within:
        label = max(within, key=lambda one: mean(point.val_iou or 0.0 for point in by_label[one]))
        why = f"the best on val within {most}"
    else:
        label = min(by_label, key=lambda one: cost[one])
        why = f"the cheapest, as none keeps within {most}"
    reached = mean(point.iou for point in by_label[label])
    return f"{label}, {why} (IoU {reached:.3f} on test, at {words.valued(found.axis, cost[label])})"


def _per_gflop(one: PerGflop) -> str:
    rival = f"{one.rival} (IoU {one.rival_iou:.3f}, {one.rival_gflops:.3g} GFLOPs)"
    gain = f"{one.gain.value:+.0%} ({one.gain.low:+.0%} … {one.gain.high:+.0%})"
    reached = "the best single UNet of its IoU or more" if one.reached else "the best single UNet, which is below it"
    return (
        f"IoU/GFLOP of {one.router}, {one.operating} (IoU {one.iou:.3f}, {one.gflops:.3g} GFLOPs; chosen on "
        f"{one.chosen}): {gain} over {reached}, {rival}."
    )


def difference_text(difference: Difference) -> str:
    """ "+0.012 (+0.003 … +0.021), p 0.02: better"."""
    return (
        f"{difference.difference:+.3f} ({difference.low:+.3f} … {difference.high:+.3f}), "
        f"p {difference.p_holm:.2g}: {difference.verdict}"
    )


def _cost(one: RouterResult, axis: Axis) -> float:
    known: dict[Axis, float | None] = {
        "gflops": one.gflops,
        "latency": one.latency_s.value,
        "energy": one.energy_j.value,
    }
    value = known[axis]
    assert value is not None  # the axis that is held equal is one the device gives
    return value


def _lead(found: Comparison) -> str:
    return (
        f"Every router with several operating points is run at the pipeline's own mean {words.TITLES[found.axis]}, by "
        "a coin between two neighbours, or as near to it as it comes; single models stand at their own cost. The share "
        "of the oracle's gain is taken at each router's own cost. Difference: the pipeline's IoU less "
        f"the router's, paired over images and seeds ({found.resamples:,} resamples), p adjusted by Holm."
    )


def _table(found: Comparison) -> str:
    budgets = [words.figure(found.axis, at) for at in found.budgets]
    head = [
        "router",
        "IoU",
        "pipeline less this",
        "latency",
        "GFLOPs",
        "GFLOPs, paper's",
        "energy",
        "IoU/GFLOP",
        "IoU/GFLOP, paper's",
    ]
    head += [f"IoU at {at}" for at in budgets] + ["oracle's gain captured", "usage", "run as"]
    rows: list[Sequence[Cell]] = []
    for one in found.routers:
        iou, ratio = one.iou, one.iou_per_gflop
        rows.append(
            [
                one.name,
                (f"{iou.value:.3f} ({iou.low:.3f} … {iou.high:.3f})", iou.value),
                (difference_text(one.against), one.against.difference) if one.against else ("–", None),
                cell("latency", one.latency_s.value),
                cell("gflops", one.gflops),
                cell("gflops", one.gflops_paper),
                cell("energy", one.energy_j.value),
                (f"{ratio.value:.3g} ({ratio.low:.3g} … {ratio.high:.3g})", ratio.value),
                (f"{one.iou_per_gflop_paper:.3g}", one.iou_per_gflop_paper),
                *(cell("iou", value) for value in one.iou_at),
                _captured(one),
                words.usage(one.usage),
                one.operating,
            ]
        )
    return table("routers at the pipeline's cost", head, rows)


def _captured(one: RouterResult) -> Cell:
    if one.captured is None:
        return (f"none: {one.captured_missing}" if one.captured_missing else "–", None)
    return (words.share(one.captured), one.captured)


def cell(name: str, value: float | None) -> Cell:
    return ("–", None) if value is None else (words.figure(name, value), value)
