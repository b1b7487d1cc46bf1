"""TorchScript: a traced module as bytes, for boards that have torch and no ONNX Runtime."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["export_torchscript"]


def export_torchscript(module: nn.Module, examples: Sequence[tuple[Tensor, ...]]) -> bytes:
    """``module`` as TorchScript, traced with the last example; numbers of patches stay open, as in ONNX."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's: sizes are constants here, and it is to be so
        torch.jit.save(torch.jit.trace(module.eval(), examples[-1], check_trace=False), buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()
