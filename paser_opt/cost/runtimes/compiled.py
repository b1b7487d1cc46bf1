"""torch.compile (Inductor): fused kernels, compiled for every shape it meets."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...config import Device
from ...errors import DeviceError
from .eager import autocast_to

__all__ = ["compiled"]


def compiled(device: Device, where: torch.device) -> Callable[[nn.Module, Sequence[tuple[Tensor, ...]]], Any]:
    """Compiled once for all numbers of patches; on a CPU that needs a C++ compiler."""
    if where.type == "cpu" and not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise DeviceError(
            f"device {device.name}: torch.compile needs a C++ compiler here (Debian: apt-get install g++); "
            "or choose --runtime eager"
        )

    def prepare(module: nn.Module, examples: Sequence[tuple[Tensor, ...]]) -> Callable[..., Any]:
        run = autocast_to(device, where, torch.compile(module, dynamic=len(examples) > 1))
        with torch.inference_mode():
            for inputs in examples:  # now, and not while somebody's clock runs
                run(*inputs)
        return run

    return prepare
