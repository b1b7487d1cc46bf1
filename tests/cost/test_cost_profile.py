"""This machine, without any sensor, must give an honest profile."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from paser_opt.config import Device
from paser_opt.cost import local as local_module
from paser_opt.cost.bench import EFFORT, NOT_ASKED, entry
from paser_opt.cost.exclusive import exclusive
from paser_opt.cost.flops import count
from paser_opt.cost.local import LocalBench
from paser_opt.cost.machine import describe_machine, local_device, nvidia_driver
from paser_opt.cost.profile import ProfileStore, open_profile
from paser_opt.cost.workload import Workload
from paser_opt.errors import DeviceError, RunError
from paser_opt.progress import Progress, Silent
from paser_opt.records import Energy, Entry, Latency, Memory, Profile, read_record

CPU = Device(name="here", local=True, threads=1)


class Counting(nn.Module):
    """A convolution that counts its calls and remembers torch's threads."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.calls, self.threads = 0, 0

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        self.calls, self.threads = self.calls + 1, torch.get_num_threads()
        result: Tensor = self.convolution(images)
        return result


def workload(key: str, module: nn.Module) -> Workload:
    return Workload(key, module, (torch.randn(2, 1, 8, 8),), 2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module, "EFFORT", EFFORT._replace(min_samples=6, max_samples=12))


def test_a_profile_holds_every_cost_of_a_workload(tmp_path: Path) -> None:
    path = tmp_path / "here.json"
    model = Counting()
    threads = torch.get_num_threads()
    entry = open_profile(path, LocalBench(CPU)).ensure([workload("conv", model)], progress=Silent())["conv"]
    assert (entry.params, entry.macs, entry.batch, entry.uncounted) == (20, 2 * 36 * 2 * 9, 2, {})
    assert entry.memory.weight_bytes == 80
    assert entry.memory.peak_bytes is not None and entry.memory.peak_bytes >= 2 * 2 * 36 * 4
    assert 6 <= entry.latency.samples <= 12
    assert entry.latency.low_s <= entry.latency.median_s <= entry.latency.high_s
    assert (entry.energy.gross_j, entry.energy.reason) == (
        None,
        "here has no power sensor that software can read",
    )
    assert (model.threads, torch.get_num_threads()) == (1, threads)
    kept = read_record(Profile, path)
    assert kept.entries == {"conv": entry}
    assert (kept.machine.device, kept.machine.threads, kept.machine.runtime) == ("here", 1, "eager")
    assert kept.seconds > 0


def test_only_what_is_missing_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "here.json"
    old, new = Counting(), Counting()
    first = open_profile(path, LocalBench(CPU)).ensure([workload("old", old)], progress=Silent())
    calls = old.calls
    both = open_profile(path, LocalBench(CPU)).ensure(
        [workload("old", old), workload("new", new), workload("new", nn.Identity())], progress=Silent()
    )
    assert old.calls == calls
    assert new.calls == 0  # of two workloads with one key the last is measured
    assert list(both) == ["old", "new"]
    assert both["old"] == first["old"]


def test_what_is_added_later_stands_at_the_profiles_pace(tmp_path: Path) -> None:
    """A bench that takes twice as long at its second visit: three networks timed again say so."""

    class Slowing(LocalBench):
        pace, seen = 1.0, ()

        def measure(
            self, workloads: Sequence[Workload], *, known: Mapping[str, Entry], progress: Progress, energy: bool
        ) -> Iterator[Entry]:
            self.seen = [load.key for load in workloads]
            for one in super().measure(workloads, known=known, progress=progress, energy=energy):
                taken = {name: len(one.key) * self.pace for name in ("median_s", "low_s", "high_s")}
                yield one.model_copy(update={"latency": one.latency.model_copy(update={**taken, "p95_s": None})})

    bench = Slowing(CPU)
    store = open_profile(tmp_path / "here.json", bench)
    loads = [
        replace(workload(key, nn.Conv2d(1, 2, 3)), architecture="net") for key in ("a", "bb", "ccc", "dddd", "eeeee")
    ]
    first = store.ensure(loads[:4], progress=Silent())
    bench.pace = 2.0
    both = store.ensure(loads[2:], progress=Silent(), beside=loads[:2])
    assert bench.seen == ["bb", "ccc", "dddd", "eeeee"]
    assert {key: both[key] for key in first} == first
    assert both["eeeee"].latency.median_s == pytest.approx(5)
    assert "took 2.00 × their time just then, divided by that" in both["eeeee"].latency.verdict


