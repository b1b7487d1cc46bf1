"""torch, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...config import Device
from ...errors import DeviceError

__all__ = ["autocast_to", "eager"]


def eager(device: Device, where: torch.device) -> Callable[[nn.Module, Sequence[tuple[Tensor, ...]]], Any]:
    """The module itself, in ``device.precision`` by autocast."""

    def prepare(module: nn.Module, examples: Sequence[tuple[Tensor, ...]]) -> Callable[..., Any]:
        return autocast_to(device, where, module)

    return prepare


def autocast_to(device: Device, where: torch.device, call: Callable[..., Any]) -> Callable[..., Any]:
    """``call`` in the device's precision. Raises DeviceError for one that ``where`` does not have."""
    if device.precision == "fp32":
        return call
    dtype = torch.bfloat16 if device.precision == "bf16" else torch.float16
    if where.type == "cuda" and dtype is torch.bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError(f"device {device.name}: this GPU has no bf16; choose --precision fp16 or fp32")
    if where.type == "cpu" and dtype is torch.float16:
        raise DeviceError(f"device {device.name}: fp16 is for GPUs; on a CPU choose --precision bf16 or fp32")

    def run(*inputs: Tensor) -> Any:
        with torch.autocast(where.type, dtype):
            return call(*inputs)

    return run
