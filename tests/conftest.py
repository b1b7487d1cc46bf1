"""What several rooms' tests share: a study so small that a trial takes a second."""

import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest
import torch
from command import few_samples, run_command

from paser_opt.catalog import load_device, load_study
from paser_opt.progress import Silent
from paser_opt.search import profile_study

# Tests are small: two threads wait for each other more than they work. Processes that tests start must round alike.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


few_samples()

LONG = ("test_docs_commands.py", "test_commands.py", "test_survival.py", "test_wheel.py", "test_rungs.py")
"""Files that take a minute or more go first, or one core waits for the other at the end."""


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
def tiny_toml(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_study(tiny_toml):
    return load_study(str(tiny_toml))


@pytest.fixture(scope="session")
def tiny_profile(tiny_study, tmp_path_factory) -> str:
    """This machine's profile of the tiny study as JSON, so that runs in different folders price alike."""
    path = tmp_path_factory.mktemp("profile") / "cpu.json"
    profile_study(tiny_study, load_device("cpu"), path, energy=True, progress=Silent())
    return path.read_text(encoding="utf-8")


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
def paser_opt(tmp_path_factory):
    """The command in a process of its own: paser_opt("search", …) → CompletedProcess.

    It is forked from a server that holds torch and the rest already, which takes seconds to load.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(
        ["paser_opt.experiments.study", "paser_opt.report.page", "optuna.storages._rdb.models", "alembic.command",
         "codecarbon", "onnxruntime"]
    )  # fmt: skip

    def call(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("said")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **(env or {})}
        command = [str(one) for one in arguments]
        process = server.Process(target=run_command, args=(command, environment, str(folder)))
        process.start()
        process.join(200)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"paser-opt {' '.join(command)}: 200 s")
        said = [(folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(command, process.exitcode or 0, *said)

    return call
