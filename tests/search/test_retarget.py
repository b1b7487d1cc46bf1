"""Another device from a finished run: nothing changes where costs do not, and no UNet is trained where they do."""

import shutil
import signal
import time

import pytest
import torch

from paser_opt.catalog import load_device
from paser_opt.cli.live import _Silent as Unwatched
from paser_opt.config import Device, Figure
from paser_opt.cost.bench import NOT_ASKED
from paser_opt.cost.energy import no_energy
from paser_opt.data import load
from paser_opt.errors import ConfigError, DeviceError, RunError
from paser_opt.export import stored_pipeline
from paser_opt.pareto import front
from paser_opt.progress import Silent
from paser_opt.runs import RunFolder
from paser_opt.search import retarget, search
from paser_opt.train import ArtifactStore, restore_pipeline

CPU = load_device("cpu")
# Slow to compute and quick to move: costs are in other proportions than on any processor.
BOARD = Device(
    name="board",
    kind="jetson",
    peak_flops_per_s=Figure(value=1e7, source="a sheet"),
    memory_bytes_per_s=Figure(value=1e15, source="a sheet"),
)


def for_board(run: RunFolder, out, device=BOARD) -> RunFolder:
    return retarget(run, out, device=device, watcher=Unwatched(), estimate=True)


@pytest.fixture(scope="module")
def run(tiny_copy) -> RunFolder:
    return tiny_copy


@pytest.fixture(scope="module")
def board(run) -> tuple[RunFolder, set[str]]:
    """The run for the board, and what was in the source's store before."""
    before = unets(run)
    return for_board(run, run.path.with_name("run-board")), before


