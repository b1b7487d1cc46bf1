"""One suite for every executor: what a trial gives must not depend on where it ran."""

import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from paser_opt.catalog import load_device
from paser_opt.config import PipelineConfig
from paser_opt.cost import open_bench, open_profile
from paser_opt.data import load
from paser_opt.errors import RunError
from paser_opt.progress import Silent
from paser_opt.records import TrialRecord
from paser_opt.search.attempt import Job
from paser_opt.search.executors import Here, LostError, Subprocesses
from paser_opt.search.objective import Bench, price
from paser_opt.search.space import cover
from paser_opt.train import ArtifactStore

EXECUTORS = ["here", "subprocesses", "ray"]


@pytest.fixture
def bench(tiny_study, run_folder):
    folder = run_folder()
    (folder / "run.json").write_text("{}", encoding="utf-8")  # workers look whether they see it
    return Bench(
        study=tiny_study, data=load(tiny_study.data, progress=Silent()), store=ArtifactStore(folder / "artifacts"),
        profile=open_profile(folder / "profiles" / "cpu.json", open_bench(load_device("cpu"))),
        training_device=torch.device("cpu"), progress=Silent(),
    )  # fmt: skip


@pytest.fixture(params=EXECUTORS)
def make(request, bench, monkeypatch):
    """(bench) → executor, closed at the end."""
    kinds = {"here": Here, "subprocesses": partial(Subprocesses, workers=2)}
    if request.param == "ray":
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'paser-opt[ray]'")
        from paser_opt.search.executors.on_ray import OnRay

        monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
        kinds["ray"] = partial(OnRay, address="local", workers=2, cpus=1, gpus=0)
    opened = []

    def start(bench):
        opened.append(kinds[request.param](bench, bench.store.folder.parent / "run.json"))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def pipeline(bench) -> PipelineConfig:
    return next(iter(cover(bench.study, channels=bench.data.channels, classes=bench.data.classes)))


def job(bench, config: PipelineConfig, number: int = 0) -> Job:
    record = TrialRecord(
        number=number, state="complete", params={}, pipeline=config, started="", seconds=0.0, clock_s=0.0
    )
    return Job(record, price(config, bench))


def children() -> list[psutil.Process]:
    """Processes at work on trials, however deep."""
    found = psutil.Process().children(recursive=True)
    return [one for one in found if _works(one)]


def _works(process: psutil.Process) -> bool:
    try:
        title = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "paser_opt.search.worker" in title or title.startswith("ray::_run")


def wait_for(condition, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_the_same_trial_gives_the_same_record_everywhere(make, bench, tmp_path):
    config = pipeline(bench)
    elsewhere = replace(bench, store=ArtifactStore(tmp_path / "elsewhere"))
    wanted = Here(elsewhere, tmp_path).submit(job(elsewhere, config), Silent()).result()
    executor = make(bench)
    futures = [executor.submit(job(bench, config, number), Silent()) for number in range(2)]
    for number, future in enumerate(futures):
        outcome = future.result(timeout=120)
        assert outcome.record.number == number
        assert outcome.record.val == wanted.record.val
        assert outcome.record.values == wanted.record.values
        assert outcome.record.weights == wanted.record.weights
        assert outcome.histories == wanted.histories


def test_a_diverged_training_is_a_failed_trial(make, bench):
    wild = bench.study.training.model_copy(update={"learning_rate": 1e30, "precision": "fp32", "pretrain_epochs": 3})
    config = pipeline(bench)
    models = tuple(one.model_copy(update={"norm": "none"}) for one in config.models)
    outcome = make(bench).submit(job(bench, config.model_copy(update={"training": wild, "models": models})), Silent())
    record = outcome.result(timeout=120).record
    assert record.state == "failed"
    assert "diverged in epoch" in record.reason


def test_a_disk_that_refuses_is_the_very_error(make, bench):
    bench.store.folder.write_text("no folder", encoding="utf-8")
    with pytest.raises(OSError) as raised:
        make(bench).submit(job(bench, pipeline(bench)), Silent()).result(timeout=120)
    assert isinstance(raised.value, FileExistsError | NotADirectoryError)


def test_a_run_that_workers_do_not_see_is_said(make, bench, request):
    if "here" in request.node.name:
        pytest.skip("the driver's own process sees its own files")
    (bench.store.folder.parent / "run.json").unlink()
    with pytest.raises(RunError, match="storage that every node has"):
        make(bench).submit(job(bench, pipeline(bench)), Silent()).result(timeout=120)


def test_a_killed_worker_loses_its_own_trial_only(make, bench, request):
    if "here" in request.node.name:
        pytest.skip("the driver's own process")
    executor = make(bench)
    long = bench.study.training.model_copy(update={"pretrain_epochs": 100_000})
    endless = executor.submit(job(bench, pipeline(bench).model_copy(update={"training": long})), Silent())
    worker = wait_for(children)[0]
    beside = executor.submit(job(bench, pipeline(bench), 1), Silent())
    assert beside.result(timeout=120).record.state == "complete"
    worker.send_signal(signal.SIGKILL)
    with pytest.raises(LostError, match=r"SIGKILL|Ray lost"):
        endless.result(timeout=120)
    assert executor.submit(job(bench, pipeline(bench), 2), Silent()).result(timeout=120).record.state == "complete"


def test_closing_ends_what_runs(make, bench, request):
    if "here" in request.node.name:
        pytest.skip("nothing runs once submit has returned")
    executor = make(bench)
    long = bench.study.training.model_copy(update={"pretrain_epochs": 100_000})
    executor.submit(job(bench, pipeline(bench).model_copy(update={"training": long})), Silent())
    wait_for(children)
    executor.close()
    wait_for(lambda: not children(), 20)


def test_too_little_memory_is_a_failed_trial_and_the_worker_goes_on(bench):
    config = pipeline(bench)
    huge = config.models[2].model_copy(update={"base": 256, "depth": 3})
    wanted = job(bench, config)
    beyond = Job(
        wanted.record, replace(wanted.priced, config=config.model_copy(update={"models": (*config.models[:2], huge)}))
    )
    executor = Subprocesses(bench, bench.store.folder.parent / "run.json", workers=1)
    executor.memory_bytes = 800 * 2**20
    try:
        record = executor.submit(beyond, Silent()).result(timeout=120).record
        assert record.state == "failed"
        assert record.reason.startswith("out of memory")
        assert executor.submit(wanted, Silent()).result(timeout=120).record.state == "complete"
    finally:
        executor.close()


def test_a_ray_node_that_dies_loses_its_own_trial_only(bench, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'paser-opt[ray]'")
    from ray.cluster_utils import Cluster

    from paser_opt.search.executors.on_ray import OnRay

    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    cluster.wait_for_nodes()
    executor = OnRay(
        bench, bench.store.folder.parent / "run.json", address=cluster.address, workers=None, cpus=1, gpus=0
    )
    try:
        assert executor.workers == 2  # as many as fit
        long = pipeline(bench).model_copy(
            update={"training": bench.study.training.model_copy(update={"pretrain_epochs": 100_000})}
        )
        futures = [executor.submit(job(bench, long, number), Silent()) for number in range(2)]
        wait_for(lambda: len(children()) == 2)
        cluster.remove_node(nodes[0], allow_graceful=False)
        lost = wait_for(lambda: [one for one in futures if one.done()])
        with pytest.raises(LostError, match="the node it was running on is dead"):
            lost[0].result()
        assert len(lost) == 1
    finally:
        executor.close()
        cluster.shutdown()