class Timed:
    """A bench that takes a second for each letter of a key, times its ``paces``, one each visit."""

    device, where, here = CPU, torch.device("cpu"), True
    machine = LocalBench(CPU).machine

    def __init__(self, *paces: float, joules: float | None = None) -> None:
        self.paces, self.joules, self.visits = iter(paces), joules, list[list[str]]()

    def measure(
        self, workloads: Sequence[Workload], *, known: Mapping[str, Entry], progress: Progress, energy: bool
    ) -> Iterator[Entry]:
        self.visits.append([load.key for load in workloads])
        pace = next(self.paces)
        for load in workloads:
            s = len(load.key) * pace
            latency = Latency(median_s=s, low_s=s, high_s=s, samples=9, stable=True, verdict="settled")
            reason = None if energy and self.joules else "no meter" if energy else NOT_ASKED
            spent = Energy(
                gross_j=None if reason else self.joules, net_j=None, how=None, source="a meter", reason=reason
            )
            memory = Memory(peak_bytes=1, weight_bytes=1, how="counted", source="a count")
            yield entry(load, count(load.module.eval(), load.inputs), latency, spent, memory)


def network(key: str, channels: int = 2) -> Workload:
    return replace(workload(key, nn.Conv2d(1, channels, 3)), architecture="net")


def test_another_runtime_stands_at_the_pace_of_the_first(tmp_path: Path) -> None:
    """The machine has come to take 2 × as long before and 3 × after: 2.5 × between."""
    first, second = Timed(1.0, 2.0, 3.0), Timed(2.5)
    fp32, int8 = open_profile(tmp_path / "fp32.json", first), open_profile(tmp_path / "int8.json", second)
    loads = [network(key) for key in ("a", "bb", "ccc", "dddd")]
    fp32.ensure(loads, progress=Silent())
    kept = fp32.profile
    int8.ensure_at_pace_of(fp32, loads[2:], progress=Silent(), beside=[*loads[:2], network("not profiled")])
    assert first.visits[1:] == [["bb", "ccc", "dddd"]] * 2 and second.visits == [["ccc", "dddd"]]
    assert fp32.profile == kept
    found = read_record(Profile, int8.path).entries
    assert {key: one.latency.median_s for key, one in found.items()} == {
        "ccc": pytest.approx(3),
        "dddd": pytest.approx(4),
    }
    assert {one.latency.pace for one in found.values()} == {2.5}
    int8.ensure_at_pace_of(fp32, loads[2:], progress=Silent())
    assert len(second.visits) == 1  # no more paces either


def test_what_stands_at_no_pace_is_measured_again(tmp_path: Path) -> None:
    first, second = Timed(1.0, 2.0, 2.0), Timed(1.5, 2.0)
    fp32, int8 = open_profile(tmp_path / "fp32.json", first), open_profile(tmp_path / "int8.json", second)
    fp32.ensure([network("ccc")], progress=Silent())
    assert int8.ensure([network("ccc")], progress=Silent())["ccc"].latency.median_s == 4.5  # as earlier versions did
    int8.ensure_at_pace_of(fp32, [network("ccc")], progress=Silent())
    assert int8.profile.entries["ccc"].latency.median_s == pytest.approx(3)


