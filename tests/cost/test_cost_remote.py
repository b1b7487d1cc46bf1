"""Boards over ssh: against a real sshd on this machine, run as whoever runs the tests."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from ssh_server import Server, needs_sshd, until
from torch import Tensor, nn

from paser_opt.config import Device
from paser_opt.cost import remote as remote_module
from paser_opt.cost.bench import EFFORT
from paser_opt.cost.local import LocalBench
from paser_opt.cost.reach import reach
from paser_opt.cost.remote import RemoteBench
from paser_opt.cost.runtimes.onnx import opset_for
from paser_opt.cost.ssh import Limits, _decoded
from paser_opt.cost.workload import Workload
from paser_opt.errors import ConfigError, DeviceError
from paser_opt.progress import Silent
from paser_opt.records import Entry

QUICK = Limits(connect_s=5, silence_s=60.0)


@pytest.mark.parametrize(("version", "opset"), [("1.8.1", 14), ("1.10.0", 15), ("1.11.1", 16), ("1.22.0", 17)])
def test_an_old_onnx_runtime_gets_an_opset_it_reads(version: str, opset: int) -> None:
    assert opset_for(version) == opset


def test_an_onnx_runtime_that_is_too_old_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"onnxruntime 1\.6\.0 is too old: 1\.8 or newer"):
        opset_for("1.6.0")


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"runtime": "compile"}, DeviceError, "runtime compile runs on this machine; over ssh: auto, onnx"),
        ({"precision": "fp16"}, DeviceError, "over ssh models run in fp32: leave --precision fp16 out"),
        ({"meters": ("ralp",)}, ConfigError, "no meter 'ralp'; known: codecarbon"),
        ({"host": "-oProxyCommand=x"}, ValueError, "host"),
    ],
)
def test_what_cannot_travel_is_refused_before_anything_is_sent(
    keys: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        RemoteBench(Device.model_validate({"name": "x", "host": "nowhere.invalid", **keys}))


# --- a board ------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    one = Server(tmp_path)
    monkeypatch.setenv("PASER_OPT_SSH", one.ssh)
    monkeypatch.setattr(remote_module, "EFFORT", EFFORT._replace(min_samples=6, max_samples=12))
    yield one
    try:
        until(lambda: not one.agents())  # whatever happened, nothing of ours runs on
    finally:
        one.stop()


def device(**keys: object) -> Device:
    return Device.model_validate({"name": "here", "local": True, "host": "board", "python": sys.executable, **keys})


class Pick(nn.Module):
    """A convolution of the images at an index."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)

    def forward(self, images: Tensor, index: Tensor) -> Tensor:
        result: Tensor = self.convolution(images[index])
        return result


def loads() -> list[Workload]:
    images, pick = torch.randn(4, 1, 24, 24), Pick()
    return [Workload(f"n{n}", pick, (images, torch.arange(4)[4 - n :]), n) for n in (1, 4)]


def measure(bench: RemoteBench | LocalBench, progress: Silent | None = None) -> list[Entry]:
    return list(bench.measure(loads(), known={}, progress=progress or Silent(), energy=True))


@needs_sshd
@pytest.mark.parametrize("runtime", ["auto", "torchscript"])
def test_a_board_is_measured_like_this_machine_and_keeps_nothing(server: Server, runtime: str) -> None:
    server.start("ForceCommand echo Welcome aboard; eval $SSH_ORIGINAL_COMMAND")
    bench = RemoteBench(device(runtime=runtime, threads=1, meters=["rapl", "codecarbon"]))
    assert bench.machine.runtime == {"auto": "onnx"}.get(runtime, runtime)
    local = LocalBench(Device(name="here", local=True, threads=1))
    same = {"device", "system", "processor", "cores", "threads", "memory_bytes", "accelerator", "precision"}
    assert bench.machine.model_dump(include=same) == local.machine.model_dump(include=same)
    assert {"python", "onnxruntime" if runtime == "auto" else "torch"} <= set(bench.machine.versions)
    for there, here in zip(measure(bench), measure(local), strict=True):
        counted = {"key", "batch", "params", "macs", "uncounted", "work"}
        assert there.model_dump(include=counted) == here.model_dump(include=counted)
        assert 6 <= there.latency.samples <= 12 and there.latency.how == "measured"
        assert 0 < there.latency.low_s <= there.latency.median_s <= there.latency.high_s
        assert there.memory.weight_bytes == here.memory.weight_bytes == 4 * (4 * 9 + 4)
        assert there.memory.peak_bytes is None and there.memory.reason
        assert there.energy.gross_j is None and there.energy.reason
        assert "codecarbon: works only where paser-opt itself runs" in there.energy.reason
    assert not list(server.home.iterdir()) and not list(server.tmp.iterdir())


