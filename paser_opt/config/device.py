"""One device: how to know it, how to measure it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Config, Precision, RuntimeName

__all__ = ["Device", "Figure"]


class Figure(Config):
    """A figure of a data sheet: its value in the unit its name says, and where it was read."""

    value: float = Field(gt=0, allow_inf_nan=False)
    source: str = Field(min_length=3)


class Device(Config):
    """One device: how to know it, how to measure it. Figures are a data sheet's, never measurements."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    description: str = ""
    kind: Literal["cpu", "cuda", "mps", "jetson", "raspberry-pi"] = "cpu"
    local: bool = Field(False, description="this is whatever machine paser-opt runs on")
    match: tuple[str, ...] = Field(
        (), description="words of which one stands in the device-tree compatible or the GPU's name"
    )
    host: str | None = Field(None, pattern=r"^[^-\s\x00][^\s\x00]*$", description="user@board for ssh")
    python: str = Field("python3", pattern=r"^[\w.~/+-]+$", description="Python on the host, or its path")
    threads: int = Field(1, ge=0, description="CPU threads of a measurement; 0: all cores")
    runtime: RuntimeName = Field("auto", description="auto: torch eager here; over ssh, what the board has")
    precision: Precision = Field("fp32", description="bf16, fp16: by autocast, with eager and compile")
    meters: tuple[str, ...] = Field((), description="energy meters to try, in this order")
    rails: tuple[str, ...] = Field((), description="INA3221 rails that sum to the module's total")
    peak_flops_per_s: Figure | None = None
    memory_bytes_per_s: Figure | None = None
    max_power_w: Figure | None = None
    memory_bytes: Figure | None = None
