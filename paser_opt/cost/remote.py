"""A board over ssh as a bench: the models go there as ONNX or TorchScript, timings and energy come back.

What measures there is what measures here: the files of SHIPPED, sent along. The other end is
:mod:`paser_opt.cost.agent`. Two things differ from a bench on this machine: operations are counted here, not there; and
weights and images are a repeated block of their own values, which compresses to almost nothing and costs the same.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from ..config import Device
from ..errors import DeviceError
from ..progress import Progress
from ..records import Energy, Entry, Latency, Machine
from .bench import EFFORT, NOT_ASKED, entry
from .energy import refuse_unknown
from .exclusive import exclusive
from .flops import count
from .machine import identity
from .memory import no_peak
from .onboard import RUNTIMES
from .runtimes.onnx import export_onnx, opset_for, probe, quantized
from .runtimes.torchscript import export_torchscript
from .ssh import Connection, Limits
from .workload import Workload

__all__ = ["SHIPPED", "RemoteBench"]

SHIPPED = (
    "errors",
    "onnx_session",
    "cost.latency",
    "cost.board",
    "cost.energy.base",
    "cost.energy.rapl",
    "cost.energy.ina3221",
    "cost.energy.pmic",
    "cost.energy.nvml",
    "cost.energy.sensors",
    "cost.energy.measure",
    "cost.onboard",
    "cost.agent",
)
"""Modules of paser_opt that run on the board, each after those it imports: Python 3.6, standard library only."""

_BLOCK = 1024  # values that are repeated: 4 KiB, well within zlib's window of 32 KiB

_LOADER = """
import sys, types
if sys.version_info < (3, 6):
    sys.exit("Python 3.6 or newer is needed, this is " + sys.version.split()[0])
sys.path[:] = [place for place in sys.path if place]
for name, source in SOURCES:
    module = sys.modules[name] = types.ModuleType(name)
    module.__package__ = name.rpartition(".")[0] if source else name
    module.__path__ = []
    exec(compile(source, name, "exec"), module.__dict__)
sys.modules["paser_opt.cost.agent"].main(MARK)
"""


class _Message(BaseModel):
    """What a board sends is data: of the right types, finite, in its bounds, or refused."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Hello(_Message):
    system: str
    processor: str
    cores: int = Field(gt=0)
    threads: int = Field(gt=0)
    memory_bytes: int | None = Field(gt=0)
    accelerator: str | None
    runtime: str
    versions: dict[str, str]
    state: dict[str, str]
    meter: str


class _Stage(_Message):
    stage: str
    total: int = Field(ge=0)


class _Done(_Message):
    done: int = Field(ge=0)


class _Answer(_Message):
    timing: Latency
    energy: Energy
    peak_bytes: int | None = Field(ge=0)
    no_peak: str


_MessageT = TypeVar("_MessageT", bound=_Message)