@needs_sshd
def test_energy_is_metered_on_the_board(server: Server, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "vcgencmd"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "A_A current(0)=2.0A\nA_V volt(1)=1.5V"\n')
    tool.chmod(0o755)
    server.start(PATH=f"{tool.parent}:/usr/bin:/bin")
    bench = RemoteBench(device(meters=["pmic"]))
    assert bench.meter == "pmic"
    (entry,) = bench.measure(loads()[:1], known={}, progress=Silent(), energy=True)
    assert entry.energy.how == "sampled" and entry.energy.source.startswith("pmic: A, ")
    assert entry.energy.idle_w == pytest.approx(3.0)
    assert entry.energy.gross_j is not None and entry.energy.samples >= 3
    (entry,) = bench.measure(loads()[:1], known={}, progress=Silent(), energy=False)
    assert (entry.energy.gross_j, entry.energy.reason) == (None, "energy was not asked for")


# --- what goes wrong --------------------------------------------------------------------------------------


def refused(*words: str, limits: Limits = QUICK, **keys: object) -> None:
    begun = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        RemoteBench(device(**keys), limits=limits)
    said = str(caught.value)
    assert said.startswith("board: ") and "\n" not in said
    for word in words:
        assert word in said
    assert time.monotonic() - begun < 30


@needs_sshd
@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"host_key": "other"}, ("its host key is another than the known one", "ssh-keygen -R board")),
        ({"host_key": None}, ("its host key is not known here: ssh board by hand once",)),
        ({"user_key": "stranger"}, ("accepts no key of this machine", "ssh-copy-id board")),
        ({"name": "nowhere.invalid"}, ("no machine of that name is known",)),
    ],
)
def test_ssh_refuses(server: Server, user: dict[str, str], words: tuple[str, ...]) -> None:
    server.start()
    server.configure(**user)  # type: ignore[arg-type]
    refused(*words)


@needs_sshd
def test_nothing_listens(server: Server) -> None:
    refused("has no ssh server on that port")


@needs_sshd
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ForceCommand yes", ("prints without end ('y')",)),
        ("ForceCommand head -c 3000000 /dev/urandom", ("prints without end",)),
        ("ForceCommand sleep 3", ("gave no sign of life for 1 s",)),
        ("ForceCommand echo Choose a menu; sleep 3", ("gave no sign of life for 1 s (it printed 'Choose a menu')",)),
        ("ForceCommand echo 'sh: write error: No space left on device' >&2; exit 1", ("its disk is full",)),
        ("ForceCommand echo Away. >&2; exit 3", ("ended with exit code 3: Away.",)),
        ("ForceCommand kill -9 $$", ("was killed",)),
    ],
)
def test_something_else_answers(server: Server, line: str, words: tuple[str, ...]) -> None:
    server.start(line)
    refused(*words, limits=Limits(connect_s=5, silence_s=1.0 if "sleep" in line else 20.0))


