"""Short trainings first: the rule by hand, and searches that stop trials, are killed, and count nothing twice."""

import os
import random

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from paser_opt.catalog import load_device, load_study
from paser_opt.cli.live import _Silent as Unwatched
from paser_opt.runs import RunFolder
from paser_opt.search import search
from paser_opt.search.executors import Here, Subprocesses
from paser_opt.search.rungs import promoted

KILLS = int(os.environ.get("PASER_OPT_KILLS", "2"))
TRIALS = 12
NAMES = ["0.34", "0.67", "1"]


def at(iou, latency):
    return {"iou": iou, "latency": latency}


@pytest.mark.parametrize(
    ("mine", "goes_on"),
    [
        (at(0.9, 9), True),  # the best IoU
        (at(0.1, 1), True),  # the fastest
        (at(0.55, 2.5), True),  # nothing dominates it
        (at(0.45, 2.5), True),  # dominated; only the two of the first front are better, and a third of seven is 2.3
        (at(0.35, 7), False),  # in the third front, behind (0.4, 6), behind those two
    ],
)
def test_the_rule_by_hand(mine, goes_on):
    others = [at(0.5, 2), at(0.6, 3), at(0.4, 6), at(0.3, 8), at(0.2, 9), at(0.1, 10)]
    assert promoted(mine, others, ("iou", "latency")) is goes_on


def test_the_first_to_come_goes_on():
    assert promoted(at(0.1, 9), [], ("iou", "latency"))


@pytest.mark.parametrize("stopped", ["low", "high"])
def test_optunas_sampler_keeps_away_from_stopped_trials(stopped):
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=TPESampler(seed=0))
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for index in range(100):
        study.enqueue_trial({"x": index / 100})
        x = study.ask(space).params["x"]
        if (x < 0.5) == (stopped == "low"):
            study.tell(index, state=TrialState.PRUNED)
        else:
            study.tell(index, [abs(x - 0.5), 1.0])  # the best lie far from the stopped ones
    drawn = [study.ask(space).params["x"] for _ in range(40)]
    assert sum((x < 0.5) == (stopped == "low") for x in drawn) < 5


@pytest.fixture(scope="module")
def study(tiny_toml, tmp_path_factory):
    text = tiny_toml.read_text(encoding="utf-8")
    text = text.replace("rungs = []", "rungs = [0.34, 0.67, 1]").replace("train_epochs = 1", "train_epochs = 3")
    path = tmp_path_factory.mktemp("rungs") / "tiny.toml"
    path.write_text(text.replace("distill_epochs = 1", "distill_epochs = 3"), encoding="utf-8")
    return path


def run(study, folder, trials=TRIALS, executor=Here):
    return search(
        load_study(str(study)), folder, device=load_device("cpu"), trials=trials, timeout_s=None,
        watcher=Unwatched(), executor=executor,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(study, tiny_profile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "cpu.json").write_text(tiny_profile, encoding="utf-8")
    return run(study, folder)


def outcome(folder):
    return [
        (one.number, one.state, one.params, one.values, one.rung_values, one.reason, one.tag) for one in folder.trials()
    ]


def test_what_does_badly_is_stopped_and_says_so(finished):
    trials = finished.trials()
    stopped = [one for one in trials if one.state == "pruned"]
    assert stopped, "the study is too kind to test anything"
    for one in trials:
        rungs = list(one.rung_values)
        assert rungs == NAMES[: len(rungs)] and (one.state == "pruned" or rungs == NAMES)
        assert set(one.rung_values["0.34"]) == {"iou", "latency"}
        assert not one.tag or one.state == "complete"  # what was tried first spans the front
    for one in stopped:
        assert not one.values and one.val is None and not one.weights
        where = ("at 34% of the epochs", "at 67% of the epochs", "before fine-tuning")[len(one.rung_values) - 1]
        assert one.reason == f"stopped {where}, where at least a third of the trials are better"
        assert not any(stage.startswith("fine-tune") for stage in one.stages)


def test_each_decision_follows_from_what_was_there(finished):
    trials = finished.trials()
    for one in trials:
        if one.tag:
            continue
        for key, mine in one.rung_values.items():
            others = [other.rung_values[key] for other in trials[: one.number] if key in other.rung_values]
            last = key == list(one.rung_values)[-1]
            assert promoted(mine, others, ("iou", "latency")) is (one.state == "complete" or not last)


def test_a_finished_trial_equals_one_that_never_stopped(finished, study, run_folder):
    whole = load_study(str(study)).model_copy(update={"rungs": ()})
    folder = search(
        whole, run_folder(), device=load_device("cpu"), trials=3, timeout_s=None, watcher=Unwatched()
    )  # fmt: skip
    for one, other in zip(folder.trials(), finished.trials()[:3], strict=True):
        assert (one.params, one.values, one.weights) == (other.params, other.values, other.weights)


@pytest.mark.timeout(600 + 20 * KILLS)
def test_kills_between_rungs_lose_nothing(study, long_trials, run_folder, start, kill_at_random):
    long, folder = long_trials(study), run_folder()

    def search_it(trials: int):
        return start("search", long, "--out", folder, "--trials", trials)

    total = kill_at_random(search_it, TRIALS, random.Random(3))
    done = search_it(total)
    said = done.communicate()
    assert done.returncode == 0, said
    assert outcome(RunFolder.open(folder)) == outcome(run(long, run_folder("whole"), total))


def test_workers_stop_trials_too(study, run_folder):
    folder = run(study, run_folder(), executor=lambda *arguments: Subprocesses(*arguments, workers=2))
    trials = folder.trials()
    assert [one.number for one in trials] == list(range(TRIALS))
    assert {one.state for one in trials} <= {"complete", "pruned"}
    assert all(one.rung_values for one in trials)


def test_no_rungs_trains_every_trial_to_its_end(study, run_folder, paser_opt):
    folder = run_folder()
    done = paser_opt("search", study, "--out", folder, "--trials", 5, "--no-rungs", "-q")
    assert done.returncode == 0, done.stderr
    assert [one.state for one in RunFolder(folder).trials()] == ["complete"] * 5
    again = paser_opt("search", study, "--out", folder, "--trials", 6, "-q")
    assert again.returncode == 2 and "with another rungs; start afresh with --new" in again.stderr
