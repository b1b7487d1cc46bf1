"""What all configurations are made of: frozen and strict models, and the kinds of values that several of them hold."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "FLAT",
    "OBJECTIVES",
    "Base",
    "Config",
    "Context",
    "Corruption",
    "CorruptionOrNone",
    "CostKind",
    "Depth",
    "Grid",
    "Halo",
    "Objective",
    "Precision",
    "RuntimeName",
    "Scale",
    "Side",
    "Standardise",
    "listed",
]


CostKind = Literal["params", "flops", "latency", "energy", "memory"]
RuntimeName = Literal["auto", "eager", "compile", "onnx", "onnx-int8", "torchscript"]
Precision = Literal["fp32", "bf16", "fp16"]
Standardise = Literal["dataset", "image"]
Corruption = Literal["gaussian", "salt_and_pepper", "speckle", "blur", "contrast", "occlusion"]
CorruptionOrNone = Literal[Corruption, "none"]
Objective = Literal["iou", "gflops", "latency", "energy", "memory"]
FLAT = 1e-6
"""A standard deviation under it is that of a constant channel, and taken as 1."""
OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "iou": "maximize",
    "gflops": "minimize",
    "latency": "minimize",
    "energy": "minimize",
    "memory": "minimize",
}


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def listed(value: Any) -> Any:
    """A single value means a list of one, and none an empty one."""
    if value is None:
        return []
    return value if isinstance(value, list | tuple | dict | Config) else [value]


def _grid(value: Any) -> Any:
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+)\s*[x×]\s*(\d+)", value.strip())
        if not found:
            raise ValueError(f'grid {value!r} is not of the form "4x4" (rows x columns)')
        return int(found[1]), int(found[2])
    return value


Grid = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]], BeforeValidator(_grid)]


def _scale(value: float) -> float:
    if value not in (1.0, 0.5, 0.25, 0.125):
        raise ValueError(f"scale {value:g}: 1, 0.5, 0.25 or 0.125")
    return value


Scale = Annotated[float, AfterValidator(_scale)]
Base = Annotated[int, Field(ge=2, le=256, multiple_of=2)]
Depth = Annotated[int, Field(ge=1, le=6)]
Halo = Annotated[int, Field(ge=0, le=64)]
Context = Literal["none", "screen"]
Side = Annotated[int, Field(ge=8, le=16384)]