def test_what_is_told_has_energy_where_there_is_a_meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One network of eight was measured without energy: what is told lacks it too, and is measured if asked."""
    bench = Timed(1.0, 1.0, 1.0, joules=5.0)
    store = open_profile(tmp_path / "here.json", bench)
    known = [network("x" * n, channels=16 * n) for n in range(1, 9)]
    store.ensure(known[:7], progress=Silent())
    store.ensure(known[7:], progress=Silent(), energy=False)
    new = network("y", channels=72)
    told = store.ensure([new], progress=Silent(), energy=False, within=1e9)["y"]
    assert (told.latency.how, told.energy.gross_j) == ("predicted", None)
    assert told.energy.reason == "not measured of every network it is to be told from"
    assert store.missing([new], energy=False, within=1e9) == []
    assert store.missing([new], energy=True, within=1e9) == [new]
    monkeypatch.setattr(bench, "paces", iter([1.0]))
    assert store.ensure([new], progress=Silent(), within=1e9)["y"].energy.gross_j == 5.0


def test_without_a_meter_networks_are_told_all_the_same(tmp_path: Path) -> None:
    """Nothing would be gained by measuring, whichever network came first."""
    store = open_profile(tmp_path / "here.json", Timed(1.0, 1.0))
    known = [network("x" * n, channels=16 * n) for n in range(1, 9)]
    store.ensure(known[:1], progress=Silent(), energy=False)
    store.ensure(known[1:], progress=Silent())
    new = network("y", channels=72)
    told = store.ensure([new], progress=Silent(), within=1e9)["y"]
    assert (told.latency.how, told.energy.reason) == ("predicted", "no meter")


def test_energy_left_out_is_measured_when_asked_for(tmp_path: Path) -> None:
    store = open_profile(tmp_path / "here.json", LocalBench(CPU))
    load = workload("conv", Counting())
    without = store.ensure([load], progress=Silent(), energy=False)["conv"].energy
    assert without.reason == "energy was not asked for"
    assert store.ensure([load], progress=Silent())["conv"].energy.reason != without.reason


def test_a_laptop_without_a_sensor_gets_an_estimate_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def no_network(*args: object) -> None:
        raise AssertionError("codecarbon went to the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    device = Device(name="here", local=True, threads=1, meters=("codecarbon",))
    store = open_profile(tmp_path / "here.json", LocalBench(device))
    first = store.ensure([workload("a", Counting())], progress=Silent())["a"]
    again = open_profile(tmp_path / "here.json", LocalBench(device)).ensure(
        [workload("b", Counting())], progress=Silent()
    )["b"]
    assert first.energy.how == again.energy.how == "estimated"
    assert first.energy.gross_j is not None and first.energy.gross_j > 0
    assert first.energy.net_j is None
    assert "carries nothing that latency does not" in first.energy.source
    watts = [entry.energy.gross_j / entry.latency.median_s for entry in (first, again)]  # type: ignore[operator]
    assert watts[0] == pytest.approx(watts[1])
    assert capfd.readouterr() == ("", "")


def test_a_profile_of_another_set_up_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "here.json"
    store = open_profile(path, LocalBench(CPU))
    store.ensure([workload("conv", Counting())], progress=Silent())
    with pytest.raises(DeviceError, match=r"threads 1 there, 2 here\): measure afresh with --new"):
        open_profile(path, LocalBench(CPU.model_copy(update={"threads": 2})))
    other = store.profile.machine.model_copy(update={"processor": "Z80"})
    store.profile.model_copy(update={"machine": other}).write(path)
    with pytest.raises(DeviceError, match="processor Z80 there"):
        open_profile(path, LocalBench(CPU))


def test_a_damaged_profile_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "here.json"
    path.write_text("{")
    with pytest.raises(RunError, match=r"here\.json is damaged"):
        open_profile(path, LocalBench(CPU))


def test_nothing_is_written_before_something_is_measured(tmp_path: Path) -> None:
    store = open_profile(tmp_path / "here.json", LocalBench(CPU))
    assert isinstance(store, ProfileStore)
    assert store.ensure([], progress=Silent()) == {}
    assert not list(tmp_path.iterdir())


def tree(root: Path, compatible: str) -> Path:
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/compatible").write_bytes(compatible.encode())
    (root / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    return root


def test_a_board_is_known_by_its_device_tree(tmp_path: Path) -> None:
    device = Device(name="raspberry-pi-5", kind="raspberry-pi", match=("5-model-b",), threads=1)
    with pytest.raises(DeviceError, match=r"raspberry-pi-5 is not this machine .* choose --device cpu"):
        local_device(device, root=tmp_path)
    root = tree(tmp_path, "raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert local_device(device, root=root) == torch.device("cpu")
    machine = describe_machine(device, torch.device("cpu"), runtime="eager", root=root)
    assert (machine.processor, machine.threads) == ("Raspberry Pi 5 Model B Rev 1.0", 1)


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(DeviceError, match=r"^threads = 4096 in the device's TOML, but that machine has \d+ cores$"):
        LocalBench(CPU.model_copy(update={"threads": 4096}))


def test_a_word_must_match_whole(tmp_path: Path) -> None:
    root = tree(tmp_path, "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0")
    with pytest.raises(DeviceError, match="is not this machine"):
        local_device(Device(name="x", match=("3767",)), root=root)
    assert local_device(Device(name="x", match=("P3767-0005",)), root=root).type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_cuda_without_a_gpu_says_what_to_do() -> None:
    with pytest.raises(DeviceError, match="finds no CUDA GPU here: install torch for CUDA"):
        local_device(Device(name="cuda", kind="cuda", local=True))


def test_machine_state_and_processor_are_read_from_files(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "processor : 0\nmodel name : Some CPU @ 2 GHz\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    machine = describe_machine(CPU, torch.device("cpu"), runtime="eager", root=tmp_path)
    assert machine.processor == "Some CPU @ 2 GHz"
    assert machine.state["governor"] == "powersave"
    assert machine.versions["torch"] == torch.__version__


def test_nobody_measures_beside_another_process(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from paser_opt.cost import exclusive\n"
        "from paser_opt.progress import Silent\n"
        "with exclusive('board', Silent()):\n"
        "    print('in', flush=True); sys.stdin.readline()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin and other.stdout and other.stdout.readline() == b"in\n"
        said: list[str] = []

        class Waiting(Silent):
            def stage(self, name: str, total: int) -> None:
                said.append(name)
                assert other.stdin
                other.stdin.close()  # only now it lets go

        with exclusive("another board", Waiting()):
            assert not said
        with exclusive("board", Waiting()):
            assert said == ["wait for another measurement on board"]


@pytest.mark.parametrize(
    ("line", "driver"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024", "535.183.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build", "580.159.04"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build", "540.4.0"),
    ],
)
def test_the_drivers_version(tmp_path, line, driver):
    assert nvidia_driver(tmp_path) == ""
    file = tmp_path / "proc/driver/nvidia/version"
    file.parent.mkdir(parents=True)
    file.write_text(f"{line}\nGCC version:  gcc version 12.3.0\n", encoding="utf-8")
    assert nvidia_driver(tmp_path) == driver