@pytest.fixture
def copy(run, tmp_path) -> RunFolder:
    shutil.copytree(run.path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def unets(run: RunFolder) -> set[str]:
    return {file.name for file in run.artifacts.iterdir() if file.name.startswith(("pretrain", "distill", "finetune"))}


def outcome(run: RunFolder):
    """All that a trial says, but for when and how long."""
    moments = {"started", "seconds", "clock_s", "stages", "measured_latency", "measured_pace"}
    return [trial.model_dump(exclude=moments) for trial in run.trials()]


def test_an_unchanged_device_gives_the_very_same_run(run, tmp_path):
    again = retarget(run, tmp_path / "again", device=CPU, watcher=Unwatched())
    assert outcome(again) == outcome(run)
    assert again.profiles() == run.profiles()


def test_what_was_measured_without_energy_is_not_measured_again(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    source = RunFolder(tmp_path / "run")
    profile = source.profiles()["cpu"]
    without = no_energy(NOT_ASKED)
    entries = {key: one.model_copy(update={"energy": without}) for key, one in profile.entries.items()}
    profile.model_copy(update={"entries": entries}).write(source.profile_file("cpu"))
    again = retarget(source, tmp_path / "again", device=CPU, watcher=Unwatched())
    assert again.profiles() == source.profiles()
    assert [one.weights for one in again.trials()] == [one.weights for one in run.trials()]


def test_another_device_keeps_the_unets_and_retrains_policies_for_its_costs(run, board, tmp_path):
    made, before = board
    trials = made.trials()
    assert [trial.number for trial in trials] == [trial.number for trial in run.trials()]
    assert unets(run) == before
    assert unets(made) <= before
    for old, new in zip(run.trials(), trials, strict=True):
        models = [name for name in old.weights if name != "policy"]
        assert [new.weights[name] for name in models] == [old.weights[name] for name in models]
        # Parameters cost the same everywhere; a latency is of its device.
        same = new.pipeline.reward_cost == "params"
        assert (new.cost_per_patch == old.cost_per_patch) is same
        assert (new.weights["policy"] == old.weights["policy"]) is same
        assert new.val.cost.latency_s.how == "estimated"
        assert new.values == {"iou": new.val.iou, "latency": new.val.cost.latency_s.value}
    assert {trial.pipeline.reward_cost for trial in trials} == {"params", "latency"}
    members = front([trial.values for trial in trials], ["iou", "latency"])
    assert [trial.test is not None for trial in trials] == [i in members for i in range(len(trials))]
    record = made.run()
    assert (record.study.device, record.source, record.finished) == ("board", "run", True)
    assert record.gallery


def test_on_val_no_policy_earns_less_than_it_would_have(run, board, tiny_study):
    """The policy as it came is a candidate, judged by the reward of the new costs."""
    data = load(tiny_study.data, progress=Silent())
    for old, new in zip(run.trials(), board[0].trials(), strict=True):
        earned = []
        for trial in (old, new):
            trained = restore_pipeline(
                trial.pipeline, data, ArtifactStore(run.artifacts), new.cost_per_patch, trial.weights,
                device=torch.device("cpu"), progress=Silent(),
            )  # fmt: skip
            table = trained.tables("val")
            reward = trained.bandit(table).reward  # (N, P, M)
            earned.append(reward.gather(-1, trained.route(table)[..., None]).mean().item())
        assert earned[1] >= earned[0]


def test_the_run_stands_alone(board, tmp_path):
    moved = RunFolder(tmp_path / "elsewhere")
    shutil.copytree(board[0].path, moved.path)
    for trial in moved.trials():
        stored_pipeline(moved, trial)


def test_it_goes_on_where_it_stopped(run, board, tmp_path):
    made, _ = board
    out = RunFolder(tmp_path / "cut")
    shutil.copytree(made.path, out.path)
    shutil.rmtree(out.trial_folder(2))
    kept = out.trial_file(1).stat().st_mtime_ns
    assert outcome(for_board(run, out.path)) == outcome(made)
    assert out.trial_file(1).stat().st_mtime_ns == kept


def test_a_kill_loses_nothing(run, board, tmp_path, start, paser_opt):
    toml = tmp_path / "board.toml"
    toml.write_text(
        'name = "board"\nkind = "jetson"\npeak_flops_per_s = { value = 1e7, source = "a sheet" }\n'
        'memory_bytes_per_s = { value = 1e15, source = "a sheet" }\n'
    )
    out = RunFolder(tmp_path / "out")
    command = [str(run.path), "--device", str(toml), "--estimate", "--out", str(out.path), "--quiet"]
    process = start("retarget", *command)
    while not out.trial_file(0).is_file():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = paser_opt("retarget", *command)
    assert done.returncode == 0, done.stderr
    assert outcome(out) == outcome(board[0])
    assert out.report.is_file()


def test_over_the_budget_of_the_device_is_pruned(copy, tmp_path):
    record = copy.run()
    budget = record.study.budget.model_copy(update={"max_latency_s": 1e-12})
    record.model_copy(update={"study": record.study.model_copy(update={"budget": budget})}).write(copy.run_file)
    trials = for_board(copy, tmp_path / "out").trials()
    assert {trial.state for trial in trials} == {"pruned"}
    assert "over the budget of latency" in trials[0].reason
    assert trials[0].val is None and trials[0].values == {}


def test_what_cannot_be_is_one_line(run, copy, board, tiny_study, tmp_path):
    with pytest.raises(RunError, match="holds another run; give --out"):
        for_board(run, run.path)
    with pytest.raises(RunError, match="holds another run; give --out"):
        for_board(copy, copy.path)
    with pytest.raises(RunError, match="was retargeted from run: search on there"):
        search(tiny_study, board[0].path, device=BOARD, trials=5, timeout_s=None, watcher=Unwatched(), estimate=True)
    with pytest.raises(DeviceError, match="is not this machine"):
        retarget(run, tmp_path / "out", device=BOARD, watcher=Unwatched())
    with pytest.raises(ConfigError, match="onnx-int8"):
        for_board(run, tmp_path / "out", device=BOARD.model_copy(update={"runtime": "onnx-int8"}))
    record = copy.run()
    changed = record.data.model_copy(update={"fingerprint": "other"})
    record.model_copy(update={"data": changed}).write(copy.run_file)
    with pytest.raises(RunError, match=f"data has changed since {copy.path}"):
        for_board(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_gone_are_named(copy, tmp_path):
    ArtifactStore(copy.artifacts).path(copy.trials()[0].weights["f_1"]).unlink()
    with pytest.raises(RunError, match=f"the weights of f_1 are not in {copy.artifacts}"):
        for_board(copy, tmp_path / "out")
