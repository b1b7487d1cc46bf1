"""A comparison on a small run: models as they are, costs as predict composes them, every baseline there."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np
import pytest
import torch

from paser_opt.catalog import load_device
from paser_opt.compare.costs import CostTable, figures
from paser_opt.compare.outcome import unevenness
from paser_opt.compare.records import ENTROPY, EQUAL, LEARNED, ORACLE, PIPELINE, Comparison
from paser_opt.cost import open_bench, open_profile, predict
from paser_opt.cost.energy import no_energy
from paser_opt.errors import ConfigError, RunError
from paser_opt.progress import Silent
from paser_opt.records import STEPS
from paser_opt.routers import BudgetOracle, DeployedPolicy, EntropyRouter, PricedRouter
from paser_opt.runs import RunFolder
from paser_opt.search import Effort, compare_run, compare_study, lanes
from paser_opt.search.executors import Subprocesses
from paser_opt.search.lanes import Scorer, sweep
from paser_opt.search.objective import Bench, price
from paser_opt.train import ArtifactStore

QUICK = Effort(points=2, static=2, int8=False)
CPU = load_device("cpu")


@pytest.fixture(scope="module")
def run(tiny_copy):
    return tiny_copy


def made(run: RunFolder) -> set[str]:
    """Stages of f_1 … in the store; single UNets of the static front are trained as f_0 is."""
    return {path.name for path in run.artifacts.glob("*") if path.name.startswith(("pretrain", "finetune"))}


@pytest.fixture(scope="module")
def compared(run):
    trial = next(one for one in run.trials() if one.test)
    before = made(run)
    found = compare_run(run, trial, effort=QUICK, device=CPU, progress=Silent())
    return trial, before, made(run), found


def test_no_unet_is_trained_for_a_run(compared):
    _, before, after, _ = compared
    assert before == after


def test_the_pipeline_is_the_trials_own(compared):
    trial, _, _, found = compared
    own = found.router("pipeline")
    assert own.iou.value == pytest.approx(trial.test.iou)
    assert own.latency_s.value == pytest.approx(trial.test.cost.latency_s.value)
    assert own.gflops == pytest.approx(trial.test.cost.gflops)
    assert own.gflops_paper == pytest.approx(trial.test.cost.paper_macs / 1e9)
    assert own.usage == pytest.approx(trial.test.usage)
    alone = {one.model: one for one in trial.test.alone}
    assert found.router("f_0 alone, whole image").iou.value == pytest.approx(alone[0].iou)
    assert found.router("f_2 alone, patches").iou.value == pytest.approx(alone[2].iou)
    assert found.router("f_2 alone, patches").latency_s.value == pytest.approx(alone[2].cost.latency_s.value)


def test_how_much_the_published_head_reads_is_said_where_it_is_not_all(tiny_copy, compared, monkeypatch):
    assert not any("rows and columns" in note for note in compared[3].notes)  # 32 x 32 pixels
    monkeypatch.setattr(lanes, "REFERENCE_SIDE", 24)
    found = compare_run(tiny_copy, compared[0], effort=Effort(points=2, static=0), device=CPU, progress=Silent())
    assert any("reads one of every 2 rows and columns" in note for note in found.notes)


def test_every_baseline_is_there_and_adjusted_together(compared):
    found = compared[3]
    names = {one.name for one in found.routers}
    assert names >= {
        "pipeline", "f_0 alone, whole image", "f_1 alone, whole image", "f_1 alone, patches", "f_2 alone, whole image",
        "f_2 alone, patches", "entropy threshold", "margin threshold", "top-k entropy", "IDK cascade",
        "priced gains", "REINFORCE, published head", "expected reward", "random", "random, pipeline's usage",
        "oracle", "oracle per budget",
    }  # fmt: skip
    tested = [one for one in found.routers if one.against]
    assert {one.name for one in found.routers} - {one.name for one in tested} == {
        "pipeline", "oracle", "oracle per budget",
    }  # fmt: skip
    assert all(one.against.p_holm >= one.against.p for one in tested)
    assert found.router("priced gains").front_against == {}
    assert set(found.router("entropy threshold").front_against) == set(found.reference)


def test_the_static_front_is_a_rival_at_every_budget(compared, run):
    found = compared[3]
    static = found.router("static front")
    assert static.group == "static" and static.against and static.captured is None
    assert {point.label for point in static.front} == {
        "f_0 alone",
        "f_1 alone",
        "f_2 alone",
        "static UNet (base 4, depth 1, fp32)",
        "static UNet (base 8, depth 1, fp32)",
        "static UNet (base 8, depth 1, scale 0.5, fp32)",
        "static UNet (base 4, depth 1, scale 0.5, fp32)",
    }
    learned = found.router("priced gains")
    for mine, other, difference in zip(learned.iou_at, static.iou_at, static.at_against, strict=True):
        if mine is None or other is None:
            assert difference is None
            continue
        assert difference.difference == pytest.approx(mine - other)
        assert difference.low <= difference.difference <= difference.high
    own, best = found.per_gflop
    assert (own.router, best.router) == ("pipeline", "priced gains")
    assert own.gain.value == pytest.approx(own.iou / own.gflops / (own.rival_iou / own.rival_gflops) - 1)
    assert own.reached == (own.rival_iou >= own.iou)
    assert 0 < found.uneven <= 1


def test_the_names_a_comparison_is_told_by_are_the_routers():
    assert (DeployedPolicy.name, PricedRouter.name) == (PIPELINE, LEARNED)
    assert (EntropyRouter.name, BudgetOracle.name) == (ENTROPY, ORACLE)


def test_unevenness_by_hand():
    gain = torch.tensor([[[0.0, 0.5, 0.1], [0.0, 0.3, -0.1], [0.0, 0.1, 0.2], [0.0, -0.4, -0.1]]])
    assert unevenness(gain) == 0.5  # 0.5 and 0.3 of 1.0
    assert unevenness(-gain.abs()) == 1


def test_equal_cost_means_the_pipelines(compared):
    found = compared[3]
    own = found.router("pipeline").latency_s.value
    for one in found.routers:
        kept = [point.costs["latency"] for point in one.front if point.kept]
        assert one.latency_s.value == pytest.approx(max(min(own, max(kept)), min(kept)), rel=1e-6)
        assert one.equal_cost == (abs(one.latency_s.value - own) <= EQUAL * own)


def test_the_oracle_gains_at_least_as_much_as_any_route_of_its_usage(compared):
    found = compared[3]
    assert found.router("oracle per budget").captured in (None, pytest.approx(1.0))
    assert found.router("random").captured in (None, pytest.approx(0.0))


def test_a_cost_table_is_predict_taken_apart(compared, run, tiny_study, tmp_path):
    trial = compared[0]
    from paser_opt.data import load

    store = ArtifactStore(tmp_path)
    profile = open_profile(run.profile_file("cpu"), open_bench(CPU))
    bench = Bench(
        study=tiny_study, data=load(tiny_study.data), store=store, profile=profile,
        training_device=torch.device("cpu"), progress=Silent(),
    )  # fmt: skip
    priced = price(trial.pipeline, bench)
    draw = np.random.default_rng(0)
    counts = np.stack([draw.multinomial(priced.patches, [0.4, 0.4, 0.2]) for _ in range(9)])
    costs, paper = CostTable(priced.entries, priced.plan, priced.patches).images(
        torch.from_numpy(counts), priced.plan.policy
    )
    whole = predict(priced.entries, priced.plan, counts)
    for axis, value in figures(whole).items():
        assert costs[axis].mean().item() == pytest.approx(value), axis
    assert paper.mean().item() == pytest.approx(whole.paper_macs)


def test_more_seeds_train_more_models_and_nest(run, compared):
    trial = compared[0]
    found = compare_run(
        run, trial, effort=Effort(seeds=2, points=2, static=2, int8=False), device=CPU, progress=Silent()
    )
    assert found.seeds == [0, 1] and len(found.images) == 2
    assert len(made(run)) > len(compared[2])
    assert {point.seed for point in found.router("entropy threshold").front} == {0, 1}
    assert found.router("pipeline").iou.value != compared[3].router("pipeline").iou.value


def test_a_study_brings_its_own_pipeline(tiny_study, run_folder):
    folder = RunFolder(run_folder("own"))
    found = compare_study(
        tiny_study, folder, effort=Effort(points=2, static=0, reinforce=False), device=CPU, progress=Silent(),
        executor=partial(Subprocesses, workers=2),
    )  # fmt: skip
    assert found.trial is None
    assert found.router("pipeline").operating == "λ 0.5"
    assert not {"REINFORCE, published head", "static front"} & {one.name for one in found.routers}
    assert found.per_gflop == []
    assert any("--no-reinforce" in note for note in found.notes)


def test_what_cannot_be_compared_says_why(run, compared, tiny_study, tmp_path):
    trial = compared[0]
    space = tiny_study.space.model_copy(update={"mc_samples": (0, 2)})
    with pytest.raises(ConfigError, match="the paper's choices are not in its space"):
        compare_study(
            tiny_study.model_copy(update={"space": space}), RunFolder(tmp_path / "s"), effort=QUICK, device=CPU,
            progress=Silent(),
        )  # fmt: skip
    other = trial.model_copy(update={"state": "failed"})
    with pytest.raises(RunError, match="is failed; choose a complete one"):
        compare_run(run, other, effort=QUICK, device=CPU, progress=Silent())
    copied = RunFolder(tmp_path / "copy")
    shutil.copytree(run.path, copied.path)
    (copied.artifacts / f"{trial.weights['f_1']}.safetensors").unlink()
    with pytest.raises(RunError, match="the weights of f_1 are not in"):
        compare_run(copied, trial, effort=QUICK, device=CPU, progress=Silent())


def test_the_sweep_runs_from_free_to_what_one_gain_in_twenty_brings():
    gain = torch.tensor([[[0.0, 0.1], [0.0, 0.2], [0.0, -0.3]]])
    weights = sweep(gain, torch.tensor([0.5, 0.5]), 3)
    most = 0.2 + 0.95 * 0.2  # 95 % of the way between the two positive ratios, 0.2 and 0.4
    prices = [0.0, most * 10**-2.5, most]
    assert weights == pytest.approx([price / (1 + price) for price in prices])


def test_energy_that_one_router_lacks_is_left_out_of_all(run, compared, monkeypatch):
    ensure = Scorer._ensure

    def without(self, steps, **options):
        ensure(self, steps, **options)
        none = {"energy": no_energy("it did not move")}
        decide = {key: one for key, one in self.costs.entries.items() if key.startswith("decide margin")}
        self.costs.entries |= {key: one.model_copy(update=none) for key, one in decide.items()}

    monkeypatch.setattr(Scorer, "_ensure", without)
    effort = Effort(points=2, static=0, reinforce=False)
    found = compare_run(run, compared[0], effort=effort, device=CPU, progress=Silent())
    assert set(compared[3].reference) == {"gflops", "latency", "energy"}
    assert set(found.reference) == {"gflops", "latency"}
    assert {one.energy_j.value for one in found.routers} == {None}
    assert "No energy: it is not known of margin threshold." in found.notes
    assert Comparison.model_validate_json(found.model_dump_json()) == found


def test_what_is_measured_for_a_comparison_is_of_this_versions_steps(run, compared):
    keys = open_profile(run.profile_file("cpu"), open_bench(CPU)).profile.entries
    assert {key.split()[1] for key in keys if key.startswith("decide")} >= {"entropy", "margin", "top-k", "IDK"}
    assert all(key.endswith(f" {STEPS}") for key in keys if not key.startswith("stitch"))
