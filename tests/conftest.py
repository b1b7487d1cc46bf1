"""What several rooms' tests share: a study so small that a trial takes a second."""

import getpass
import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path

import pytest
import torch
from command import LOADED, Running, few_samples
from filelock import FileLock

from paser_opt.catalog import load_device, load_study
from paser_opt.cli.live import _Silent as Unwatched
from paser_opt.progress import Silent
from paser_opt.records import write_text
from paser_opt.runs import RunFolder
from paser_opt.search import profile_study, search

# Tests are small: two threads wait for each other more than they work. Processes that tests start must round alike.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


few_samples()

if "PYTEST_XDIST_WORKER" in os.environ:
    # Measurements wait for each other by a lock in here: tests at once need not, what they measure is of no interest.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/torchinductor_{getpass.getuser()}")
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="paser-opt-tests-")
    # After multiprocessing has removed its own folder in there (at -100).
    Finalize(None, shutil.rmtree, args=[tempfile.tempdir], kwargs={"ignore_errors": True}, exitpriority=-200)

LONG = (
    "test_survival.py", "test_commands.py", "test_docs_commands.py", "test_report_page.py", "test_rungs.py",
    "test_executors.py", "test_cost_remote.py", "test_wheel.py",
)  # fmt: skip
"""Files that take half a minute or more go first, or one core waits for the other at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


TINY = """
name = "tiny"
objectives = ["iou", "latency"]
trials = 5
rungs = []
norm = "batch"
dropout = 0.1
[data]
kind = "synthetic"
count = 14
size = [32, 32]
[training]
pretrain_epochs = 1
distill_epochs = 1
policy_epochs = 4
finetune_epochs = 1
[space]
cost_weight = { low = 0.01, high = 0.9, log = true }
mc_samples = [0, 2, 5]
grid = ["2x2", "4x4"]
distill_weight = [0.01, 0.1]
reward_cost = ["latency", "params"]
[[space.models]]
base = 4
depth = 1
scale = [1.0, 0.5]
[[space.models]]
base = 4
depth = 1
[[space.models]]
base = [6, 8]
depth = 1
"""


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """once(name, make) → a folder that ``make(folder)`` filled, the same one in all of xdist's processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = shared / name
        with FileLock(shared / f"{name}.lock"):
            if not (folder / "done").is_file():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                (folder / "done").touch()
        return folder

    return made


@pytest.fixture(scope="session")
def tiny_toml(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_study(tiny_toml):
    return load_study(str(tiny_toml))


@pytest.fixture(scope="session")
def tiny_profile(tiny_study, once) -> str:
    """This machine's profile of the tiny study as JSON, so that runs in different folders price alike."""

    def make(folder: Path) -> None:
        profile_study(tiny_study, load_device("cpu"), folder / "cpu.json", energy=True, progress=Silent())

    return (once("profile", make) / "cpu.json").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_run(tiny_study, tiny_profile, once) -> RunFolder:
    """The tiny study's five trials, never interrupted. To be read only: tests that add to it take a copy."""

    def make(folder: Path) -> None:
        write_text(folder / "run" / "profiles" / "cpu.json", tiny_profile)
        search(
            tiny_study, folder / "run", device=load_device("cpu"), trials=5, timeout_s=None, watcher=Unwatched()
        )  # fmt: skip

    return RunFolder.open(once("finished", make) / "run")


@pytest.fixture(scope="module")
def tiny_copy(tiny_run, tmp_path_factory) -> RunFolder:
    """tiny_run for the tests of one file to add to."""
    folder = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(tiny_run.path, folder)
    return RunFolder.open(folder)


@pytest.fixture
def run_folder(tmp_path, tiny_profile):
    """A new run folder that holds the profile already."""

    def make(name: str = "run") -> Path:
        folder = tmp_path / name
        (folder / "profiles").mkdir(parents=True)
        (folder / "profiles" / "cpu.json").write_text(tiny_profile, encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def start(tmp_path_factory) -> Callable[..., Running]:
    """start("search", …) → the command, at work in a process of its own.

    It is forked from a server that holds torch and the rest already, which takes seconds to load.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(list(LOADED))

    def begin(*arguments: object, **options: object) -> Running:
        return Running(server, [str(one) for one in arguments], tmp_path_factory.mktemp("said"), **options)

    return begin


@pytest.fixture(scope="session")
def paser_opt(start):
    """The command in a process of its own: paser_opt("search", …) → CompletedProcess."""

    def call(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        process = start(*arguments, env=env)
        said = process.communicate(200)
        return subprocess.CompletedProcess(process.args, process.returncode, *said)

    return call