TIMING = {"median_s": 1.0, "p95_s": None, "low_s": 0.9, "high_s": 1.1, "samples": 6, "stable": True, "verdict": ""}
ENERGY = {"gross_j": None, "net_j": None, "how": None, "source": "none", "reason": "no sensor"}
ANSWER = {"timing": TIMING, "energy": ENERGY, "peak_bytes": None, "no_peak": ""}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"3\n", "answered what is no message"),
        (b"[1\n", "answered what is no message"),
        (json.dumps({**ANSWER, "timing": {**TIMING, "median_s": float("nan")}}).encode(), "timing.median_s: "),
        (json.dumps({**ANSWER, "timing": {**TIMING, "median_s": -1.0}}).encode(), "timing.median_s: "),
        (json.dumps({**ANSWER, "timing": {**TIMING, "low_s": 2.0}}).encode(), "timing: Value error, the median lies"),
        (json.dumps({**ANSWER, "energy": {**ENERGY, "gross_j": float("inf")}}).encode(), "energy.gross_j: "),
        (json.dumps({**ANSWER, "peak_bytes": "many"}).encode(), "peak_bytes: "),
        (b'{"timing": 1}', "timing: "),
        (b'{"stage": "latency"}', "total: Field required"),
        (b'{"done": -1}', "done: "),
    ],
)
@needs_sshd
def test_what_a_board_sends_is_checked(server: Server, line: bytes, words: str) -> None:
    server.start()
    bench = RemoteBench(device())
    with bench._connect() as board, pytest.raises(DeviceError) as caught:
        board._messages.put(_decoded(line))
        bench._answer(board, Silent())
    assert str(caught.value).startswith("board: answered what is no") and words in str(caught.value)


@needs_sshd
def test_a_board_that_is_another_one_the_next_time_is_refused(server: Server) -> None:
    server.start()
    bench = RemoteBench(device())
    bench.machine = bench.machine.model_copy(update={"processor": "Cortex-A78", "threads": 6})
    with pytest.raises(DeviceError, match=r"^board: its processor and threads changed since the first connection"):
        measure(bench)


@needs_sshd
def test_python_is_not_there(server: Server) -> None:
    server.start()
    refused("has no python3.99: sudo apt-get install python3", python="python3.99")


@needs_sshd
def test_no_runtime_is_there(server: Server, tmp_path: Path) -> None:
    shim = tmp_path / "shim"
    shim.mkdir()
    for name in ("onnxruntime", "torch"):
        (shim / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name={name!r})\n")
    server.start(PYTHONPATH=shim)
    refused("no runtime: onnxruntime is not installed; torch is not installed", "pip install onnxruntime there")
    refused("no runtime: torch is not installed", "pip install torch there", runtime="torchscript")


@needs_sshd
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_a_gpu_is_asked_for_that_no_runtime_has(server: Server) -> None:
    server.start()
    refused("onnxruntime has no TensorrtExecutionProvider or CUDAExecutionProvider", "torch", kind="cuda")


@needs_sshd
def test_another_board_is_refused(server: Server) -> None:
    server.start()
    refused("is no jetson: none of p3767-0005 is in", name="jetson", local=False, match=["p3767-0005"])


class At(Silent):
    """Does something when a stage begins."""

    def __init__(self, stage: str, act: Callable[[], object]) -> None:
        self.wanted, self.act = stage, act

    def stage(self, name: str, total: int) -> None:
        if name == self.wanted:
            self.act()


