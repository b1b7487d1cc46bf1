"""Costs of images by hand, and what becomes of an axis that some step lacks."""

from __future__ import annotations

import pytest
import torch

from paser_opt.compare.costs import CostTable
from paser_opt.compare.curves import Points
from paser_opt.compare.outcome import Lane
from paser_opt.cost import RoutePlan
from paser_opt.records import Energy, Entry, Latency, Memory
from paser_opt.search.lanes import on_shared_axes

STEPS = {"screen": 1, "once": 1, "policy": 2, "decide": 3, "f1 n1": 10, "f1 n2": 20}
"""Seconds; as many MACs, and ten times as many joules."""


def entry(key: str, *, energy: bool) -> Entry:
    s, n = float(STEPS[key]), 2 if key.endswith("n2") else 1
    joules, reason = (10 * s, None) if energy else (None, "it did not move")
    return Entry(
        key=key, batch=n, params=1, macs=STEPS[key],
        latency=Latency(median_s=s, low_s=s, high_s=s, samples=9, stable=True, verdict=""),
        energy=Energy(gross_j=joules, net_j=None, how="counter", source="a meter", reason=reason),
        memory=Memory(peak_bytes=1, weight_bytes=1, how="counted", source="a count"),
    )  # fmt: skip


def table(*lacking: str) -> CostTable:
    entries = {key: entry(key, energy=key not in lacking) for key in STEPS}
    plan = RoutePlan("screen", "once", "policy", ({1: "f1 n1", 2: "f1 n2"},))
    return CostTable(entries, plan, 2)


SENT = torch.tensor([[2, 0], [1, 1]])
"""Two images of two patches: none sent on; one."""


def test_an_image_costs_its_steps_and_the_patches_it_sends_on():
    costs, macs_paper = table().images(SENT, "decide")
    assert costs["latency"].tolist() == pytest.approx([1 + 3, 1 + 3 + 10])
    assert costs["energy"].tolist() == pytest.approx([40, 140])
    assert costs["gflops"].tolist() == pytest.approx([2 * 4e-9, 2 * 14e-9])
    assert macs_paper.tolist() == pytest.approx([1, 11])


@pytest.mark.parametrize("lacking", ["decide", "policy", "f1 n2", "screen"])
def test_energy_that_any_step_lacks_is_left_out(lacking):
    costs, _ = table(lacking).images(SENT, "decide")
    assert set(costs) == {"gflops", "latency"}
    assert costs["latency"].tolist() == pytest.approx([4, 14])
    if lacking == "decide":
        assert set(table(lacking).images(SENT, "policy")[0]) == {"gflops", "latency", "energy"}


def points(label: str, **costs: float) -> Points:
    """One point on one image."""
    axes = {axis: torch.tensor([[cost]]) for axis, cost in costs.items()}
    return Points(torch.ones(1, 1, 2, 2), axes, torch.ones(1, 1), torch.ones(1, 2), (label,))


def test_points_are_joined_on_the_axes_that_all_have():
    known, lacking = points("f_0", latency=1.0, energy=2.0), points("f_1", latency=3.0)
    for parts, latency in (([known, lacking], [[1.0], [3.0]]), ([lacking, known], [[3.0], [1.0]])):
        joined = Points.joined(parts)
        assert {axis: cost.tolist() for axis, cost in joined.costs.items()} == {"latency": latency}


def test_all_lanes_stand_on_the_axes_that_every_one_has():
    def lane(point: Points) -> Lane:
        return Lane("rule", point, {axis: [0] for axis in point.costs}, point)

    whole = lane(points("a", gflops=1.0, latency=2.0, energy=3.0))
    lacking = lane(points("b", gflops=4.0, latency=5.0))
    same, names = on_shared_axes([{"a": whole}, {"a": whole}])
    assert same == [{"a": whole}, {"a": whole}] and names == []
    found, names = on_shared_axes([{"a": whole, "b": whole}, {"a": whole, "b": lacking}])
    assert names == ["b"]
    for one in (one for lanes in found for one in lanes.values()):
        assert one.val is not None
        assert set(one.test.costs) == set(one.val.costs) == set(one.kept) == {"gflops", "latency"}
    assert found[0]["a"].test.cost("latency").item() == 2 and found[1]["b"].test.cost("latency").item() == 5
