from types import SimpleNamespace

import optuna
import pytest

from paser_opt.catalog import load_device, load_study, names
from paser_opt.config import Space, Study
from paser_opt.data import load
from paser_opt.errors import ConfigError
from paser_opt.progress import Silent
from paser_opt.search import profile_study
from paser_opt.search.space import cover, dimensions, first_trials, suggest, unfit


def space(**changes):
    models = [{"base": [4, 6], "depth": 2}, {"base": 8, "depth": [3, 4], "scale": [1.0, 0.5]}]
    return Space.model_validate({"models": models, "mc_samples": [0, 5], **changes})


def test_the_papers_choices_come_first_at_the_studys_sizes():
    trials, notes = first_trials(space(reward_cost=["latency", "params"], cost_weight={"low": 0.1, "high": 0.9}))
    assert notes == []
    assert [trial.tag for trial in trials] == ["paper", "corner: cheapest", "corner: richest"]
    paper, cheap, rich = (trial.params for trial in trials)
    assert paper == {
        "cost_weight": 0.5, "mc_samples": 5, "reward_cost": "params", "f_0.base": 4, "f_1.depth": 3, "f_1.scale": 1.0,
    }  # fmt: skip
    assert (cheap["cost_weight"], cheap["mc_samples"], cheap["f_0.base"], cheap["f_1.scale"]) == (0.9, 0, 4, 0.5)
    assert (rich["cost_weight"], rich["mc_samples"], rich["f_0.base"], rich["f_1.depth"]) == (0.1, 5, 6, 4)


def test_a_space_without_the_papers_choices_says_so_and_enqueues_nothing_outside():
    trials, notes = first_trials(space(cost_weight={"low": 0.6, "high": 0.9}, reward_cost="latency"))
    assert [trial.tag for trial in trials] == ["corner: cheapest", "corner: richest"]
    assert "cost_weight = 0.5" in notes[0]
    assert "reward_cost = params" in notes[0]


def test_the_papers_trial_takes_the_published_head_where_it_is_offered():
    trials, _ = first_trials(space(reward_cost="params", policy=["pooled", "reference"]))
    assert trials[0].params["policy"] == "reference"


def test_a_pipeline_has_the_models_and_values_suggested():
    study = Study(name="s", space=space(model_count=[2], halo=4), dropout=0.2, norm="batch", seed=7)
    values = {"cost_weight": 0.3, "mc_samples": 5, "f_0.base": 6, "f_1.depth": 4, "f_1.scale": 0.5}
    config = suggest(optuna.trial.FixedTrial(values), study, channels=3, classes=5)
    assert [(m.base, m.depth, m.scale) for m in config.models] == [(6, 2, 1.0), (8, 4, 0.5)]
    assert {(m.in_channels, m.classes, m.norm, m.dropout) for m in config.models} == {(3, 5, "batch", 0.2)}
    assert (config.cost_weight, config.mc_samples, config.grid, config.halo, config.seed) == (0.3, 5, (4, 4), 4, 7)


def test_with_the_screen_in_sight_patches_have_more_channels_and_no_teacher():
    study = Study(name="s", space=space(context=["none", "screen"], distill_weight=0.1))
    values = {"cost_weight": 0.3, "mc_samples": 5, "f_0.base": 6, "f_1.depth": 4, "f_1.scale": 0.5}
    plain, seeing = (
        suggest(optuna.trial.FixedTrial({**values, "context": one}), study, channels=3, classes=5)
        for one in ("none", "screen")
    )
    assert [model.in_channels for model in plain.models] == [3, 3]
    assert [model.in_channels for model in seeing.models] == [3, 8]
    assert (plain.distill_weight, seeing.distill_weight) == (0.1, 0.0)
    assert {config.context for config in cover(study, channels=3, classes=5)} == {"none", "screen"}


def test_a_static_size_is_named_once():
    with pytest.raises(ValueError, match="base 8, depth 2, scale 1 is there twice"):
        Study(name="s", space=space(), static=({"base": 8, "depth": 2}, {"base": 8, "depth": 2, "epochs": 3}))


def test_fewer_models_ask_for_fewer_sizes():
    three = Space.model_validate({"models": [{"base": [4, 6], "depth": 1}] * 3, "model_count": [2, 3]})
    trial = optuna.create_study().ask()
    trial_with_two = optuna.trial.FixedTrial(
        {"cost_weight": 0.3, "mc_samples": 0, "model_count": 2, "f_0.base": 4, "f_1.base": 6}
    )
    config = suggest(trial_with_two, Study(name="s", space=three), channels=1, classes=2)
    assert len(config.models) == 2
    assert trial.number == 0


def test_models_too_deep_for_their_patches_are_named(tiny_study):
    data = load(tiny_study.data)
    deep = Space.model_validate({"models": [{"base": 4, "depth": 1}, {"base": 4, "depth": 3}], "mc_samples": 0})
    config = suggest(
        optuna.trial.FixedTrial({"cost_weight": 0.3}),
        tiny_study.model_copy(update={"space": deep}),
        channels=1,
        classes=3,
    )
    assert unfit(config, data) == "f_1 (depth 3, scale 1) needs 16 px, its input is 8 px at a 4x4 grid"


def test_nothing_is_profiled_for_a_study_whose_pipelines_do_not_fit(tiny_study, tmp_path):
    deep = Space.model_validate({"models": [{"base": 4, "depth": 1}, {"base": 4, "depth": 3}], "mc_samples": 0})
    study = tiny_study.model_copy(update={"space": deep})
    with pytest.raises(ConfigError, match=r"no pipeline of study .* f_1 \(depth 3, scale 1\) needs 16 px, .*\[space\]"):
        profile_study(study, load_device("cpu"), tmp_path / "cpu.json", energy=False, progress=Silent())
    assert not list(tmp_path.iterdir())


FOLDERS = {"mudrock": (224, 256), "camvid": (180, 240), "ebc": (1024, 1024)}


@pytest.mark.parametrize("name", names("studies"))
def test_a_pipeline_of_every_study_that_ships_fits_its_images(name):
    study = load_study(name)
    height, width = getattr(study.data, "size", None) or FOLDERS[name.removesuffix("-gpu").removesuffix("-long")]
    data = SimpleNamespace(height=height, width=width, shows=lambda corruption: True)
    assert any(unfit(config, data) is None for config in cover(study, channels=1, classes=3))


def test_the_cover_holds_every_size_and_every_choice(tiny_study):
    covered = list(cover(tiny_study, channels=1, classes=3))
    for index, model in enumerate(tiny_study.space.models):
        seen = {(c.models[index].base, c.models[index].scale) for c in covered}
        assert seen == {(base, scale) for base in model.base for scale in model.scale}
    assert {c.grid for c in covered} == {(2, 2), (4, 4)}
    assert {(c.mc_samples, c.models[0].scale) for c in covered} == {(s, x) for s in (0, 2, 5) for x in (1.0, 0.5)}


@pytest.mark.parametrize("name", [one.name for one in dimensions(space())])
def test_dimension_names_are_unique(name):
    assert [one.name for one in dimensions(space())].count(name) == 1
