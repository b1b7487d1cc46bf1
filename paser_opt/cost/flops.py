"""Multiply-accumulates of one call, counted by fvcore from a trace.

The convention of ``macs``: the multiply-accumulates of convolutions, linear layers and matrix products, and
nothing else; biases are free. It equals the hand formulas and half of torch's ``FlopCounterMode``, and
FLOPs = 2·MACs. fvcore's ``FlopCountAnalysis`` calls a multiply-accumulate a "flop" and silently adds
elementwise operations of norms and upsampling to it; here those have no handler, so they are listed in
``uncounted`` together with pooling, softmax and all else that is neither free nor a multiply-accumulate.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from fvcore.nn import jit_handles
from fvcore.nn.jit_analysis import JitModelAnalysis
from torch import Tensor, nn

__all__ = ["Counted", "count"]

_MAC_OPERATIONS = {
    "aten::_convolution": jit_handles.conv_flop_jit,
    "aten::linear": jit_handles.linear_flop_jit,
    "aten::addmm": jit_handles.addmm_flop_jit,
    "aten::mm": jit_handles.matmul_flop_jit,
    "aten::bmm": jit_handles.bmm_flop_jit,
    "aten::matmul": jit_handles.matmul_flop_jit,
    "aten::einsum": jit_handles.einsum_flop_jit,
}


@dataclass(frozen=True)
class Counted:
    """``macs`` of one call; ``uncounted``: operation → how often it ran without being counted."""

    params: int
    macs: int
    uncounted: dict[str, int]


def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> Counted:
    """Trace one call of ``module`` and count it; the module is run once, on the device it is on."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fvcore traces with torch.jit
        analysis = JitModelAnalysis(module, inputs).set_op_handle(**_MAC_OPERATIONS)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        macs = int(analysis.total())
    return Counted(
        params=sum(parameter.numel() for parameter in module.parameters()),
        macs=macs,
        uncounted=dict(sorted(analysis.unsupported_ops().items())),
    )
