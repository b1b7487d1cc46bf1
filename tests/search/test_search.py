"""The driver: what a run holds, resuming, kills, budgets, failures."""

import json
import os
import signal
import sqlite3
import time
from dataclasses import replace

import optuna
import pytest

from paser_opt.catalog import load_device
from paser_opt.cli.live import _Silent as Unwatched
from paser_opt.config import Budget
from paser_opt.cost.bench import NOT_ASKED
from paser_opt.data import load
from paser_opt.errors import ConfigError, RunError
from paser_opt.pareto import front
from paser_opt.records import Profile
from paser_opt.runs import RunFolder
from paser_opt.search import search
from paser_opt.search.objective import price, to_measure
from paser_opt.search.pipelines import run_bench
from paser_opt.search.space import first_trials, suggest


def run(study, folder, trials):
    return search(study, folder, device=load_device("cpu"), trials=trials, timeout_s=None, watcher=Unwatched())


@pytest.fixture
def finished(tiny_run):
    return tiny_run


def outcome(folder: RunFolder):
    """What must not depend on how often the search was stopped."""
    return [(one.number, one.state, one.params, one.values, one.tag) for one in folder.trials()]


def test_a_run_holds_what_the_report_needs(finished):
    trials, record = finished.trials(), finished.run()
    assert [one.number for one in trials] == [0, 1, 2, 3, 4]
    assert [one.tag for one in trials[:3]] == ["paper", "corner: cheapest", "corner: richest"]
    paper = trials[0].pipeline
    assert (paper.cost_weight, paper.distill_weight, paper.mc_samples, paper.reward_cost) == (0.5, 0.01, 5, "params")
    assert record.finished
    members = front([one.values for one in trials], ["iou", "latency"])
    for one in trials:
        assert one.val is not None
        assert one.values == {"iou": one.val.iou, "latency": one.val.cost.latency_s.value}
        assert (one.test is not None) == (one.number in members)
        assert sum(one.val.usage) == pytest.approx(1)
        assert one.val.cost.macs >= one.val.cost.paper_macs
        assert len(one.val.alone) == 3
    assert all((one.measured_pace is not None) == (one.number in members) for one in trials)
    assert 0.1 < trials[members[0]].measured_pace < 10
    measured = trials[members[0]].measured_latency
    assert measured.how == "measured"
    predicted = trials[members[0]].test.cost.latency_s.value
    assert predicted / 20 < measured.value < predicted * 20  # the same unit; a busy machine takes its time
    assert len(record.gallery) == len(members) * 2  # two test images
    assert all((finished.gallery / one.mask).is_file() for one in record.gallery)


def test_the_reference_point_is_the_pilots_nadir_and_a_tenth_of_its_range(finished):
    pilot = [one.values for one in finished.trials()[:3]]
    iou, latency = ([one[name] for one in pilot] for name in ("iou", "latency"))
    assert finished.run().reference == pytest.approx(
        {"iou": min(iou) - 0.1 * (max(iou) - min(iou)), "latency": max(latency) + 0.1 * (max(latency) - min(latency))}
    )


