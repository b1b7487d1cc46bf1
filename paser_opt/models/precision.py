"""bf16 autocast where the hardware multiplies in bf16."""

from __future__ import annotations

import torch

__all__ = ["autocast"]


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context for ``precision`` "fp32", "bf16" or "auto" (bf16 where the CPU or GPU has it)."""
    if device.type == "cpu":
        capable = torch.cpu.get_capabilities()
        fast = bool(capable.get("amx_bf16") or capable.get("avx512_bf16"))
    else:
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    wanted = precision == "bf16" or (precision == "auto" and fast)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
