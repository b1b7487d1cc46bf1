"""Real kills, a full disk, damaged stages, too little memory, a clock that jumps: nothing finished is lost or doubled.

PASER_OPT_KILLS=100 makes the kill tests here and in test_rungs.py long.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import optuna
import psutil
import pytest
from command import Running

import paser_opt as package
from paser_opt.catalog import load_device, load_study
from paser_opt.cli.live import _Silent as Unwatched
from paser_opt.cost.local import LocalBench
from paser_opt.errors import RunError
from paser_opt.runs import RunFolder
from paser_opt.search import search
from paser_opt.search.executors import Subprocesses

KILLS = int(os.environ.get("PASER_OPT_KILLS", "2"))
TRIALS = max(5, KILLS // 4)


def run(study, folder, trials, **options):
    return search(
        study, folder, device=load_device("cpu"), trials=trials, timeout_s=None, watcher=Unwatched(), **options
    )


def outcome(folder: RunFolder):
    """What must not depend on how often the search was stopped."""
    return [(one.number, one.state, one.params, one.values, one.tag) for one in folder.trials()]


def states(folder) -> list[str]:
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder / 'study.db'}")
    return [one.state.name for one in study.trials]


def command(tiny_toml, folder, trials, *more) -> list[str]:
    return ["search", str(tiny_toml), "--out", str(folder), "--trials", str(trials), *more]


def workers_of(process: Running) -> list[psutil.Process]:
    try:
        children = psutil.Process(process.pid).children()
        return [one for one in children if "paser_opt.search.worker" in one.cmdline()]
    except psutil.Error:
        return []


def wait_until(condition, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def alive(processes) -> list[psutil.Process]:
    def lives(one: psutil.Process) -> bool:
        try:
            return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:  # between the two
            return False

    return [one for one in processes if lives(one)]


@pytest.fixture
def finished(tiny_run):
    """The same study, never interrupted."""
    return tiny_run


@pytest.mark.timeout(240 + 20 * KILLS)
def test_a_killed_driver_loses_nothing_and_doubles_nothing(
    tiny_toml, long_trials, run_folder, start, paser_opt, kill_at_random
):
    study, folder, seen = long_trials(tiny_toml), run_folder(), {}

    def check() -> None:
        after = {one.number: one for one in RunFolder(folder).trials()}
        assert {number: after[number].values for number in seen} == seen
        seen.update({number: one.values for number, one in after.items()})

    total = kill_at_random(lambda trials: start(*command(study, folder, trials)), 5, random.Random(0), check)
    finish = paser_opt(*command(study, folder, total, "-q"))
    assert finish.returncode == 0, finish.stderr
    whole = run(load_study(str(study)), run_folder("whole"), trials=total)
    assert outcome(RunFolder.open(folder)) == outcome(whole)
    assert states(folder) == ["COMPLETE"] * total


@pytest.mark.timeout(240 + 20 * KILLS)
def test_killed_workers_and_drivers_of_a_parallel_search(tiny_toml, run_folder, start, finished):
    folder = run_folder()
    draw = random.Random(1)
    total, kills = TRIALS, 0

    def search_it() -> Running:
        return start(*command(tiny_toml, folder, total, "-q", "--workers", "2"))

    process = search_it()
    while kills < KILLS:
        time.sleep(draw.uniform(0.5, 6.0))
        if process.poll() is not None:  # too quick for us: more trials
            assert process.returncode == 0, process.said()
            total += 2
            process = search_it()
            continue
        workers = workers_of(process)
        if workers and draw.random() < 0.7:
            draw.choice(workers).kill()
        else:
            process.kill()
            process.wait()
            # Children die with their parent, or once they have loaded torch, which takes a busy machine its time.
            wait_until(lambda workers=workers: not alive(workers), 60)
            process = search_it()
        kills += 1
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    trials = RunFolder.open(folder).trials()
    assert [one.number for one in trials] == list(range(total))
    assert len(states(folder)) == total
    assert all(one.state == "complete" or "3 times" in one.reason for one in trials)
    # What was tried first does not depend on what else was known: same parameters, same values, wherever it ran.
    alike = zip(outcome(RunFolder(folder))[:3], outcome(finished)[:3], strict=True)
    assert all(a == b for a, b in alike if a[1] == "complete")


def test_a_killed_worker_is_a_retry_that_the_record_shows(tiny_study, run_folder):
    killed = []

    class Killing(Subprocesses):
        def submit(self, job, progress):
            future = super().submit(job, progress)
            if not killed:
                worker = wait_until(lambda: [one for one in self.processes if one])[0]
                worker.kill()
                killed.append(job.record.number)
            return future

    trials = run(tiny_study, run_folder(), 2, executor=partial(Killing, workers=1)).trials()
    assert [one.state for one in trials] == ["complete"] * 2
    assert [one.warnings for one in trials if one.warnings] == [
        ["attempt 2: its worker process was ended by SIGKILL, as the system does where memory runs out"]
    ]


def test_a_trial_whose_worker_always_dies_is_failed_and_the_search_goes_on(tiny_study, run_folder):
    class Deadly(Subprocesses):
        def submit(self, job, progress):
            future = super().submit(job, progress)
            if job.record.number == 0:
                wait_until(lambda: [one for one in self.processes if one])[0].kill()
                wait_until(future.done)
            return future

    trials = run(tiny_study, run_folder(), 2, executor=partial(Deadly, workers=1)).trials()
    assert [one.state for one in trials] == ["failed", "complete"]
    assert trials[0].reason.endswith("3 times")
    assert [one.split(":")[0] for one in trials[0].warnings] == ["attempt 2", "attempt 3"]


def test_nothing_is_measured_beside_a_trial(tiny_study, tmp_path, monkeypatch):
    running, beside = set(), []
    measure = LocalBench.measure

    def watched(self, *arguments, **options):
        beside.append(len(running))
        return measure(self, *arguments, **options)

    class Counted(Subprocesses):
        def submit(self, job, progress):
            running.add(job.record.number)
            future = super().submit(job, progress)
            future.add_done_callback(lambda _: running.discard(job.record.number))
            return future

    monkeypatch.setattr(LocalBench, "measure", watched)
    run(tiny_study, tmp_path / "run", 3, executor=partial(Counted, workers=2))
    assert len(beside) > 1
    assert not any(beside)


def test_ctrl_c_of_a_parallel_search_ends_its_workers_and_goes_on(tiny_toml, run_folder, start, paser_opt):
    folder = run_folder()
    process = start(*command(tiny_toml, folder, 20, "--workers", "2"), leader=True)
    wait_until(lambda: len(list(folder.glob("trials/*/trial.json"))) >= 2)
    workers = workers_of(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "paser-opt: stopped; the same command goes on from here"
    assert "Traceback" not in errors
    assert workers
    wait_until(lambda: not alive(workers), 10)
    done = len(RunFolder(folder).trials()) + 1
    again = paser_opt(*command(tiny_toml, folder, done, "-q", "--workers", "2"))
    assert again.returncode == 0, again.stderr
    assert states(folder) == ["COMPLETE"] * done


def test_ctrl_c_ends_the_workers_of_a_comparison(tiny_copy, start):
    before = len(list(tiny_copy.artifacts.glob("distill*")))
    options = ("--trial", "2", "--seeds", "64", "--models", "0", "--workers", "2")
    process = start("compare", tiny_copy.path, *options, leader=True)
    wait_until(lambda: len(list(tiny_copy.artifacts.glob("distill*"))) > before + 1)
    workers = workers_of(process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "paser-opt: stopped; the same command goes on from here"
    assert "Traceback" not in errors
    assert len(workers) == 2
    wait_until(lambda: not alive(workers), 10)


def test_damaged_stages_are_made_again(tiny_study, run_folder, finished):
    folder = run_folder()
    run(tiny_study, folder, 2)
    for number, file in enumerate(sorted(folder.glob("artifacts/*.safetensors"))):
        content = bytearray(file.read_bytes())
        content[-1] ^= 255
        file.write_bytes(content[: len(content) - number % 2])  # a flipped bit, or an end that is missing
    assert outcome(run(tiny_study, folder, 3)) == outcome(finished)[:3]


FULL = """
mount -t tmpfs -o size=300k tmpfs "$0" && mkdir "$0/run" && cp -r "$1" "$0/run/profiles" || exit 77
shift
exec "$@"
"""
TWICE = """
import os, subprocess, sys
from command import LOADED, few_samples
from importlib import import_module
disk, *sys.argv = sys.argv[1:]
for name in LOADED:
    import_module(name)
