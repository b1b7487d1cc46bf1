"""The program on the board: receives models over stdin, measures them, answers one JSON line a step over stdout.

It writes no file. It ends when stdin does, so that nothing runs on after the host is gone. Host → board: frames, each a
JSON line with the ``size`` of the zlib-compressed bytes after it. Board → host: lines behind a random mark, by which
they are told from all else that is printed there.

Shipped to boards: Python 3.6, standard library only. The other end is :mod:`paser_opt.cost.remote`.
"""

import faulthandler
import json
import os
import platform
import select
import sys
import threading
import time
import zlib
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from ..errors import DeviceError
from . import board
from .energy.base import Meter
from .energy.measure import CallEnergy, EnergyBench, missing
from .energy.sensors import SENSORS, first_usable
from .latency import Timing, held_back, time_interleaved
from .onboard import Runtime, open_runtime

__all__ = ["main"]

_Meter = Union[Meter, str]  # or why there is none
_BEAT_S = 5.0  # a sign of life: TensorRT may take minutes over one model


def main(mark: str) -> None:
    """Answer the host until it is content or gone."""
    host = _Host(mark)
    faulthandler.enable()  # a crash inside a library says so before it ends
    os.environ.update(CUDA_CACHE_DISABLE="1", USE_PYTORCH_KERNEL_CACHE="0")  # they write to the home folder
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # nvidia-smi's: the first GPU is one and the same to all
    host.live()
    try:
        _serve(host)
    except (EOFError, BrokenPipeError):
        os._exit(1)
    except DeviceError as error:
        host.send(error=str(error))
    except Exception as error:  # whatever a runtime raises has to reach the user, in one line
        words = [type(error).__name__, *str(error).splitlines()[:1]]
        host.send(error=f"failed at {host.at}: {': '.join(words)}")
    os._exit(0)  # torch's and TensorRT's own threads are not waited for


class _Host:
    def __init__(self, mark: str) -> None:
        self._mark, self._lock, self.at = mark.encode(), threading.Lock(), "the start"
        self._in = sys.stdin.buffer
        self._out = os.dup(1)
        os.dup2(2, 1)  # what libraries print goes to stderr

    def send(self, **message: Any) -> None:
        line = self._mark + json.dumps(message).encode() + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._out, line) :]

    def stage(self, name: str, total: int) -> None:
        self.at = name
        self.send(stage=name, total=total)

    def receive(self) -> Tuple[Dict[str, Any], bytes]:
        """The next frame: its header and its bytes, still compressed. Raises EOFError when the host is gone."""
        line = self._in.readline()
        if not line:
            raise EOFError
        header = json.loads(line.decode())
        return header, self._in.read(header["size"])

    def live(self) -> None:
        """Give signs of life from now on, whatever takes its time."""
        threading.Thread(target=self._beat, daemon=True).start()

    def watch(self) -> None:
        """From now on nothing more is to come: end when stdin does."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _beat(self) -> None:
        try:
            while True:
                time.sleep(_BEAT_S)
                self.send(alive=True)
        finally:
            os._exit(1)

    def _watch(self) -> None:
        select.select([0], [], [])
        os._exit(1)


def _serve(host: _Host) -> None:
    device, probe = host.receive()
    host.at = "its runtime"
    known_as = " ".join([board.compatible(), board.first_gpu()]).split()
    if not device["local"] and not board.matches(device["match"], " ".join(known_as)):
        raise DeviceError(
            f"is no {device['name']}: none of {', '.join(device['match'])} is in its device tree or its first GPU's "
            f"name ({' '.join(known_as) or 'it has neither'}): choose the --device that it is, or cpu for its processor"
        )
    threads = board.thread_count(device["threads"])
    runtime = open_runtime(device["runtime"], device["kind"], threads, zlib.decompress(probe))
    meter = first_usable(device["name"], device["meters"], device["rails"], SENSORS)
    host.send(
        system=board.system(),
        processor=board.processor(),
        cores=board.core_count(),
        threads=threads,
        memory_bytes=board.memory_bytes(),
        accelerator=runtime.accelerator,
        runtime=runtime.name,
        versions={"python": platform.python_version(), **runtime.versions},
        state=board.state(),
        meter=meter if isinstance(meter, str) else meter.name,
    )
    models: List[bytes] = []
    tensors: List[Any] = []
    while True:
        header, content = host.receive()
        if "workloads" in header:
            break
        if "dtype" in header:
            tensors.append(runtime.tensor(zlib.decompress(content), header["dtype"], header["shape"]))
        else:
            models.append(content)
    host.watch()
    _measure(host, runtime, meter, models, tensors, header)


def _measure(
    host: _Host,
    runtime: Runtime,
    meter: _Meter,
    models: List[bytes],
    tensors: List[Any],
    job: Dict[str, Any],
) -> None:
    workloads = job["workloads"]
    host.stage(f"prepare for {runtime.name}", len(workloads))
    ready: Dict[int, Any] = {}
    calls = []
    for done, (model, inputs) in enumerate(workloads, 1):
        if model not in ready:
            ready[model] = runtime.load(zlib.decompress(models[model]))
        call = runtime.call(ready[model], [tensors[index] for index in inputs])
        call()  # TensorRT builds an engine for every shape: now, and not between two rounds of the clock
        runtime.synchronize()
        calls.append(call)
        host.send(done=done)
    host.stage("latency", len(workloads))
    timings = time_interleaved(calls, synchronize=runtime.synchronize, on_done=_Once(host), **job["effort"])
    throttling = board.throttling()
    timings = [held_back(timing, throttling) for timing in timings]
    host.stage("memory and energy", len(workloads))
    energy = _energy(meter, runtime, job["no_energy"])
    for done, (call, timing) in enumerate(zip(calls, timings), 1):
        host.send(
            timing=timing._asdict(),
            energy=energy(call, timing)._asdict(),
            peak_bytes=runtime.peak_bytes(call),
            no_peak=runtime.no_peak,
        )
        host.send(done=done)


def _energy(
    meter: _Meter, runtime: Runtime, reason: Optional[str]
) -> Callable[[Callable[[], object], Timing], CallEnergy]:
    if reason is None and not isinstance(meter, str):
        return EnergyBench(meter, synchronize=runtime.synchronize).measure
    return lambda call, timing: missing(reason or str(meter))


class _Once:
    """Says how many calls are done when that has changed: a line for each round would disturb the next."""

    def __init__(self, host: _Host) -> None:
        self._host, self._said = host, 0

    def __call__(self, done: int) -> None:
        if done != self._said:
            self._said = done
            self._host.send(done=done)
