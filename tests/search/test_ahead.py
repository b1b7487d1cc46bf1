"""UNets trained ahead are those that a comparison asks for, so that it trains none itself."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from functools import partial

import pytest

from paser_opt.catalog import load_device
from paser_opt.cli.live import _Silent as Unwatched
from paser_opt.config import Range, StaticSize
from paser_opt.data import load
from paser_opt.errors import ConfigError, DivergedError, RunError
from paser_opt.experiments.runner import run_experiments
from paser_opt.progress import Silent
from paser_opt.runs import RunFolder
from paser_opt.search import Effort, compare_run, search, static_front, train_study
from paser_opt.search.ahead import Lesson, held, train_ahead
from paser_opt.search.executors import LostError, Subprocesses
from paser_opt.search.pipelines import trial_pipeline
from paser_opt.search.space import static_sizes

CPU = load_device("cpu")


@pytest.fixture(scope="module")
def run(tiny_copy):
    return tiny_copy


def unets(run) -> set[str]:
    """Of the store: UNets of pipelines, and single ones, which are trained as f_0 is."""
    return {path.name for path in run.artifacts.glob("*") if path.name.startswith(("pretrain", "distill"))}


class Noting(Subprocesses):
    """Two worker processes, and what lies in the store when they end."""

    left: set[str]

    def __init__(self, workshop, run_file, run):
        super().__init__(workshop, run_file, workers=2)
        self.run = run

    def close(self):
        super().close()
        Noting.left = unets(self.run)


class Doomed:
    """Every piece of work ends with the same error."""

    workers = 1

    def __init__(self, error):
        self.error = error

    def submit(self, work, progress):
        future: Future[None] = Future()
        future.set_exception(self.error)
        return future

    def close(self): ...


class Noted(Unwatched):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.said = []

    def note(self, text):
        self.said.append(text)


def test_a_static_front_finds_its_unets(run):
    before = unets(run)
    static_front(run, device=CPU, models=2, int8=False, progress=Silent(), executor=partial(Noting, run=run))
    assert before < Noting.left == unets(run)


def test_a_comparison_finds_its_unets(run):
    trial = next(one for one in run.trials() if one.test)
    before = unets(run)
    effort = Effort(seeds=2, points=2, static=2, int8=False, reinforce=False)
    found = compare_run(run, trial, effort=effort, device=CPU, progress=Silent(), executor=partial(Noting, run=run))
    assert found.seeds == [0, 1]
    assert before < Noting.left == unets(run)


def test_what_was_trained_without_measuring_is_found_by_a_search_and_its_static_front(
    tiny_study, tiny_profile, tmp_path
):
    """2 grids × 2 β, and for the ablation 0, × 2 × 2 sizes: 24 pipelines, from two seeds; and single UNets."""
    run = RunFolder(tmp_path / "run")
    ahead = {"seeds": 2, "static": 2, "progress": Silent(), "executor": partial(Subprocesses, workers=2)}
    done = train_study(tiny_study, run, **ahead)
    assert done.pieces == 2 * (24 + len(static_sizes(tiny_study, 2))) and done.left == done.unfit == ()
    assert done.size_bytes == sum(path.stat().st_size for path in run.artifacts.glob("*.safetensors"))
    assert not run.run_file.exists() and not list(run.path.glob("profiles/*"))
    trained = unets(run)
    run.profile_file("cpu").parent.mkdir()
    run.profile_file("cpu").write_text(tiny_profile, encoding="utf-8")
    noting = Noted()
    search(tiny_study, run.path, device=CPU, trials=4, timeout_s=None, watcher=noting)
    assert noting.said[0] == f"{run.artifacts} holds the UNets of every pipeline (16)"
    rungs = tiny_study.model_copy(update={"rungs": (0.5, 1.0)})
    assert held(rungs, load(rungs.data), run).endswith("; they train again up to each rung")
    static_front(run, device=CPU, models=2, int8=False, progress=Silent())
    trial = next(one for one in run.trials() if one.test)
    effort = Effort(seeds=2, points=2, static=2, int8=False, reinforce=False)
    compare_run(run, trial, effort=effort, device=CPU, progress=Silent())
    run_experiments(["ablation"], run, trial, seeds=2, device=CPU, progress=Silent(), after=lambda *_: None)
    assert unets(run) == trained

    other = tiny_study.model_copy(update={"data": tiny_study.data.model_copy(update={"seed": 7})})
    with pytest.raises(RunError, match="holds a run on other data"):
        train_study(other, run, **ahead)


def test_unets_that_do_not_fit_are_told_of_before_others_train(tiny_study, tiny_profile, tmp_path):
    run = RunFolder(tmp_path / "run")
    train_study(
        tiny_study.model_copy(update={"seed": 7}), run, seeds=1, static=2, progress=Silent(),
        executor=partial(Subprocesses, workers=2),
    )  # fmt: skip
    run.profile_file("cpu").parent.mkdir()
    run.profile_file("cpu").write_text(tiny_profile, encoding="utf-8")
    noting = Noted()
    search(tiny_study, run.path, device=CPU, trials=1, timeout_s=None, watcher=noting)
    assert noting.said[0].startswith(f"{run.artifacts} holds the UNets of 0 out of 16 pipelines; ")


def test_what_does_not_fit_the_images_is_named_and_left_out(tiny_study, tmp_path):
    space = tiny_study.space.model_copy(update={"grid": ((2, 2), (16, 16))})
    study = tiny_study.model_copy(update={"space": space, "static": (StaticSize(base=2, depth=5),)})

    class Ready(Doomed):
        def submit(self, work, progress):
            future: Future[None] = Future()
            future.set_result(None)
            return future

    done = train_study(
        study, RunFolder(tmp_path), seeds=1, static=2, progress=Silent(), executor=lambda *_: Ready(None)
    )
    assert done.pieces == 2 * 3 * 2  # sizes of f_0, β and 0, sizes of f_2; on the grid that fits
    assert done.unfit[-1] == "base 2, depth 5, scale 1 is larger than its windows"
    assert "needs 4 px, its input is 2 px at a 16x16 grid" in done.unfit[0]


def test_what_a_space_leaves_open_cannot_be_trained_ahead(tiny_study, tmp_path):
    space = tiny_study.space.model_copy(update={"distill_weight": Range(low=0.01, high=0.1)})
    with pytest.raises(ConfigError, match=r"space.distill_weight is a range.*: list its values"):
        train_study(
            tiny_study.model_copy(update={"space": space}), RunFolder(tmp_path), seeds=1, static=2, progress=Silent(),
            executor=lambda *_: pytest.fail("training began"),
        )  # fmt: skip


def test_what_is_lost_is_left_to_the_comparison(run):
    trial = next(one for one in run.trials() if one.test)
    bench = trial_pipeline(run, trial, device=CPU, progress=Silent()).bench(0)
    lessons = [Lesson(StaticSize(base=4, depth=1), 0)]
    told = []

    class Telling(Silent):
        def advance(self, done, note=""):
            told.append(note)

    texts = ("can't allocate memory: 9 bytes", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling")
    lost = (LostError("gone"), DivergedError("wild"), MemoryError("9"), *map(RuntimeError, texts))
    for error in lost:
        train_ahead(lessons, bench, run.run_file, lambda *_, error=error: Doomed(error), Telling())
    assert told[0] == "base 4, depth 1, scale 1 of seed 0 is left for later: gone; about 0 min left"
    assert len(told) == len(lost) and all("is left for later" in one for one in told)
    for error in (RunError("sees other data"), RuntimeError("a fault of ours")):
        with pytest.raises(type(error), match=str(error)):
            train_ahead(lessons, bench, run.run_file, lambda *_, error=error: Doomed(error), Silent())


def test_data_that_has_changed_is_refused_before_anything_trains(run, tmp_path):
    trial = next(one for one in run.trials() if one.test)
    copied = RunFolder(tmp_path / "copy")
    shutil.copytree(run.path, copied.path)
    record = copied.run()
    other = record.study.data.model_copy(update={"seed": 99})
    record.model_copy(update={"study": record.study.model_copy(update={"data": other})}).write(copied.run_file)
    with pytest.raises(RunError, match="the data has changed"):
        compare_run(
            copied, trial, effort=Effort(static=2), device=CPU, progress=Silent(),
            executor=lambda *_: pytest.fail("training began"),
        )  # fmt: skip


def test_lessons_say_what_they_are(run):
    trial = next(one for one in run.trials() if one.test)
    assert str(Lesson(trial.pipeline, 3)).startswith("UNets of seed 3 (base 4, depth 1, scale ")
    assert str(Lesson(StaticSize(base=4, depth=2, scale=0.5), 1)) == "base 4, depth 2, scale 0.5 of seed 1"
