"""Peak bytes of one call beyond its inputs and weights.

CPU: counted from the allocations and frees that torch's profiler sees, scratch space inside operations
included; what a kernel library takes for itself outside torch's allocator is not seen. CUDA: torch's
allocator's own peak.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from ..records import Memory
from .onboard import OnnxRuntime, cuda_peak

__all__ = ["measure_memory", "no_peak", "weight_bytes"]

# Kineto writes two lines to stderr at every start and stop; it reads this when it is first used.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


def weight_bytes(module: nn.Module) -> int:
    """Bytes of parameters and buffers, shared ones once."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def no_peak(module: nn.Module, reason: str) -> Memory:
    """The weights of ``module`` alone, where nothing tells what a call of it takes."""
    return Memory(peak_bytes=None, weight_bytes=weight_bytes(module), how="measured", source="none", reason=reason)


def measure_memory(
    call: Callable[[], object], module: nn.Module, device: torch.device, *, runtime: str = "eager"
) -> Memory:
    """Peak bytes while ``call``, which ``runtime`` made of ``module``, runs; its result counts, what was there before
    does not."""
    if runtime.startswith("onnx"):  # which takes its memory past torch
        return no_peak(module, OnnxRuntime.no_peak)
    weights = weight_bytes(module)
    if device.type == "cuda":
        return Memory(
            peak_bytes=cuda_peak(call),
            weight_bytes=weights,
            how="measured",
            source="torch.cuda.max_memory_allocated",
        )
    if device.type == "cpu":
        return Memory(
            peak_bytes=_cpu_peak(call),
            weight_bytes=weights,
            how="counted",
            source="torch.profiler, CPU allocations",
        )
    return no_peak(module, f"torch keeps no peak of allocated memory on {device.type}")


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """A SIGINT inside is raised at the end: torch's profiler, interrupted, takes the process down with it."""
    held: list[object] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:  # only there can it be held
        yield
        return
    signal.signal(signal.SIGINT, lambda *caught: held.append(caught))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        signal.raise_signal(signal.SIGINT)


def _cpu_peak(call: Callable[[], object]) -> int:
    with _ctrl_c_waits(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    result = profiler.profiler
    assert result is not None and result.kineto_results is not None  # there once the profiler has stopped
    events = [event for event in result.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    live: Iterator[int] = accumulate((event.nbytes() for event in events), initial=0)
    return max(live)
