"""Every experiment on a tiny run; what must be exactly nothing is exactly nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from paser_opt.catalog import load_device
from paser_opt.cli.live import _Silent as Unwatched
from paser_opt.compare.curves import Points
from paser_opt.compare.records import Estimate
from paser_opt.config import DataConfig, PolicyConfig
from paser_opt.data import load
from paser_opt.data.corruptions import CORRUPTIONS
from paser_opt.errors import RunError
from paser_opt.experiments import NAMES
from paser_opt.experiments.ablation import FULL, ablated, variant
from paser_opt.experiments.adaptability import AS_TRAINED, SEVERITIES, corrupted, unseen
from paser_opt.experiments.adaptability import _each as each_shift
from paser_opt.experiments.base import Sample, point, retrained, subject, twin
from paser_opt.experiments.cost_kinds import believed_latency_s
from paser_opt.experiments.mc_samples import SAMPLES, compared_samples
from paser_opt.experiments.page import experiment_page
from paser_opt.experiments.records import ExperimentRecord
from paser_opt.experiments.runner import EXPERIMENTS, run_experiments
from paser_opt.records import read_record
from paser_opt.report.choice import chosen_trial
from paser_opt.search.pipelines import trial_pipeline

CPU = load_device("cpu")


@pytest.fixture(scope="module")
def run(tiny_copy):
    return tiny_copy


@pytest.fixture(scope="module")
def trial(run):
    return chosen_trial(run, None)


@pytest.fixture(scope="module")
def one(run, trial):
    return subject(trial_pipeline(run, trial, device=CPU, progress=Unwatched()), 0)


@pytest.fixture(scope="module")
def records(run, trial):
    made = run_experiments(list(NAMES), run, trial, seeds=1, device=CPU, progress=Unwatched())
    return {record.name: record for record in made}


def test_every_name_is_an_experiment():
    assert list(EXPERIMENTS) == list(NAMES)


def test_every_experiment_leaves_its_record_and_a_page(run, trial, records):
    assert list(records) == list(NAMES)
    for name, record in records.items():
        assert read_record(ExperimentRecord, run.experiment_file(name)) == record
        assert record.origin.trial == trial.number
        assert record.origin.fingerprint == run.run().data.fingerprint
        page = experiment_page(record)
        assert f"paser-opt experiment {name} run --trial {trial.number} --seeds 1" in page
        for sheet in record.findings.sheets:
            assert sheet.title in page
            assert all(len(row) == len(sheet.columns) for row in sheet.rows)


def test_a_second_time_nothing_is_trained(run, trial, records):
    before = {path.name for path in run.artifacts.glob("*")}
    again = run_experiments(["mc-samples"], run, trial, seeds=1, device=CPU, progress=Unwatched())
    assert {path.name for path in run.artifacts.glob("*")} == before
    assert again[0].findings == records["mc-samples"].findings


def test_the_pipeline_is_the_trials_own(trial, one):
    assert one.own.iou()[0].item() == pytest.approx(trial.test.iou)
    assert one.own.cost("latency")[0].item() == pytest.approx(trial.test.cost.latency_s.value)


# --- adaptability -------------------------------------------------------------------------------------


def test_severity_0_drops_and_shifts_exactly_nothing(one, records):
    assert corrupted(one.data, one.data, "gaussian", 0, 0) is one.data.test
    nothing = Estimate(value=0.0, low=0.0, high=0.0)
    sheet = records["adaptability"].findings.sheets[1]
    assert sheet.column("drop")[0] == sheet.column("shift in latency")[0] == nothing
    assert sheet.column("drop, random")[0] == sheet.column("drop, f_m everywhere")[0] == 0
    assert len(sheet.rows) == 1 + 6 * len(SEVERITIES)


def test_a_corruption_is_put_on_clean_images_and_standardised_as_in_training():
    """Contrast 5 draws greys to 5 % around the image's mean: known pixel by pixel, in the study's own units."""
    clean = load(DataConfig(count=10, size=(32, 32)))
    noisy = load(DataConfig(count=10, size=(32, 32), corruption="gaussian", severity=5))
    part = corrupted(noisy, clean, "contrast", 5, seed=0)
    pixels = clean.test.images * clean.std[0] + clean.mean[0]
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(part.images * noisy.std[0] + noisy.mean[0], mean + 0.05 * (pixels - mean), atol=1e-5)
    assert torch.equal(part.masks, noisy.test.masks)


def test_contrast_is_nothing_to_images_standardised_by_their_own_mean_and_std():
    clean = load(DataConfig(count=10, size=(32, 32)))
    own = load(DataConfig(count=10, size=(32, 32), standardise="image"))
    assert torch.allclose(corrupted(own, clean, "contrast", 5, seed=0).images, own.test.images, atol=1e-3)


def test_what_a_study_trains_under_is_not_unseen():
    noisy = DataConfig(corruption="gaussian", augment=["blur", "contrast"])
    assert unseen(noisy) == ["salt_and_pepper", "speckle", "occlusion"]
    assert unseen(DataConfig()) == list(CORRUPTIONS) and unseen(DataConfig(augment=list(CORRUPTIONS))) == []


def points(right: list[int], latency_s: float = 1.0) -> Points:
    """Of each image of 100 pixels, half of either class, so many right in both."""
    matrices = torch.tensor([[[n, 50 - n], [50 - n, n]] for n in right])
    size = len(right)
    return Points(
        matrices[None], {"latency": torch.full((1, size), latency_s), "gflops": torch.ones(1, size)},
        torch.ones(1, size), torch.tensor([[0.25, 0.75]]), ("",),
    )  # fmt: skip


def nested(images: int, seeds: int = 1) -> Sample:
    from paser_opt.compare.statistics import draw

    return Sample((images,) * seeds, draw([images] * seeds, count=400))


def test_a_drop_by_hand():
    """40 of 50 right is IoU 40/60, 30 of 50 right 30/70: a drop of 1 − 9/14; latency doubles."""
    before, after = points([40] * 6), points([30] * 6, latency_s=2.0)
    routes = ("pipeline", "random route, same usage", "f_m everywhere", "f_0 everywhere")
    seed = {AS_TRAINED: dict.fromkeys(routes, before), ("blur", 1): dict.fromkeys(routes, after)}
    sheet = each_shift([seed, seed], [AS_TRAINED, ("blur", 1)], nested(6, seeds=2))
    row = dict(zip([column.name for column in sheet.columns], sheet.rows[1], strict=True))
    assert row["corruption, severity"] == "blur 1"
    assert (row["drop"].value, row["drop"].low) == pytest.approx((5 / 14, 5 / 14))
    assert row["shift in latency"].value == pytest.approx(1.0)
    assert row["sent on"] == pytest.approx(0.75)
    assert row["random's drop less the pipeline's"].difference == 0


# --- MC samples ---------------------------------------------------------------------------------------


def test_an_s_that_does_the_same_is_equivalent_and_one_that_does_not_is_not():
    good, bad = [points([40] * 8)], [points([30] * 8)]
    sheet = compared_samples({0: bad, 5: good, 20: good}, 20, nested(8))
    same = sheet.column("less S 20: within ± 0.01?")
    assert [cell and cell.verdict for cell in same] == ["not shown", "equivalent", None]
    assert same[1].difference == same[1].low == same[1].high == 0
    assert same[0].difference == pytest.approx(3 / 7 - 2 / 3)
    assert sheet.column("less S 20: different?")[0].verdict == "worse"


def test_more_passes_cost_more_and_the_unets_stay(records):
    sheet = records["mc-samples"].findings.sheets[0]
    assert sheet.column("S") == [str(samples) for samples in SAMPLES]
    gflops = sheet.column("GFLOPs")
    assert gflops[1] < gflops[3] < gflops[5]


def test_a_policy_trained_afresh_is_kept_and_leaves_the_unets(one):
    made, again = retrained(one, one.priced), retrained(one, one.priced)
    for mine, theirs in zip(made.models, one.trained.models, strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True)
        )
    assert all(
        torch.equal(a, b)
        for a, b in zip(made.policy.state_dict().values(), again.policy.state_dict().values(), strict=True)
    )


# --- cost kinds ---------------------------------------------------------------------------------------


def test_what_a_price_makes_believe_by_hand(one):
    """All to f_m, by parameters: f_m's latency, and f_0's share of its parameters on top."""
    table = one.trained.tables("val")
    models = len(one.trained.models)
    route = torch.full(table.hard.shape[:2], models - 1)
    everything = point(one.costs, table, route)
    entries, plan = one.priced.entries, one.priced.plan
    params = [entries[plan.screen_once].params, *(entries[steps[one.priced.patches]].params for steps in plan.models)]
    largest = entries[plan.models[-1][one.priced.patches]].latency.median_s
    believed = believed_latency_s("params", everything, one.priced)
    assert believed[0].item() == pytest.approx(largest * (1 + params[0] / params[-1]))
    assert torch.equal(believed_latency_s("latency", everything, one.priced), everything.cost("latency"))


def test_latency_chooses_what_it_believes(records):
    charged, equal, chosen = records["cost-kinds"].findings.sheets
    assert charged.column("cost")[:3] == ["params", "flops", "latency"]
    assert all(row[-1] == 1.0 for row in charged.rows)
    differences = dict(
        zip(equal.column("trained for"), equal.column("less the policy trained for latency"), strict=True)
    )
    assert differences["latency"] is None
    assert len(chosen.rows) == len(equal.rows) == 3 * len(charged.rows)
    assert any("energy" in note for note in records["cost-kinds"].findings.notes)


# --- ablation -----------------------------------------------------------------------------------------


def test_with_nothing_taken_away_nothing_changes(one):
    whole = variant(one, {})
    sheet = ablated({FULL: [one.own], "nothing": [whole.own]}, {}, Sample.of([one]))
    against = sheet.column("full pipeline less this")[1]
    assert (against.difference, against.low, against.high) == (0.0, 0.0, 0.0)
    assert against.verdict == "not told apart"


def test_what_is_taken_away_is_gone(one, records):
    assert variant(one, {"finetune_epochs": 0}).trained.config.training.finetune_epochs == 0
    assert variant(one, {"distill_weight": 0.0}).trained.keys["f_0"] != one.trained.keys["f_0"]
    names = records["ablation"].findings.sheets[0].column("what is left")
    assert names == [
        FULL, "no distillation (β = 0)", "no fine-tuning", "random route, same usage", "entropy threshold, same cost",
    ]  # fmt: skip


def test_a_twin_spends_what_its_route_spends(one):
    route = one.trained.route(one.test)
    random = twin(one.costs, one.test, route, seed=0)
    assert torch.allclose(random.usage, one.own.usage)


# --- seeds and errors ---------------------------------------------------------------------------------


def test_more_seeds_nest(run, trial):
    pages = []
    (record,) = run_experiments(
        ["mc-samples"], run, trial, seeds=2, device=CPU, progress=Unwatched(),
        after=lambda origin, records: pages.append((origin.seeds, len(records))),
    )  # fmt: skip
    assert pages == [([0, 1], 0), ([0, 1], 1)]  # one before the first experiment, which may take hours
    assert record.origin.seeds == [0, 1] and len(record.origin.images) == 2
    assert any("5 seeds" in note for note in record.findings.notes)


def test_what_cannot_be_asked_says_why(run, trial):
    with pytest.raises(RunError, match="is failed; choose a complete one"):
        run_experiments(
            ["ablation"], run, trial.model_copy(update={"state": "failed"}), seeds=1, device=CPU, progress=Unwatched()
        )


def test_a_priced_policy_is_fitted_anew_for_another_price(one):
    """In closed form: its weights take no gradient."""
    priced = variant(one, {"policy": PolicyConfig(kind="priced")})
    dear = replace(priced.priced, config=priced.priced.config.model_copy(update={"cost_weight": 0.9}))
    free = replace(priced.priced, config=priced.priced.config.model_copy(update={"cost_weight": 0.0}))
    at_any_price, at_none = (retrained(priced, each).policy for each in (dear, free))
    torch.testing.assert_close(at_any_price.weights, at_none.weights)
    assert (at_any_price.charge[1:] > 0).all() and (at_none.charge == 0).all()
