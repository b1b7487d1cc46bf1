from __future__ import annotations

import os
import signal

import pytest
import torch
from torch import Tensor, nn

from paser_opt.cost.memory import measure_memory, weight_bytes

CPU = torch.device("cpu")


def test_peak_is_the_most_that_was_alive_at_once() -> None:
    x = torch.randn(1000)

    def chain() -> Tensor:
        a = x.relu()  # 4000 B
        b = a.neg()  # 8000 B alive
        del a
        c = b.repeat(4)  # 4000 + 16000 B alive
        del b
        return c.relu()  # 16000 + 16000 B alive

    memory = measure_memory(chain, nn.Identity(), CPU)
    assert (memory.peak_bytes, memory.weight_bytes, memory.how) == (32_000, 0, "counted")


def test_scratch_inside_an_operation_counts() -> None:
    x = torch.randn(100, 100)
    memory = measure_memory(lambda: torch.softmax(x, 1).sum(), nn.Identity(), CPU)
    assert memory.peak_bytes is not None and 40_000 <= memory.peak_bytes < 41_000


def test_what_is_freed_does_not_add_up() -> None:
    x = torch.randn(1000)

    def repeated() -> None:
        for _ in range(10):
            x.relu()

    assert measure_memory(repeated, nn.Identity(), CPU).peak_bytes == 4_000


def test_weight_bytes_are_parameters_and_buffers() -> None:
    norm = nn.BatchNorm2d(8)  # weight, bias, mean, variance: 8 × 4 B each; one int64 counter
    assert weight_bytes(norm) == 4 * 32 + 8


def test_what_torch_does_not_see_is_missing_and_not_zero() -> None:
    memory = measure_memory(lambda: None, nn.Linear(3, 1), CPU, runtime="onnx")
    assert (memory.peak_bytes, memory.weight_bytes) == (None, 16)
    assert memory.reason == "ONNX Runtime does not say what one call allocates"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_cuda_peak_is_measured() -> None:
    x = torch.randn(1 << 20, device="cuda")  # 4 MiB, a multiple of the allocator's block
    memory = measure_memory(lambda: x.relu().neg(), nn.Identity(), torch.device("cuda"))
    assert (memory.peak_bytes, memory.how) == (2 * 4 * 1024**2, "measured")


def test_ctrl_c_waits_for_the_profiler() -> None:
    """Interrupted inside, torch's profiler has ended the process with a segmentation fault."""
    done = []

    def call() -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        done.append(True)
        return torch.zeros(1024)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        measure_memory(call, nn.Identity(), torch.device("cpu"))
    assert done and signal.getsignal(signal.SIGINT) is before
    assert measure_memory(lambda: torch.zeros(1024), nn.Identity(), torch.device("cpu")).peak_bytes == 4096
