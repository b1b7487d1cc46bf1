"""The static front: its sizes by hand, its models trained once, and trials set against the right rival."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from paser_opt.catalog import load_device
from paser_opt.cli.live import _Silent as Unwatched
from paser_opt.config import ModelSpace, Space, StaticSize, Study, UNetConfig
from paser_opt.data import load
from paser_opt.errors import ConfigError, DivergedError
from paser_opt.evaluate import data_iou, never_predicted
from paser_opt.patches import confusion, hard_labels
from paser_opt.records import StaticFront, read_record
from paser_opt.report.findings import findings
from paser_opt.report.info import collect
from paser_opt.search import static_front
from paser_opt.search.pipelines import run_bench
from paser_opt.search.space import static_sizes
from paser_opt.search.static import SingleModels, Unfinished
from paser_opt.train import TRAINED_S, ArtifactStore, Single, train_whole
from paser_opt.train.stages import place
from paser_opt.train.whole import converged


def space(*models: ModelSpace, **fields: Any) -> Study:
    return Study(name="toy", space=Space(models=models), **fields)


def sizes_of(study: Study, count: int) -> list[tuple[int, int, float]]:
    return [(one.base, one.depth, one.scale) for one in static_sizes(study, count)]


def test_sizes_span_the_space() -> None:
    wide = space(ModelSpace(base=(4,), depth=(2,)), ModelSpace(base=(16, 128), depth=(4,)))
    sizes = sizes_of(wide, 6)
    # 4 · 2^i, depths from 2 to 4
    assert sizes[:6] == [(4, 2, 1.0), (8, 2, 1.0), (16, 3, 1.0), (32, 3, 1.0), (64, 4, 1.0), (128, 4, 1.0)]
    assert sizes[6:] == [(32, 3, 0.5), (64, 4, 0.5), (128, 4, 0.5)]
    narrow = sizes_of(space(ModelSpace(base=(4,), depth=(1,)), ModelSpace(base=(6,), depth=(1,))), 6)
    assert [base for base, _, _ in narrow[:6]] == [4, 6, 8, 10, 12, 14]
    scaled = sizes_of(space(ModelSpace(base=(4,), depth=(1,), scale=(0.25, 1)), ModelSpace(base=(6,), depth=(1,))), 6)
    assert scaled == [*narrow, (4, 1, 0.25)]
    one = ModelSpace(base=(4,), depth=(2,))
    own = ({"base": 6, "depth": 3, "scale": 0.25}, {"base": 8, "depth": 2, "epochs": 3})
    assert sizes_of(space(one, one, static=own), 6) == [(6, 3, 0.25), (8, 2, 1.0)]


def test_convergence_is_judged_by_the_last_scores() -> None:
    def history(*scores: float) -> list[dict[str, float]]:
        return [{"epoch": float(i), "loss": 1.0, "score": score} for i, score in enumerate(scores)]

    assert converged(history(0.5, 0.6, 0.605))
    assert not converged(history(0.5, 0.6, 0.62))
    assert not converged(history(0.5))


@pytest.fixture(scope="module")
def made(tiny_copy):
    front = static_front(tiny_copy, device=load_device("cpu"), models=2, int8=True, progress=Unwatched())
    return tiny_copy, front


def test_every_size_is_there_as_it_is_and_in_int8(made) -> None:
    run, result = made
    assert [(row.config.base, row.config.scale, row.precision) for row in result.models] == [
        (4, 1.0, "fp32"), (4, 1.0, "int8"), (8, 1.0, "fp32"), (8, 1.0, "int8"), (8, 0.5, "fp32"), (8, 0.5, "int8"),
        (4, 0.5, "fp32"), (4, 0.5, "int8"),
    ]  # fmt: skip
    assert {row.precision: row.runtime for row in result.models} == {"fp32": "eager", "int8": "onnx-int8"}
    assert all(row.latency.how == "measured" for row in result.models)
    assert all(row.latency.pace for row in result.models if row.precision == "int8")  # that of the routes
    assert read_record(StaticFront, run.static_file) == result
    here = place(torch.device("cpu"))
    assert f"Single UNets were trained on {here}." in result.notes
    assert all(f"on {here}; folds" in note for note in result.notes if "UNets of trial" in note)


def test_the_scores_are_the_models_own(made, tiny_study) -> None:
    run, result = made
    data = load(tiny_study.data)
    row = result.models[0]
    assert isinstance(row.config, UNetConfig)
    single = train_whole(
        row.config, data, tiny_study.training, ArtifactStore(run.artifacts), seed=tiny_study.seed,
        device=torch.device("cpu"), progress=Unwatched(),
    )  # fmt: skip
    assert (row.epochs, row.trained_s) == (single.epochs, single.trained_s) and single.trained_s > 0
    with torch.inference_mode():
        labels = hard_labels(single.model(data.test.images))
    assert row.test_iou == pytest.approx(data_iou(confusion(labels, data.test.masks, data.classes)))


def test_what_does_not_fit_its_windows_is_left_out(made, tiny_study) -> None:
    run, _ = made
    training = tiny_study.training.model_copy(update={"windows": (4, 4)})  # of 8 x 8 pixels
    study = tiny_study.model_copy(update={"training": training})
    bench = run_bench(run, study, load(study.data), load_device("cpu"), Unwatched())
    sizes = [StaticSize(base=4, depth=depth, scale=scale) for depth, scale in ((2, 1.0), (2, 0.5), (3, 1.0))]
    singles = SingleModels(bench, load_device("cpu"), run, sizes, False)
    assert [(one.depth, one.scale) for one in singles.configs] == [(2, 1.0)]
    assert singles.notes[0] == "base 4, depth 2, scale 0.5 is left out: it needs 16 px, and trains on windows of 8 px."
    with pytest.raises(ConfigError, match="no single UNet can be trained: base 4, depth 3"):
        SingleModels(bench, load_device("cpu"), run, sizes[2:], False)


def test_a_size_trains_for_its_own_epochs(made, tiny_study) -> None:
    run, _ = made
    bench = run_bench(run, tiny_study, load(tiny_study.data), load_device("cpu"), Unwatched())
    singles = SingleModels(bench, load_device("cpu"), run, [StaticSize(base=4, depth=1, epochs=1)], False)
    singles.measure([])
    [(row, matrices)] = singles.rows(0)
    assert row.epochs == 1  # as many as its history has
    assert (
        "base 4, depth 1, scale 1 trains 1 epochs, by the study; no UNet of a pipeline trains more than 2."
        in singles.notes
    )
    never = never_predicted(matrices["test"])
    assert any(f"never predicts {never} of 3 classes" in note for note in singles.unfinished.notes()) == (never > 0)


def test_a_size_has_its_own_windows_and_crops(made, tiny_study) -> None:
    run, _ = made
    bench = run_bench(run, tiny_study, load(tiny_study.data), load_device("cpu"), Unwatched())
    plain, hard = StaticSize(base=4, depth=1), StaticSize(base=4, depth=1, crops="hard", windows=(2, 2))
    found = []
    for size in (plain, hard):
        singles = SingleModels(bench, load_device("cpu"), run, [size], False)
        singles.measure([])
        found += [row for row, _ in singles.rows(0)]
    assert "base 4, depth 1, scale 1 trains on windows most of which lie where it misses most." in singles.notes
    assert found[0].trained_s != found[1].trained_s  # two UNets, not one from the store
    deep = StaticSize(base=4, depth=2, windows=(8, 8))  # of 4 x 4 pixels
    with pytest.raises(ConfigError, match="it needs 8 px, and trains on windows of 4 px"):
        SingleModels(bench, load_device("cpu"), run, [deep], False)


def test_what_is_unfinished_is_said_once_for_all_seeds() -> None:
    unfinished, one, other = (
        Unfinished(),
        UNetConfig(base=4, depth=2, scale=0.5),
        UNetConfig(base=8, depth=3, classes=5),
    )
    unfinished.gaining = {one: [1]}
    unfinished.unlearnt = {one: {0: 2, 4: 1}, other: {3: 4}}
    assert unfinished.notes() == [
        "base 4, depth 2, scale 0.5, seed 1, still gained IoU at its end: train longer.",
        "base 4, depth 2, scale 0.5, seeds 0, 4, never predicts 1 to 2 of 3 classes on test: it has not learnt them.",
        "base 8, depth 3, scale 1, seed 3, never predicts 4 of 5 classes on test: it has not learnt them.",
    ]


def test_one_that_diverges_is_left_out_of_the_front_of_a_run(made, monkeypatch) -> None:
    run, result = made

    def train(config: UNetConfig, *arguments: Any, **options: Any) -> Single:
        if config.base == 8 and config.scale == 1:
            raise DivergedError("it diverged in epoch 1")
        return train_whole(config, *arguments, **options)

    monkeypatch.setattr("paser_opt.search.static.train_whole", train)
    front = static_front(run, device=load_device("cpu"), models=2, int8=True, progress=Unwatched())
    assert [row.name for row in front.models] == [one.name for one in result.models if "(base 8, depth 1, fp" not in
                                                  one.name and "(base 8, depth 1, int8" not in one.name]  # fmt: skip
    assert "base 8, depth 1, scale 1 is left out: it diverged in epoch 1." in front.notes


def test_over_several_seeds_it_ends_the_comparison(made, tiny_study) -> None:
    run, _ = made
    training = tiny_study.training.model_copy(update={"learning_rate": 1e30})
    study = tiny_study.model_copy(update={"training": training})
    bench = run_bench(run, study, load(study.data), load_device("cpu"), Unwatched())
    singles = SingleModels(bench, load_device("cpu"), run, [StaticSize(base=4, depth=1)], False)
    singles.measure([])
    with pytest.raises(DivergedError):
        list(singles.rows(0))


def test_how_long_the_unets_of_a_trial_trained_counts_every_stage(made) -> None:
    """Fine-tuning goes on from pretraining: what is told is both."""
    run, result = made
    store = ArtifactStore(run.artifacts)
    number = result.against[0].trial
    trial = next(one for one in run.trials() if one.number == number)
    weights = {name: store.get(key) for name, key in trial.weights.items() if name != "policy"}
    assert all(one.notes[TRAINED_S] > 0 for one in weights.values())
    tuned = [one for one in weights.values() if one.key.startswith("finetune")]
    for one in tuned:
        assert one.notes[TRAINED_S] > one.made_in_s
    assert any(f"UNets of trial {number} were trained for: f_0 " in note for note in result.notes)


def test_nothing_is_trained_twice(made, monkeypatch) -> None:
    run, result = made

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("paser_opt.train.whole.distill", refuse)
    again = static_front(run, device=load_device("cpu"), models=2, int8=True, progress=Unwatched())
    assert again == result


def test_the_rival_is_no_slower_and_the_best_on_val(made) -> None:
    run, result = made
    tested = {trial.number: trial for trial in run.trials() if trial.test}
    assert {one.trial for one in result.against} == set(tested)
    for one in result.against:
        latency_s = tested[one.trial].test.cost.latency_s.value
        eligible = [row for row in result.models if row.latency.median_s <= latency_s]
        if one.rival is None:
            assert not eligible and one.versus is None
            continue
        rival = result.models[one.rival]
        assert rival.val_iou == max(row.val_iou for row in eligible)
        assert one.versus.difference == pytest.approx(tested[one.trial].test.iou - rival.test_iou)
        assert one.versus.low <= one.versus.difference <= one.versus.high


def test_a_trial_says_what_its_policy_earns(made) -> None:
    run, _ = made
    for trial in (one for one in run.trials() if one.state == "complete"):
        assert trial.reward.oracle >= max(trial.reward.policy, trial.reward.one_model) - 1e-6
        assert set(trial.unconverged) <= {"f_0", "f_1", "f_2"}
        if 1.0 in trial.val.usage and trial.val.usage.index(1.0) == 0:
            assert trial.reward.policy == pytest.approx(0, abs=1e-6)  # all kept: no gain, C(0) = 0


def test_the_report_says_what_it_means(made) -> None:
    run, result = made
    titles = {finding.title for finding in findings(collect(run))}
    assert titles & {"Routing earns nothing here", "Routes against single UNets trained on whole images"}
    worse = [one.model_copy(update={"versus": one.versus.model_copy(update={"low": -0.2, "high": -0.1})})
             for one in result.against if one.versus]  # fmt: skip
    if worse:
        result.model_copy(update={"against": worse}).write(run.static_file)
        found = next(one for one in findings(collect(run)) if one.title == "Routing earns nothing here")
        assert found.serious and "Deploy a single model" in found.text
        result.write(run.static_file)
