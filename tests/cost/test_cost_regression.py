"""Costs of unprofiled networks: laws that are known, and the errors that are stated."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from paser_opt.config import Device, UNetConfig
from paser_opt.cost.flops import Counted, count
from paser_opt.cost.regression import Regression
from paser_opt.cost.unprofiled import tell, uncertainty
from paser_opt.cost.workload import Workload
from paser_opt.models import build_unet
from paser_opt.records import Energy, Entry, Latency, Memory, Work

HERE = Device(name="here", local=True)
PROFILED = (2, 4, 6, 8, 12, 16, 24, 32, 48)


@functools.cache
def unet(base: int, depth: int, side: int = 32) -> Workload:
    model = build_unet(UNetConfig(base=base, depth=depth, norm="batch"), seed=0)
    return Workload(f"unet {base} {depth} {side}", model, (torch.zeros(1, 1, side, side),), 1, "unet-batch")


@functools.cache
def counted_of(load: Workload) -> Counted:
    return count(load.module, load.inputs)


def law_s(work: Work) -> float:
    """A device that pads channels to 8, moves 10 G elements a second and needs 20 µs to start a convolution."""
    return work.macs[1] / 50e9 + work.activations[1] / 10e9 + work.convolutions * 20e-6


def entry(load: Workload, *, noise: float = 1.0, joules: float | None = None, how: str = "sampled") -> Entry:
    counted = counted_of(load)
    assert counted.work is not None
    median_s = law_s(counted.work) * noise
    energy = Energy(gross_j=None, net_j=None, how=None, source="none", reason="no meter")
    if joules is not None:
        energy = Energy(gross_j=median_s * joules, net_j=None, how=how, source="a meter")  # type: ignore[arg-type]
    return Entry(
        key=load.key, batch=1, architecture=load.architecture, params=counted.params, macs=counted.macs,
        work=counted.work, energy=energy,
        latency=Latency(median_s=median_s, low_s=median_s, high_s=median_s, samples=9, stable=True, verdict=""),
        memory=Memory(peak_bytes=8 * counted.work.activations[0], weight_bytes=0, how="counted", source="a count"),
    )  # fmt: skip


def profiled(joules: float | None = None, how: str = "sampled") -> dict[str, Entry]:
    loads = [unet(base, depth, side) for base in PROFILED for depth in (1, 2, 3) for side in (32, 64)]
    return {load.key: entry(load, joules=joules, how=how) for load in loads}


def test_work_counts_shapes_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 10, 3, padding=1), nn.Conv2d(10, 4, 1))
    work = count(model, (torch.zeros(2, 3, 6, 5),)).work
    assert work == Work(
        convolutions=2,
        batch=2,
        weights=270 + 40,
        # 60 pixels: 3·10·9 and 10·4; channels to 8: 8·16·9 and 16·8; to 16: 16·16·9 and 16·16
        macs=(60 * (270 + 40), 60 * (1152 + 128), 60 * (2304 + 256)),
        activations=(60 * (3 + 10 + 10 + 4), 60 * (8 + 16 + 16 + 8), 60 * 16 * 4),
    )
    assert count(nn.MaxPool2d(2), (torch.zeros(1, 1, 4, 4),)).work is None


def test_networks_not_seen_are_told_from_the_others() -> None:
    new = [unet(base, depth, side) for base in (10, 20, 40) for depth in (1, 2, 3) for side in (32, 64)]
    told = tell(new, profiled(), within=0.2)
    assert len(told) == len(new)
    for load in new:
        truth, one = entry(load), told[load.key]
        assert one.latency.median_s == pytest.approx(truth.latency.median_s, rel=0.06)
        assert one.latency.low_s < truth.latency.median_s < one.latency.high_s
        assert (one.latency.how, one.latency.samples) == ("predicted", 0)
        assert (one.macs, one.params, one.work) == (truth.macs, truth.params, truth.work)
        assert one.memory.peak_bytes == pytest.approx(truth.memory.peak_bytes, rel=0.06)
        assert (one.energy.gross_j, one.energy.reason) == (None, "no meter")


def test_what_is_not_sure_enough_is_left_to_be_measured() -> None:
    far = unet(128, 4, 64)  # ten times beyond anything profiled
    assert tell([far, unet(20, 2)], profiled(), within=0.1).keys() == {"unet 20 2 32"}
    loose = tell([far], profiled(), within=10)[far.key]
    assert uncertainty(loose.latency) > 0.1


def test_other_architectures_and_too_few_networks_tell_nothing() -> None:
    assert tell([Workload("x", nn.Conv2d(1, 1, 1), (torch.zeros(1, 1, 4, 4),), 1, "other")], profiled(), within=1) == {}
    few = {load.key: entry(load) for load in (unet(base, 1) for base in PROFILED[:7])}
    assert tell([unet(20, 1)], few, within=1) == {}
    predicted = {
        key: one.model_copy(update={"latency": one.latency.model_copy(update={"how": "predicted"})})
        for key, one in profiled().items()
    }
    assert tell([unet(20, 1)], predicted, within=1) == {}  # a prediction is no evidence


@pytest.mark.parametrize(("how", "told_how"), [("sampled", "predicted"), ("estimated", "estimated")])
def test_energy_keeps_its_origin(how: str, told_how: str) -> None:
    energy = tell([unet(20, 2)], profiled(joules=5.0, how=how), within=0.2)["unet 20 2 32"].energy
    assert energy.how == told_how
    assert energy.gross_j == pytest.approx(5.0 * entry(unet(20, 2)).latency.median_s, rel=0.06)


def test_an_error_without_bounds_is_stated_as_a_wide_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Regression.__call__
    monkeypatch.setattr(Regression, "__call__", lambda self, works: (told(self, works)[0], np.full(len(works), 1e3)))
    assert tell([unet(20, 2)], profiled(), within=0.2) == {}
    [one] = tell([unet(20, 2)], profiled(), within=float("inf")).values()
    assert one.latency.high_s / one.latency.low_s == pytest.approx(np.exp(60))


def test_the_stated_error_grows_with_the_noise() -> None:
    """The errors of networks left out are the errors that are stated, and cover 95 % of what comes."""
    draw = np.random.default_rng(0)
    loads = [unet(base, depth, side) for base in PROFILED for depth in (1, 2, 3) for side in (32, 64)]
    works = [counted_of(load).work for load in loads]
    costs = [law_s(work) for work in works if work]
    quiet = Regression([work for work in works if work], costs)
    loud = Regression([work for work in works if work], [cost * np.exp(draw.normal(0, 0.08)) for cost in costs])
    asked = [one for one in (counted_of(load).work for load in (unet(20, 2), unet(40, 3))) if one]
    assert (loud(asked)[1] > 2 * quiet(asked)[1]).all()
    assert 0.05 < np.abs(loud.left_out).mean() < 0.15
    assert np.abs(quiet.left_out).mean() < 0.04


def test_too_few_networks() -> None:
    work = count(nn.Conv2d(1, 1, 1), (torch.zeros(1, 1, 4, 4),)).work
    assert work is not None
    with pytest.raises(ValueError, match="1 networks; 8 are needed"):
        Regression([work, work], [1.0, 1.0])