def test_one_sqlite_file_in_wal_with_every_trial_told_once(finished):
    with sqlite3.connect(finished.database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{finished.database}")
    assert [one.state.name for one in study.trials] == ["COMPLETE"] * 5
    assert [one.values for one in study.trials] == [list(one.values.values()) for one in finished.trials()]


def test_trials_that_share_a_stage_train_it_once(finished):
    stages = [one.stages for one in finished.trials()]
    keys = [one.weights["f_1"] for one in finished.trials()]
    first = stages[0]
    assert first["pretrain f_1"] > 0
    again = [number for number, one in enumerate(finished.trials()) if one.pipeline.grid == (4, 4) and number]
    assert again
    assert all(stages[number]["pretrain f_1"] == 0 for number in again)
    assert len(keys) == 5


def test_runs_that_share_a_store_train_a_stage_once(tiny_study, run_folder, tmp_path, finished):
    def shared(name):
        return search(
            tiny_study, run_folder(name), device=load_device("cpu"), trials=2, timeout_s=None, watcher=Unwatched(),
            shared_store=tmp_path / "store", shared_limit_bytes=10**9,
        )  # fmt: skip

    first, second = shared("first"), shared("second")
    assert outcome(first) == outcome(second) == outcome(finished)[:2]
    assert {seconds for trial in second.trials() for seconds in trial.stages.values()} == {0.0}


def test_resumed_equals_uninterrupted(tiny_study, run_folder, finished):
    folder = run_folder()
    run(tiny_study, folder, trials=2)
    run(tiny_study, folder, trials=4)
    assert outcome(run(tiny_study, folder, trials=5)) == outcome(finished)


def test_ctrl_c_stops_in_one_line_and_the_same_command_goes_on(tiny_toml, run_folder, start):
    folder = run_folder()
    process = start("search", tiny_toml, "--out", folder, "--trials", "30")
    while len(list(folder.glob("trials/*/trial.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "paser-opt: stopped; the same command goes on from here"
    assert "Traceback" not in errors
    before = len(RunFolder.open(folder).trials())
    assert before >= 2


def test_a_second_driver_is_told_so(tiny_study, run_folder):
    from filelock import FileLock

    folder = run_folder()
    with FileLock(folder / ".driver.lock"), pytest.raises(RunError, match="another search or profile is at work"):
        run(tiny_study, folder, trials=1)


def test_another_study_in_the_same_folder_is_refused(tiny_study, run_folder):
    folder = run_folder()
    run(tiny_study, folder, trials=1)
    other = tiny_study.model_copy(update={"seed": 1})
    with pytest.raises(RunError, match="another seed; start afresh with --new"):
        run(other, folder, trials=1)


def test_configurations_over_budget_are_pruned_before_training(tiny_study, run_folder):
    study = tiny_study.model_copy(update={"budget": Budget(max_gflops=1e-6)})
    folder = run(study, run_folder(), trials=3)
    assert [one.state for one in folder.trials()] == ["pruned"] * 3
    assert "over the budget of gflops" in folder.trials()[0].reason
    assert not folder.artifacts.exists()
    told = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder.database}").trials
    assert [one.state.name for one in told] == ["PRUNED"] * 3


def test_a_diverged_training_is_a_failed_trial_with_its_reason(tiny_study, run_folder):
    wild = tiny_study.training.model_copy(update={"learning_rate": 1e30, "precision": "fp32", "pretrain_epochs": 3})
    folder = run(tiny_study.model_copy(update={"training": wild, "norm": "none"}), run_folder(), trials=1)
    trial = folder.trials()[0]
    assert trial.state == "failed"
    assert "diverged in epoch" in trial.reason
    assert trial.values == {}


def test_energy_is_measured_where_the_search_needs_it_or_the_profile_has_it(tiny_study, tiny_profile, tmp_path):
    paper = optuna.trial.FixedTrial(first_trials(tiny_study.space)[0][0].params)
    config = suggest(paper, tiny_study, channels=1, classes=3)
    run = RunFolder(tmp_path)
    bench = run_bench(run, tiny_study, load(tiny_study.data), load_device("cpu"), Unwatched())
    entries = price(config, bench).entries  # nothing is known yet, and latency is the objective
    assert {one.energy.reason for one in entries.values()} == {NOT_ASKED}
    assert not to_measure(config, bench)

    both = tiny_study.space.model_copy(update={"reward_cost": ("latency", "energy")})
    of_both = replace(bench, study=tiny_study.model_copy(update={"space": both}))
    assert to_measure(config, of_both)  # also for a trial whose reward's cost is latency: a front has one price

    whole = Profile.model_validate_json(tiny_profile)
    one = next(key for key in whole.entries if key in entries)
    del whole.entries[one]
    whole.write(run.profile_file("cpu"))
    bench = run_bench(run, tiny_study, bench.data, load_device("cpu"), Unwatched())
    assert price(config, bench).entries[one].energy.reason != NOT_ASKED


def test_estimated_energy_is_no_objective_unasked(tiny_study, run_folder):
    study = tiny_study.model_copy(update={"objectives": ("iou", "energy")})
    with pytest.raises(ConfigError, match=r"energy .*latency"):
        run(study, run_folder(), trials=1)


def test_a_trial_that_ends_its_process_is_not_tried_for_ever(tiny_study, run_folder):
    folder = run_folder()
    run(tiny_study, folder, trials=1)  # the second enqueued trial is asked below and never told
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder / 'study.db'}")
    trial = study.ask()
    stages = len(list(folder.glob("artifacts/*.safetensors")))
    stages += len(RunFolder.open(folder).profiles()["cpu"].entries)
    trial.set_user_attr("attempts", {"count": 12, "stuck": 11, "stages": stages})
    done = run(tiny_study, folder, trials=2).trials()
    assert done[1].state == "failed"
    assert "12 times in one stage" in done[1].reason


def test_records_are_plain_json(finished):
    json.loads(finished.trial_file(0).read_text(encoding="utf-8"))
    assert os.access(finished.run_file, os.R_OK)
