"""From the operating points of every router in every seed to what is said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..evaluate import never_predicted, resampled_iou
from ..records import Quantity
from .curves import Points, at_budget, hypervolume
from .records import AXES, Axis, Difference, FrontPoint, Group, PerGflop, RouterResult, same_cost
from .statistics import Resamples, Statistic, compared, estimated, value

__all__ = ["Box", "Lane", "box", "budgets", "cost_of", "iou_of", "per_gflop", "results", "unevenness"]


@dataclass(frozen=True)
class Lane:
    """One router in one seed: its operating points on test, and which of them val keeps for mixing, axis by axis."""

    group: Group
    test: Points
    kept: Mapping[Axis, Sequence[int]]
    val: Points | None = None
    """the same operating points on val, where it has been routed"""

    def at(self, axis: Axis, budget: float) -> Points | None:
        """What it is at a mean cost of ``budget``; None where it cannot be that cheap."""
        mix = at_budget(self.test.cost(axis), self.kept[axis], budget)
        return self.test.mixed(mix) if mix else None

    def cheapest(self, axis: Axis) -> Points:
        cost = self.test.cost(axis)[list(self.kept[axis])]
        return self.test.mixed(at_budget(self.test.cost(axis), self.kept[axis], cost.min().item()))  # type: ignore[arg-type]

    def front(self, axis: Axis) -> Points:
        """What the points that val keeps reach, mixes included."""
        return self.test.along(self.kept[axis], axis)


Seeds = Sequence[Mapping[str, Lane]]
"""Of each seed: router → lane; every seed has the same routers."""


@dataclass(frozen=True)
class Box:
    """Reference and ideal point of hypervolume on one axis: (IoU, cost)."""

    reference: tuple[float, float]
    ideal: tuple[float, float]


def box(seeds: Seeds, axis: Axis) -> Box:
    """From the worst IoU and the dearest cost of any router to the best IoU and the cheapest cost of all.

    Single UNets do not lower the reference: one that has failed would make every front look large.
    """
    lanes = [lane for lanes in seeds for lane in lanes.values()]
    iou = torch.cat([lane.test.iou() for lane in lanes if lane.group != "static"])
    routed = torch.cat([lane.test.cost(axis) for lane in lanes if lane.group not in ("single model", "static")])
    best = max(lane.test.iou().max().item() for lane in lanes)
    cheapest = min(lane.test.cost(axis).min().item() for lane in lanes)
    return Box((iou.min().item(), routed.max().item()), (best, cheapest))


def budgets(seeds: Seeds, axis: Axis, *, random: str, oracle: str) -> list[float]:
    """A quarter, half and three quarters of the way from the cheapest random route to the dearest that oracle takes."""
    low = sum(lanes[random].test.cost(axis).min().item() for lanes in seeds) / len(seeds)
    high = sum(lanes[oracle].front(axis).cost(axis).max().item() for lanes in seeds) / len(seeds)
    return [low + part * (high - low) for part in (0.25, 0.5, 0.75)]


def unevenness(gain: Tensor) -> float:
    """Smallest share of patches with 80 % of all that the best choice gains over f_0; gain (N, P, M).

    1 where nothing is gained: there is no patch to begin with.
    """
    best = gain.amax(dim=-1).clamp_min(0).flatten().double().sort(descending=True).values
    if not best.sum() > 0:
        return 1.0
    return (int((best.cumsum(dim=0) < 0.8 * best.sum()).sum()) + 1) / len(best)


def results(
    seeds: Seeds,
    axis: Axis,
    spent: Sequence[float],
    boxes: Mapping[Axis, Box],
    resamples: Resamples,
    *,
    pipeline: str,
    learned: str,
    random: str,
    oracle: str,
    energy: Quantity,
) -> list[RouterResult]:
    """Every router against ``pipeline`` at the pipeline's cost; its front, and its IoU at budgets, against ``learned``.

    ``spent``: the budgets of budgets(). ``random`` and ``oracle`` name the lanes that the share captured is taken
    between. ``energy``: origin of the joules, or why there are none.
    """
    images = [lanes[pipeline].test.matrices.shape[1] for lanes in seeds]
    own = [lanes[pipeline].test.cost(axis)[0].item() for lanes in seeds]
    found: dict[str, RouterResult] = {}
    spending: dict[str, list[float]] = {}
    iou_draws: dict[str, Tensor] = {}
    volume_draws: dict[str, dict[Axis, Tensor]] = {}
    for name in seeds[0]:
        lanes = [each[name] for each in seeds]
        met = [lane.at(axis, budget) for lane, budget in zip(lanes, own, strict=True)]
        shown = [point or lane.cheapest(axis) for point, lane in zip(met, lanes, strict=True)]
        spending[name] = [one.cost(axis)[0].item() for one in shown]
        iou, ratio = [iou_of(one) for one in shown], [_iou_per_gflop(one) for one in shown]
        iou_draws[name] = resamples.values(iou)
        volumes = {each: [_volume(lane.front(each), each, edge) for lane in lanes] for each, edge in boxes.items()}
        volume_draws[name] = {each: resamples.values(of_seed) for each, of_seed in volumes.items()}
        usage = torch.stack([one.usage[0] for one in shown]).mean(dim=0)
        gflops, latency_s = (_mean(shown, each) for each in ("gflops", "latency"))
        joules = _mean(shown, "energy") if "energy" in shown[0].costs else None
        macs_paper = sum(one.macs_paper.double().mean().item() for one in shown) / len(shown)
        iou_value = value(iou, images)
        found[name] = RouterResult(
            name=name,
            group=lanes[0].group,
            operating=shown[0].labels[0],
            equal_cost=same_cost(_mean(shown, axis), sum(own) / len(own)),
            iou=estimated(iou_value, iou_draws[name]),
            gflops=gflops,
            gflops_paper=macs_paper / 1e9,
            latency_s=Quantity(value=latency_s, how="predicted", source="sum of the profile's medians"),
            energy_j=energy.model_copy(update={"value": joules}),
            usage=usage.tolist(),
            iou_per_gflop=estimated(value(ratio, images), resamples.values(ratio)),
            iou_per_gflop_paper=iou_value / (macs_paper / 1e9),
            iou_at=[_iou_at(lanes, axis, budget) for budget in spent],
            hypervolume={
                each: estimated(value(of_seed, images), volume_draws[name][each]) for each, of_seed in volumes.items()
            },
            front=[point for seed, lane in enumerate(lanes) for point in _front(lane, seed, axis)],
        )
    baselines = [name for name, one in found.items() if name != pipeline and one.group != "oracle"]
    several = [name for name, one in found.items() if _has_several(one)]
    against = compared(
        {
            name: (found[pipeline].iou.value - found[name].iou.value, iou_draws[pipeline] - iou_draws[name])
            for name in baselines
        }
    )
    # Oracles are no rivals, so they are no part of a family of tests.
    meeting = [name for name in found if name == learned or (name in baselines and _meets_budgets(found[name]))]
    at = _budget_differences(
        {name: [lanes[name] for lanes in seeds] for name in meeting},
        spent,
        resamples,
        learned,
        axis,
    )
    fronts = _front_differences(
        found, volume_draws, learned, [name for name in several if name != learned and name in baselines]
    )
    for name, one in found.items():
        one.against = against.get(name)
        one.front_against = fronts.get(name, {})
        one.at_against = at.get(name, [])
        if one.group == "static":
            continue  # no route: there is no share of the oracle's
        if name == pipeline or name in several:
            chance, best = ([lanes[other] for lanes in seeds] for other in (random, oracle))
            one.captured, one.captured_missing = _captured_there(one.iou.value, spending[name], chance, best, axis)
        if name in several:
            ends = zip(one.iou_at, found[random].iou_at, found[oracle].iou_at, strict=True)
            one.captured_at = [_captured(*each) for each in ends]
    return list(found.values())


def _has_several(one: RouterResult) -> bool:
    """Operating points, to mix."""
    return len({point.label for point in one.front}) > 1


def _meets_budgets(one: RouterResult) -> bool:
    """Several operating points, or single UNets, however few."""
    return one.group == "static" or _has_several(one)


def _front_differences(
    found: Mapping[str, RouterResult],
    draws: Mapping[str, Mapping[Axis, Tensor]],
    learned: str,
    baselines: Sequence[str],
) -> dict[str, dict[Axis, Difference]]:
    by_name: dict[str, dict[Axis, Difference]] = {name: {} for name in baselines}
    for axis in AXES:
        if axis not in draws[learned]:
            continue
        mine = found[learned].hypervolume[axis].value
        differences = compared(
            {
                name: (mine - found[name].hypervolume[axis].value, draws[learned][axis] - draws[name][axis])
                for name in baselines
            }
        )
        for name, difference in differences.items():
            by_name[name][axis] = difference
    return by_name


def _budget_differences(
    lanes: Mapping[str, Sequence[Lane]], spent: Sequence[float], resamples: Resamples, learned: str, axis: Axis
) -> dict[str, list[Difference | None]]:
    """Router → at each budget the IoU of ``learned`` less its own, Holm over routers and budgets; None where either
    cannot be that cheap."""
    images = [lane.test.matrices.shape[1] for lane in lanes[learned]]
    differences: dict[str, tuple[float, Tensor]] = {}
    for place, budget in enumerate(spent):
        met = {name: [lane.at(axis, budget) for lane in of_seed] for name, of_seed in lanes.items()}
        whole = {name: [iou_of(one) for one in points if one] for name, points in met.items() if None not in points}
        drawn = {name: (value(of_seed, images), resamples.values(of_seed)) for name, of_seed in whole.items()}
        mine = drawn.pop(learned, None)
        if mine:
            differences |= {f"{place} {name}": (mine[0] - one[0], mine[1] - one[1]) for name, one in drawn.items()}
    found = compared(differences)
    places = range(len(spent))
    return {name: [found.get(f"{place} {name}") for place in places] for name in lanes if name != learned}


def per_gflop(seeds: Seeds, resamples: Resamples, *, pipeline: str, learned: str, static: str) -> list[PerGflop]:
    """Of the pipeline, and of that point of ``learned`` which gains most on val, over the best UNet of ``static``.

    All figures are of test, the rival the best there: means over seeds; points and sizes are matched by their place.
    """
    images = [lanes[pipeline].test.matrices.shape[1] for lanes in seeds]
    rivals = [lanes[static].test for lanes in seeds]
    rival_iou, rival_gflops = _figures(rivals)

    def against(name: str, place: int) -> PerGflop:
        points = [lanes[name].test for lanes in seeds]
        iou, gflops = (one[place].item() for one in _figures(points))
        rival, reached = _best_of(rival_iou, rival_gflops, iou)
        mine, other = (
            [_iou_per_gflop(one.at(i)) for one in of_seed] for of_seed, i in ((points, place), (rivals, rival))
        )
        gain = value(mine, images) / value(other, images) - 1
        return PerGflop(
            router=name,
            operating=points[0].labels[place],
            iou=iou,
            gflops=gflops,
            rival=rivals[0].labels[rival],
            rival_iou=rival_iou[rival].item(),
            rival_gflops=rival_gflops[rival].item(),
            reached=reached,
            gain=estimated(gain, resamples.values(mine) / resamples.values(other) - 1),
        )

    routed = [i for i in range(len(seeds[0][learned].test.labels)) if _sends_on(_on_val(seeds, learned), i)]
    found = [against(pipeline, 0)]
    if routed:
        (iou, gflops), (iou_static, gflops_static) = (_figures(_on_val(seeds, one)) for one in (learned, static))

        def gain_on_val(place: int) -> float:
            rival, _ = _best_of(iou_static, gflops_static, iou[place].item())
            return (iou[place] / gflops[place] / (iou_static[rival] / gflops_static[rival])).item()

        found.append(against(learned, max(routed, key=gain_on_val)))
    return found


def _best_of(iou: Tensor, gflops: Tensor, least: float) -> tuple[int, bool]:
    """Place of the best IoU/GFLOP among those that reach the IoU ``least``; where none does, of the highest; which."""
    reaching = [i for i in range(len(iou)) if iou[i] >= least]
    return max(reaching or [int(iou.argmax())], key=lambda i: (iou[i] / gflops[i]).item()), bool(reaching)


def _on_val(seeds: Seeds, name: str) -> list[Points]:
    return [val for lanes in seeds if (val := lanes[name].val) is not None]


def _figures(points: Sequence[Points]) -> tuple[Tensor, Tensor]:
    """IoU and GFLOPs of each operating point (L,), means over seeds."""
    each = [torch.stack([one.iou(), one.cost("gflops")]) for one in points]
    iou, gflops = torch.stack(each).mean(dim=0)
    return iou, gflops


def _sends_on(points: Sequence[Points], place: int) -> bool:
    """Whether one patch in a hundred does not stay with f_0."""
    return sum(1 - one.usage[place, 0].item() for one in points) / len(points) >= 0.01


def iou_of(point: Points) -> Statistic:
    """Data-set IoU of one operating point."""
    return lambda weight: resampled_iou(weight, point.matrices[0])


def cost_of(point: Points, axis: Axis) -> Statistic:
    """Mean cost of an image at one operating point."""
    cost = point.costs[axis][0].double()
    return lambda weight: weight @ cost / weight.sum(dim=1)


def _iou_per_gflop(point: Points) -> Statistic:
    """IoU over the mean GFLOPs, full convention: a ratio of means."""
    iou, gflops = iou_of(point), cost_of(point, "gflops")
    return lambda weight: iou(weight) / gflops(weight)


def _volume(front: Points, axis: Axis, edge: Box) -> Statistic:
    return lambda weight: hypervolume(front, axis, weight, edge.reference, edge.ideal)


def _mean(points: Sequence[Points], axis: Axis) -> float:
    return sum(one.cost(axis)[0].item() for one in points) / len(points)


def _iou_at(lanes: Sequence[Lane], axis: Axis, budget: float) -> float | None:
    met = [lane.at(axis, budget) for lane in lanes]
    reached = [one.iou()[0].item() for one in met if one]
    return sum(reached) / len(reached) if len(reached) == len(met) else None


def _is_beside(lane: Lane, place: int) -> bool:
    """Whether the point is a single UNet that is none of the pipeline's own."""
    return lane.group == "static" and not lane.test.usage[place].any()


