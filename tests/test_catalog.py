from pathlib import Path

import pytest

from paser_opt.catalog import load_device, load_study, names
from paser_opt.config import OBJECTIVES, Study
from paser_opt.errors import ConfigError


@pytest.mark.parametrize("name", names("devices"))
def test_every_device_that_ships_is_read(name):
    assert load_device(name).name == name


@pytest.mark.parametrize("name", names("studies"))
def test_every_study_that_ships_is_read(name):
    assert load_study(name).name == name


def test_a_path_is_read_and_an_unknown_name_lists_the_known(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nkind = "cpu"\nlocal = true\n', encoding="utf-8")
    assert load_device(str(path)).name == "mine"
    with pytest.raises(ConfigError, match=r"no device 'jetsn'; did you mean jetson\? Known: cpu, "):
        load_device("jetsn")
    with pytest.raises(ConfigError, match=r"no study .*absent\.toml"):
        load_study(str(tmp_path / "absent.toml"))


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("rock.toml", "rocks.toml"),
        ("rocks", "rocks.toml"),  # without its ending
        ("sub/metls.toml", "sub/metals.toml"),
        ("sub/rocks.toml", None),  # a path is looked for in its own folder
        ("quickstrat.toml", "quickstart"),
    ],
)
def test_a_misspelt_path_suggests_the_file_beside_it(asked, meant, tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    for file in ("rocks.toml", "sub/metals.toml"):
        (tmp_path / file).write_text(f'extends = "quickstart"\nname = "{Path(file).stem}"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_study(asked)
    hint = f"; did you mean {meant}? Known: " if meant else ". Known: "
    assert str(caught.value).startswith(f"no study {asked!r}{hint}")
    (tmp_path / "mine.toml").write_text(f'extends = "{asked}"\nname = "mine"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path / "sub")  # what a file extends lies beside it, wherever paser-opt is called
    with pytest.raises(ConfigError) as caught:
        load_study(str(tmp_path / "mine.toml"))
    assert str(caught.value).startswith(f"no study {asked!r}{hint}")


def test_a_wrong_unit_is_an_unknown_key(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nmax_power_mw = { value = 7, source = "data sheet" }\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="max_power_mw: unknown key; did you mean 'max_power_w'"):
        load_device(str(path))


def test_objectives_need_iou_and_a_cost_once():
    models = [{"base": 4, "depth": 1}, {"base": 4, "depth": 1}]
    for objectives in (["latency"], ["iou"], ["iou", "iou"], ["iou", "latency", "latency"]):
        with pytest.raises(ValueError, match="objectives must be"):
            Study.model_validate({"name": "s", "objectives": objectives, "space": {"models": models}})
    assert set(OBJECTIVES) == {"iou", "gflops", "latency", "energy", "memory"}


def test_a_file_extends_another(tmp_path):
    (tmp_path / "large.toml").write_text(
        'extends = "quickstart"\nname = "large"\ntrials = 3\n[training]\npretrain_epochs = 7\n'
        "[space]\nmodels = [{ base = 8, depth = 2 }, { base = 16, depth = 3 }]\n",
        encoding="utf-8",
    )
    (tmp_path / "larger.toml").write_text('extends = "large.toml"\nname = "larger"\nseed = 4\n', encoding="utf-8")
    base, larger = load_study("quickstart"), load_study(str(tmp_path / "larger.toml"))
    assert (larger.name, larger.trials, larger.seed, larger.norm) == ("larger", 3, 4, base.norm)
    assert larger.training == base.training.model_copy(update={"pretrain_epochs": 7})
    assert [model.base for model in larger.space.models] == [(8,), (16,)]  # a list is replaced whole
    assert larger.space.mc_samples == base.space.mc_samples


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('extends = "quickstrat"', "no study 'quickstrat'; did you mean quickstart"),
        ("extends = 3", "mine.toml: extends: name one of battery, "),
        ('extends = "mine.toml"', "extends: mine.toml extends this file in turn"),
        (
            "[space]\nmodels = [{ base = 4, depth = 1 }, { base = 8, dept = 2 }]",
            "models.1.dept: unknown key; did you mean 'depth'?",
        ),
        ('extends = "quickstart"\n[space]\ngird = "2x2"', "space.gird: unknown key; did you mean 'grid'"),
    ],
)
def test_what_cannot_be_extended(text, words, tmp_path):
    (tmp_path / "mine.toml").write_text(f'name = "mine"\n{text}\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_study(str(tmp_path / "mine.toml"))
    assert words in str(caught.value)
