"""Predicted beside measured: the figures by hand or by scipy, and whole routes run for real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from paser_opt.config import Device, PipelineConfig, UNetConfig
from paser_opt.cost import LocalBench, open_profile, predict
from paser_opt.cost import local as local_module
from paser_opt.progress import Silent
from paser_opt.records import Cost, Evaluation, Latency, Quantity, RoutePair, TrialRecord
from paser_opt.routing import workloads
from paser_opt.validate import Subject, agreement, mixes, subjects, validate

SIZES = tuple(UNetConfig(base=base, depth=1, norm="batch") for base in (2, 4, 8))


def pair(predicted_s: float, measured_s: float, macs: float, params: float) -> RoutePair:
    return RoutePair(
        pipeline="p", route="r", counts=[4, 0], predicted=Quantity(value=predicted_s, how="predicted"),
        measured=Latency(median_s=measured_s, low_s=measured_s, high_s=measured_s, samples=9, stable=True, verdict=""),
        macs=macs, params=params, unprofiled=False,
    )  # fmt: skip


def test_agreement_by_hand() -> None:
    pairs = [pair(1.0, 1.0, 10, 7), pair(2.18, 2.0, 30, 7), pair(4.36, 4.0, 20, 1), pair(5.0, 8.0, 80, 9)]
    model, flops, params = agreement(pairs)
    assert model.mape == pytest.approx((0 + 0.09 + 0.09 + 0.375) / 4)
    assert model.bias == pytest.approx((0 + 0.09 + 0.09 - 0.375) / 4)
    assert model.within_10 == pytest.approx(0.75)
    assert model.spearman == pytest.approx(1)
    # seconds per MAC: 0.1, 0.0667, 0.2, 0.1: median 0.1, so 1, 3, 2 and 8 s are told
    assert flops.mape == pytest.approx((0 + 0.5 + 0.5 + 0) / 4)
    measured = [one.measured.median_s for one in pairs]
    assert flops.spearman == pytest.approx(spearmanr([10, 30, 20, 80], measured).statistic)
    assert params.spearman == pytest.approx(spearmanr([7, 7, 1, 9], measured).statistic)  # a tie


def test_pace_scales_the_prediction() -> None:
    routes = [pair(1.0, 2.0, 1, 1), pair(3.0, 3.3, 2, 2)]
    _, paced, *_ = agreement(
        [one.model_copy(update={"pace": pace}) for one, pace in zip(routes, (2.0, 1.1), strict=True)]
    )
    assert paced.mape == pytest.approx(0) and paced.within_10 == 1


def test_one_pair_has_no_rank() -> None:
    assert [one.spearman for one in agreement([pair(1, 1, 1, 1)])] == [None] * 3


def test_mixes_by_hand() -> None:
    three = PipelineConfig(models=SIZES, grid=(4, 4))
    assert mixes(three) == {
        "all kept": (16, 0, 0),
        "a quarter sent on": (12, 2, 2),
        "half sent on": (8, 4, 4),
        "all to the largest": (0, 0, 16),
    }
    assert mixes(three, [0.5, 0.3, 0.2])["its own usage"] == (8, 5, 3)
    single = PipelineConfig(models=SIZES[:2], grid=(1, 1))
    assert sorted(mixes(single).values()) == [(0, 1), (1, 0)]  # routes that are the same are run once
    for usage in ([0.01, 0.495, 0.495], [1, 0, 0], [0, 0.5, 0.5]):
        assert {sum(one) for one in mixes(PipelineConfig(models=SIZES, grid=(1, 3)), usage).values()} == {3}


def trial(number: int, latency_s: float, **config: object) -> TrialRecord:
    missing = Quantity(value=None, how="predicted", reason="none")
    cost = Cost(macs=1, paper_macs=1, latency_s=Quantity(value=latency_s, how="predicted"), energy_j=missing,
                memory_bytes=missing)  # fmt: skip
    evaluation = Evaluation(split="val", images=1, iou=0.5, iou_low=0.4, iou_high=0.6, image_iou=0.5, class_iou=[],
                            per_image=[], usage=[0.5, 0.25, 0.25], cost=cost)  # fmt: skip
    return TrialRecord(number=number, state="complete", params={}, started="", seconds=0, clock_s=0, val=evaluation,
                       pipeline=PipelineConfig(models=SIZES, **config))  # type: ignore[arg-type]  # fmt: skip


def test_subjects_are_different_families_from_fast_to_slow() -> None:
    trials = [
        trial(0, 0.3, mc_samples=5),
        trial(1, 0.1),
        trial(2, 0.1, cost_weight=0.9),  # λ does not change what it takes to run
        trial(3, 0.2, mc_samples=1),
        trial(4, 0.5, grid=(2, 2)),
        trial(5, 0.4, halo=2).model_copy(update={"state": "pruned"}),
    ]
    assert [one.name for one in subjects(trials, 9)] == ["trial 1", "trial 3", "trial 0", "trial 4"]
    assert [one.name for one in subjects(trials, 2)] == ["trial 1", "trial 4"]
    assert subjects([], 3) == []


def test_whole_routes_are_run_and_priced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module, "EFFORT", local_module.EFFORT._replace(min_samples=6, max_samples=6))
    config = PipelineConfig(models=SIZES, grid=(2, 2))
    subject = Subject("mine", config, {"half": (2, 1, 1), "kept": (4, 0, 0)})
    store = open_profile(tmp_path / "p.json", LocalBench(Device(name="here", local=True, threads=1)))
    result = validate([subject], store, height=32, width=32, within=0, progress=Silent())
    assert [(one.pipeline, one.route, one.counts) for one in result.pairs] == [
        ("mine", "half", [2, 1, 1]),
        ("mine", "kept", [4, 0, 0]),
    ]
    half, kept = result.pairs
    assert half.measured.how == "measured" and half.measured.samples > 0
    _, plan = workloads(config, height=32, width=32, device=torch.device("cpu"))
    entries = store.profile.entries
    assert half.predicted == predict(entries, plan, np.array([[2, 1, 1]])).latency_s
    f_0, f_1, f_2 = (entries[key].params for key in (plan.screen_once, plan.models[0][1], plan.models[1][1]))
    assert half.params == f_0 + f_1 / 4 + f_2 / 4
    assert (kept.params, kept.unprofiled) == (f_0, False)
    assert half.pace == kept.pace and half.pace is not None and half.pace > 0
    assert half.macs > kept.macs