def _captured_there(
    iou: float, spending: Sequence[float], random: Sequence[Lane], oracle: Sequence[Lane], axis: Axis
) -> tuple[float | None, str | None]:
    """Share of the oracle's gain over random routes that ``iou`` is, each seed's at the cost ``spending``; or why none.

    The oracle need not spend it all: where it spends less, no route that it knows earns more.
    """
    chance, best = (
        [lane.at(axis, cost) for lane, cost in zip(lanes, spending, strict=True)] for lanes in (random, oracle)
    )
    for who, points in (("random routes", chance), ("the oracle", best)):
        if None in points:
            return None, f"{who} cannot be that cheap"
    there = [one for one in chance if one]
    if not same_cost(_mean(there, axis), sum(spending) / len(spending)):
        return None, "random routes end at a lower cost"
    low, high = (sum(one.iou()[0].item() for one in points if one) / len(spending) for points in (chance, best))
    share = _captured(iou, low, high)
    return share, None if share is not None else "the oracle gains nothing over random routes"


def _captured(iou: float | None, random: float | None, oracle: float | None) -> float | None:
    """(IoU − IoU_random) / (IoU_oracle − IoU_random); None where a side is missing or nothing can be gained."""
    if iou is None or random is None or oracle is None or oracle <= random:
        return None
    return (iou - random) / (oracle - random)


def _front(lane: Lane, seed: int, axis: Axis) -> list[FrontPoint]:
    iou, costs = lane.test.iou(), {name: lane.test.cost(name) for name in lane.test.costs}
    val_iou = lane.val.iou().tolist() if lane.val else None
    return [
        FrontPoint(
            seed=seed,
            label=label,
            iou=iou[i].item(),
            costs={name: cost[i].item() for name, cost in costs.items()},
            kept=i in lane.kept[axis],
            val_iou=val_iou[i] if val_iou else None,
            unlearnt=never_predicted(lane.test.matrices[i]) if _is_beside(lane, i) else None,
        )
        for i, label in enumerate(lane.test.labels)
    ]
