"""What users describe: devices, data, the pipeline, the search space, the study. Frozen and strict.

Each model is read from TOML by :mod:`paser_opt.catalog`; an unknown key or a wrong unit is an error.
Symbols of the paper (PaSeR, AAAI 2024, arXiv 2402.11760) stand beside the field that means them.
"""

from .base import FLAT, OBJECTIVES, Context, CostKind, Grid, Objective, Precision, RuntimeName, Standardise
from .data import DataConfig
from .device import Device, Figure
from .pipeline import PipelineConfig, PolicyConfig, Size, StaticSize, TrainConfig, UNetConfig
from .study import Budget, ModelSpace, Range, Space, Study

__all__ = [
    "FLAT",
    "OBJECTIVES",
    "Budget",
    "Context",
    "CostKind",
    "DataConfig",
    "Device",
    "Figure",
    "Grid",
    "ModelSpace",
    "Objective",
    "PipelineConfig",
    "PolicyConfig",
    "Precision",
    "Range",
    "RuntimeName",
    "Size",
    "Space",
    "Standardise",
    "StaticSize",
    "Study",
    "TrainConfig",
    "UNetConfig",
]
