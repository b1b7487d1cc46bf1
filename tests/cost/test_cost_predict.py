"""Curves and composed costs, all worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from paser_opt.cost import Workload, pace_now, pace_probes
from paser_opt.cost.curve import Curve
from paser_opt.cost.predict import RoutePlan, alone, cost_per_patch, least, predict
from paser_opt.errors import DeviceError
from paser_opt.records import Energy, Entry, Latency, Memory


def entry(
    key: str,
    median_s: float,
    *,
    half: float = 0.0,
    macs: int = 0,
    params: int = 0,
    joules: float | None = None,
    how: str = "counter",
    peak: int | None = 0,
    weights: int = 0,
) -> Entry:
    known = joules is not None
    return Entry(
        key=key,
        batch=1,
        params=params,
        macs=macs,
        latency=Latency(
            median_s=median_s,
            low_s=median_s - half,
            high_s=median_s + 2 * half,
            samples=9,
            stable=True,
            verdict="ok",
        ),
        energy=Energy(
            gross_j=joules,
            net_j=None,
            how=how if known else None,
            source="meter",
            reason=None if known else "no meter",
        ),
        memory=Memory(
            peak_bytes=peak,
            weight_bytes=weights,
            how="counted",
            source="test",
            reason="no peak" if peak is None else None,
        ),
    )


PLAN = RoutePlan(
    screen="screen5",
    screen_once="screen",
    policy="policy",
    models=({1: "one@1", 4: "one@4"}, {1: "two@1", 2: "two@2", 4: "two@4"}),
)


def entries(**changes: Entry) -> dict[str, Entry]:
    known = [
        entry("screen5", 0.050, half=0.003, macs=500, params=10, joules=5.0, peak=700, weights=40),
        entry("screen", 0.010, macs=100, params=10, joules=1.0, peak=200, weights=40),
        entry("policy", 0.004, half=0.004, macs=20, params=5, joules=0.5, peak=100, weights=20),
        entry("one@1", 0.010, macs=300, params=100, joules=1.0, peak=1000, weights=400),
        entry("one@4", 0.022, macs=1200, params=100, joules=2.5, peak=4000, weights=400),
        entry("two@1", 0.100, macs=1000, params=890, joules=10.0, peak=2000, weights=3560),
        entry("two@2", 0.150, macs=2000, params=890, joules=14.0, peak=2500, weights=3560),
        entry("two@4", 0.250, macs=4000, params=890, joules=20.0, peak=3000, weights=3560),
    ]
    return {item.key: item for item in known} | changes


def test_curve_is_exact_at_points_zero_at_zero_and_straight_between() -> None:
    curve = Curve({1: 8.0, 4: 20.0, 16: 73.0})
    assert curve(np.array([[0, 1], [4, 16]])).tolist() == [[0.0, 8.0], [20.0, 73.0]]
    assert curve(np.array([2, 10])).tolist() == [12.0, 46.5]
    assert Curve({4: 20.0})(np.array([1])).tolist() == [5.0]


def test_curve_refuses_to_go_beyond_what_was_measured() -> None:
    with pytest.raises(ValueError, match="5 patches, but the profile was measured up to 4"):
        Curve({4: 1.0})(np.array([1, 5]))


def test_predict_sums_the_steps_over_images() -> None:
    # two images of four patches: (2 to f_1, 1 to f_2) and (0, 3)
    cost = predict(entries(), PLAN, np.array([[1, 2, 1], [1, 0, 3]]))
    f_1 = (0.014 + 0) / 2  # 10 ms + 1/3 of 12 ms
    f_2 = (0.100 + 0.200) / 2
    assert cost.parts_s == pytest.approx({"screen": 0.05, "policy": 0.004, "f_1": f_1, "f_2": f_2})
    assert cost.latency_s.value == pytest.approx(0.054 + f_1 + f_2)
    assert cost.latency_s.how == "predicted"
    # half-widths 3 and 4 ms below, 6 and 8 above, in quadrature: 5 and 10
    assert cost.latency_s.low == pytest.approx(cost.latency_s.value - 0.005)
    assert cost.latency_s.high == pytest.approx(cost.latency_s.value + 0.010)
    assert cost.macs == pytest.approx(500 + 20 + (600 + 0) / 2 + (1000 + 3000) / 2)
    assert cost.paper_macs == pytest.approx(100 + 300 + 2000)
    assert cost.energy_j.value == pytest.approx(5 + 0.5 + (1.5 + 0) / 2 + (10 + 17) / 2)
    assert cost.energy_j.how == "predicted"
    # f_2 on three patches has the largest peak, 2750; every weight once, screen_once being f_0 again
    assert cost.memory_bytes.value == 2750 + 40 + 20 + 400 + 3560


def test_energy_is_estimated_if_any_part_is_and_missing_if_any_part_is() -> None:
    counts = np.array([[2, 1, 1]])
    guessed = entries(policy=entry("policy", 0.004, joules=0.5, how="estimated"))
    assert predict(guessed, PLAN, counts).energy_j.how == "estimated"
    missing = predict(entries(policy=entry("policy", 0.004)), PLAN, counts).energy_j
    assert (missing.value, missing.reason) == (None, "policy: no meter")


def test_unstable_parts_are_named() -> None:
    shaky = entries()["policy"].latency.model_copy(update={"stable": False})
    known = entries(policy=entries()["policy"].model_copy(update={"latency": shaky}))
    assert predict(known, PLAN, np.array([[4, 0, 0]])).latency_s.source.endswith("; not stable: policy")


def test_memory_is_missing_with_its_reason() -> None:
    cost = predict(entries(policy=entry("policy", 0.004, peak=None)), PLAN, np.array([[4, 0, 0]]))
    assert (cost.memory_bytes.value, cost.memory_bytes.reason) == (None, "policy: no peak")


def test_alone() -> None:
    screen = alone(entries(), PLAN, 0, 4)
    assert screen.latency_s.value == pytest.approx(0.010)
    assert (screen.macs, screen.paper_macs, screen.memory_bytes.value) == (100, 100, 240)
    large = alone(entries(), PLAN, 2, 4)
    assert large.latency_s.value == pytest.approx(0.250)
    assert (large.macs, large.paper_macs, large.memory_bytes.value) == (4000, 4000, 3000 + 3560)


def test_a_model_that_sees_the_screen_is_charged_for_it() -> None:
    large = alone(entries(), replace(PLAN, context=True), 2, 4)
    assert large.parts_s == pytest.approx({"screen": 0.05, "f_2": 0.25})
    assert (large.macs, large.paper_macs) == (500 + 4000, 100 + 4000)


def test_least_is_the_route_that_keeps_every_patch_at_f_0() -> None:
    assert least(entries(), PLAN) == predict(entries(), PLAN, np.array([[4, 0, 0]]))
    assert least(entries(), PLAN).latency_s.value == pytest.approx(0.054)


@pytest.mark.parametrize(
    ("kind", "costs"),
    [
        ("params", [10, 100, 890]),
        ("flops", [100, 1200, 4000]),
        ("latency", [10, 22, 250]),
        ("energy", [1, 2.5, 20]),
        ("memory", [240, 4400, 6560]),
    ],
)
def test_cost_per_patch_sums_to_one(kind: str, costs: list[float]) -> None:
    share = cost_per_patch(entries(), PLAN, kind, 4)  # type: ignore[arg-type]
    assert share == pytest.approx([cost / sum(costs) for cost in costs])


def test_cost_per_patch_names_what_is_missing() -> None:
    lacking = entries(screen=entry("screen", 0.01))
    with pytest.raises(DeviceError, match="energy of screen is missing \\(no meter\\): choose reward_cost"):
        cost_per_patch(lacking, PLAN, "energy", 4)


def test_pace_is_the_median_ratio_of_networks_timed_again() -> None:
    names = [*"dacb", "told", "policy"]
    entries = {name: entry(name, seconds) for name, seconds in zip(names, (4.0, 1.0, 3.0, 2.0, 9.0, 0.1), strict=True)}
    told = entries["told"]
    entries["told"] = told.model_copy(update={"latency": told.latency.model_copy(update={"how": "predicted"})})
    steps = [Workload(name, nn.Identity(), (), 1, "" if name == "policy" else "unet") for name in names]
    probes = pace_probes(steps, entries)
    assert [one.key for one in probes] == ["b", "c", "d"]  # of a, b, c, d, the fastest left out
    assert pace_now(probes, [2.2, 3.0, 6.0], entries) == pytest.approx(1.1)  # of 1.1, 1 and 1.5
    assert pace_probes(steps[-2:], entries) == [] and pace_now([], [], entries) is None
