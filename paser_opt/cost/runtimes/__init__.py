"""Runtimes: how a module is run on this machine. A new one is a new file and a line in RUNTIMES.

A runtime turns a module, and examples of every shape of input it will see, into a function of the same inputs.
What the profile times and what :class:`~paser_opt.routing.RoutedPipeline` runs are the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...config import Device, RuntimeName
from ...errors import DeviceError
from ..onboard import onnx_name
from .compiled import compiled
from .eager import eager
from .onnx import onnx, onnx_int8, providers_for

__all__ = ["RUNTIMES", "Executable", "Runtime", "runtime_for", "runtime_name"]

Executable = Callable[..., Any]
"""The module's inputs, as tensors of any shape of the examples → its outputs."""

Runtime = Callable[[nn.Module, Sequence[tuple[Tensor, ...]]], Executable]

RUNTIMES: dict[RuntimeName, Callable[[Device, torch.device], Runtime]] = {
    "eager": eager,
    "compile": compiled,
    "onnx": onnx,
    "onnx-int8": onnx_int8,
}


def runtime_for(device: Device, where: torch.device) -> Runtime:
    """The runtime ``device`` names ("auto": eager). Raises DeviceError where this machine lacks it, with the mend."""
    name = _chosen(device)
    if name not in RUNTIMES:
        raise DeviceError(f"runtime {name} runs on devices reached by --host; here choose one of {', '.join(RUNTIMES)}")
    return RUNTIMES[name](device, where)


def runtime_name(device: Device, where: torch.device) -> str:
    """What a profile calls the runtime, ONNX Runtime with the providers that start. Raises what they raise."""
    name = _chosen(device)
    return onnx_name(name, providers_for(device, where)) if name.startswith("onnx") else name


def _chosen(device: Device) -> RuntimeName:
    return "eager" if device.runtime == "auto" else device.runtime