from paser_opt.cli import main
few_samples()
for attempt in range(2):
    if attempt:
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
    if not (child := os.fork()):
        main()
    print("code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
print(open(f"{disk}/run/front.json").read())
"""
"""The command while the disk is full and when it is not, each in a process of its own; torch is loaded once."""


def test_a_full_disk_is_one_line_and_the_search_goes_on_when_there_is_room(tiny_toml, run_folder, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed")
    search_it = ["paser-opt", *command(tiny_toml, disk / "run", 1, "-q")]
    process = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FULL, disk, run_folder() / "profiles",
         sys.executable, "-c", TWICE, disk, *search_it],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    if process.returncode in (1, 77) and "code" not in process.stdout:
        pytest.skip("mounting a small disk is not permitted here")
    first, second, *front = process.stdout.splitlines()
    assert (first, second) == ("code 2", "code 0"), process.stderr
    assert re.search("paser-opt: .*(No space left on device|database or disk is full)", process.stderr)
    assert "Traceback" not in process.stderr
    assert json.loads("".join(front))


def test_a_database_that_lost_trials_is_refused(tiny_study, run_folder):
    folder = run_folder()
    run(tiny_study, folder, 1)
    for file in folder.glob("study.db*"):
        file.unlink()
    with pytest.raises(RunError, match=r"lacks trials that .* holds: bring the database back"):
        run(tiny_study, folder, 2)


def test_a_run_of_an_older_version_opens(tiny_study, run_folder, finished):
    folder = run_folder()
    run(tiny_study, folder, 1)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for name in ("storage", "storage_name", "source"):
        del record[name]
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert outcome(run(tiny_study, folder, 2)) == outcome(finished)[:2]


def test_trials_in_a_database_elsewhere_are_the_same(tiny_study, run_folder, tmp_path, finished):
    folder, url = run_folder(), f"sqlite:///{tmp_path / 'elsewhere.db'}"
    run(tiny_study, folder, 2, storage=url)
    assert outcome(run(tiny_study, folder, 3, storage=url)) == outcome(finished)[:3]
    assert not (folder / "study.db").exists()
    with pytest.raises(RunError, match="keeps its trials in sqlite:"):
        run(tiny_study, folder, 4)
    second = run_folder("second")  # of the same name, in the same database: another study
    assert outcome(run(tiny_study, second, 1, storage=url)) == outcome(finished)[:1]


def test_durations_come_from_a_clock_that_does_not_jump():
    sources = {path: path.read_text(encoding="utf-8") for path in Path(package.__file__).parent.rglob("*.py")}
    assert len(sources) > 100
    assert [str(path) for path, text in sources.items() if re.search(r"\btime\.time\(", text)] == []