@pytest.fixture
def lasting(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements that would take a minute."""
    endless = EFFORT._replace(min_samples=10**6, max_samples=10**6, enough_seconds=30.0, max_seconds=30.0)
    monkeypatch.setattr(remote_module, "EFFORT", endless)


@needs_sshd
@pytest.mark.usefixtures("lasting")
def test_the_connection_drops_midway(server: Server) -> None:
    server.start()
    bench = RemoteBench(device())
    with pytest.raises(DeviceError, match=r"^board: the connection was lost: the same command goes on"):
        measure(bench, At("latency", lambda: [one.kill() for one in server.sessions()]))


@needs_sshd
@pytest.mark.usefixtures("lasting")
def test_the_agent_is_killed_midway(server: Server) -> None:
    server.start()
    bench = RemoteBench(device())
    with pytest.raises(DeviceError, match=r"^board: .* was killed \(for want of memory\? dmesg says\)$"):
        measure(bench, At("latency", lambda: [one.kill() for one in server.agents()]))


@needs_sshd
@pytest.mark.usefixtures("lasting")
def test_a_board_that_lives_but_gets_nowhere_is_not_waited_for(server: Server) -> None:
    server.start()
    bench = RemoteBench(device(), limits=Limits(step_s=1.0))
    with pytest.raises(DeviceError, match=r"^board: is alive, but has been at one step for 1 s: is it hung\?$"):
        measure(bench)


@needs_sshd
@pytest.mark.usefixtures("lasting")
def test_stopping_here_stops_there(server: Server) -> None:
    server.start()
    bench = RemoteBench(device())

    def stop() -> None:
        assert server.agents()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(bench, At("latency", stop))
    until(lambda: not server.agents())


@needs_sshd
def test_devices_over_ssh_are_seen_with_their_meter(server: Server) -> None:
    server.start()
    seen = reach([device(meters=["rapl"]), device(python="python3.99"), Device(name="own", local=True)])
    assert [one.here for one in seen] == ["onnx over ssh", "", "cpu"]
    assert seen[1].energy.startswith("board: has no python3.99")


# --- the commands -----------------------------------------------------------------------------------------


@needs_sshd
def test_the_command_profiles_a_board(
    server: Server, paser_opt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, tiny_toml: Path,
    tiny_profile: str,
) -> None:  # fmt: skip
    server.start()
    board = tmp_path / "board.toml"
    board.write_text(f'name = "board"\nlocal = true\npython = "{sys.executable}"\n')
    out = tmp_path / "p.json"
    arguments = ("profile", tiny_toml, "--device", board, "--host", "board", "--out", out)
    done = paser_opt(*arguments, env={"PASER_OPT_SSH": server.ssh})
    assert done.returncode == 0, done.stderr
    assert "1 thread(s), onnx, fp32" in done.stderr
    there, here = json.loads(out.read_text())["entries"], json.loads(tiny_profile)["entries"]
    assert there.keys() == here.keys()
    for key, entry in there.items():
        assert [entry[name] for name in ("batch", "params", "macs")] == [
            here[key][name] for name in ("batch", "params", "macs")
        ]


GARBAGE = "ForceCommand echo Welcome; exit 0"


@needs_sshd
@pytest.mark.parametrize(
    ("line", "user", "python", "words"),
    [
        (None, {}, sys.executable, "has no ssh server on that port"),
        ("", {"host_key": "other"}, sys.executable, "its host key is another than the known one"),
        ("", {"host_key": None}, sys.executable, "its host key is not known here"),
        ("", {"user_key": "stranger"}, sys.executable, "accepts no key of this machine, and passwords are not asked"),
        ("", {"name": "nowhere.invalid"}, sys.executable, "no machine of that name is known"),
        ("", {}, "python3.99", "has no python3.99"),
        (GARBAGE, {}, sys.executable, "ended with exit code 0: Welcome"),
        ("ForceCommand kill -9 $$", {}, sys.executable, "was killed"),
        ("ForceCommand echo 'No space left on device' >&2; exit 1", {}, sys.executable, "its disk is full"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(
    server: Server, paser_opt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, tiny_toml: Path,
    line: str | None, user: dict[str, object], python: str, words: str,
) -> None:  # fmt: skip
    if line is not None:
        server.start(line)
    server.configure(**user)  # type: ignore[arg-type]
    board = tmp_path / "board.toml"
    board.write_text(f'name = "board"\nlocal = true\nhost = "board"\npython = "{python}"\n')
    out = tmp_path / "profile.json"
    done = paser_opt("profile", tiny_toml, "--device", board, "--out", out, "-q", env={"PASER_OPT_SSH": server.ssh})
    assert (done.returncode, done.stdout) == (2, "")
    (said,) = done.stderr.strip().splitlines()
    assert said.startswith("paser-opt: board: ") and words in said
    assert not out.exists()


def test_options_of_the_command_line_are_checked_like_the_files(
    paser_opt: Callable[..., subprocess.CompletedProcess[str]], tiny_toml: Path
) -> None:
    done = paser_opt("profile", tiny_toml, "--runtime", "onyx", "-q")
    assert done.returncode == 2
    assert done.stderr.startswith("paser-opt: --runtime: Input should be 'auto', 'eager'")