class RemoteBench:
    """The board at ``device.host``, asked once for what it is; every :meth:`measure` is a connection of its own.

    ``meter`` is the energy meter it would use, or why it has none. Raises DeviceError when the board cannot be reached,
    is not that device or lacks a runtime; ConfigError for a meter that does not exist.
    """

    here = False

    def __init__(self, device: Device, *, limits: Limits = Limits()) -> None:  # noqa: B008
        refuse_unknown(device)
        if device.runtime not in ("auto", *RUNTIMES):
            raise DeviceError(f"runtime {device.runtime} runs on this machine; over ssh: auto, {', '.join(RUNTIMES)}")
        if device.precision != "fp32":
            raise DeviceError(f"over ssh models run in fp32: leave --precision {device.precision} out")
        self.device, self.where, self._limits = device, torch.device("cpu"), limits
        with self._connect() as board:
            self.machine, self.meter = self._hello(board)

    def measure(
        self, workloads: Sequence[Workload], *, known: Mapping[str, Entry], progress: Progress, energy: bool
    ) -> Iterator[Entry]:
        """All models are sent first, so that latencies can be interleaved; then come memory and energy, one by one."""
        progress.stage("count operations", len(workloads))
        counts = []
        for done, load in enumerate(workloads, start=1):
            counts.append(count(load.module.eval(), load.inputs))
            progress.advance(done, load.key)
        models, tensors, plan = self._export(workloads, progress)
        with exclusive(self.device.host, progress), self._connect() as board:
            self._refuse_another(self._hello(board)[0])
            progress.stage(f"send to {board.host}", len(models))
            for tensor in tensors:
                board.send({"dtype": str(tensor.dtype).removeprefix("torch."), "shape": tensor.shape}, _packed(tensor))
            for done, model in enumerate(models, start=1):
                board.send({}, model)
                progress.advance(done)
            reason = None if energy else NOT_ASKED
            board.send({"workloads": plan, "effort": EFFORT._asdict(), "no_energy": reason})
            for load, counted in zip(workloads, counts, strict=True):
                answer = self._answer(board, progress)
                memory = no_peak(load.module, answer.no_peak)
                if answer.peak_bytes is not None:
                    peak = {
                        "peak_bytes": answer.peak_bytes,
                        "source": "torch.cuda.max_memory_allocated",
                        "reason": None,
                    }
                    memory = memory.model_copy(update=peak)
                yield entry(load, counted, answer.timing, answer.energy, memory)

    def _connect(self) -> Connection:
        assert self.device.host is not None
        sources = [("paser_opt", ""), ("paser_opt.cost", ""), ("paser_opt.cost.energy", "")]
        for name in SHIPPED:
            path = files("paser_opt").joinpath(*name.split(".")[:-1], name.rpartition(".")[2] + ".py")
            sources.append((f"paser_opt.{name}", path.read_text(encoding="utf-8")))
        program = f"SOURCES = {sources!r}\n{_LOADER}"
        return Connection(self.device.host, python=self.device.python, program=program, limits=self._limits)

    def _hello(self, board: Connection) -> tuple[Machine, str]:
        """What the board is, and its meter."""
        fields = {"name", "kind", "local", "match", "threads", "runtime", "meters", "rails"}
        board.send(self.device.model_dump(include=fields), zlib.compress(probe()))
        hello = _read(_Hello, board.receive(), board)
        machine = Machine(device=self.device.name, precision="fp32", **hello.model_dump(exclude={"meter"}))
        return machine, hello.meter

    def _refuse_another(self, machine: Machine) -> None:
        """Every connection may reach another machine behind one name, or find it in another power mode."""
        then, now = identity(self.machine), identity(machine)
        if changed := [name for name in {**then, **now} if then.get(name) != now.get(name)]:
            raise DeviceError(
                f"{self.device.host}: its {' and '.join(changed)} changed since the first connection: "
                "run the same command again once it is settled"
            )

    def _answer(self, board: Connection, progress: Progress) -> _Answer:
        """The next measurement; what the board says of its progress meanwhile is passed on."""
        while "timing" not in (message := board.receive()):
            if "stage" in message:
                stage = _read(_Stage, message, board)
                progress.stage(stage.stage, stage.total)
            else:
                progress.advance(_read(_Done, message, board).done)
        return _read(_Answer, message, board)

    def _export(
        self, workloads: Sequence[Workload], progress: Progress
    ) -> tuple[list[bytes], list[Tensor], list[tuple[int, list[int]]]]:
        """Compressed models, distinct inputs, and of each workload the indices of its model and inputs."""
        groups: dict[int, list[Workload]] = {}
        for load in workloads:
            groups.setdefault(id(load.module), []).append(load)
        progress.stage(f"export for {self.machine.runtime}", len(groups))
        models = []
        for done, loads in enumerate(groups.values(), start=1):
            examples = [tuple(_repeated(x) for x in load.inputs) for load in loads]
            models.append(zlib.compress(self._exported(_light(loads[0].module), examples)))
            progress.advance(done, loads[-1].key)
        order = list(groups)
        tensors = {id(x): x for load in workloads for x in load.inputs}
        places = {key: index for index, key in enumerate(tensors)}
        plan = [(order.index(id(load.module)), [places[id(x)] for x in load.inputs]) for load in workloads]
        return models, [_repeated(x) for x in tensors.values()], plan

    def _exported(self, module: nn.Module, examples: Sequence[tuple[Tensor, ...]]) -> bytes:
        if self.machine.runtime == "torchscript":
            return export_torchscript(module, examples)
        content = export_onnx(module, examples, opset=opset_for(self.machine.versions["onnxruntime"]))
        return quantized(content, examples) if self.device.runtime == "onnx-int8" else content


def _read(kind: type[_MessageT], message: dict[str, Any], board: Connection) -> _MessageT:
    try:
        return kind.model_validate(message)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DeviceError(f"{board.host}: answered what is no measurement: {where}: {first['msg']}") from None


def _light(module: nn.Module) -> nn.Module:
    """A copy whose weights compress well."""
    light = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in light.parameters():
            parameter.copy_(_repeated(parameter))
    return light


def _repeated(tensor: Tensor) -> Tensor:
    """``tensor`` with its first values over and over; integers (indices, labels) as they are."""
    if not tensor.is_floating_point() or tensor.numel() <= _BLOCK:
        return tensor
    block = tensor.flatten()[:_BLOCK]
    return block.repeat(-(-tensor.numel() // _BLOCK))[: tensor.numel()].reshape(tensor.shape)


def _packed(tensor: Tensor) -> bytes:
    return zlib.compress(tensor.contiguous().numpy().tobytes())
