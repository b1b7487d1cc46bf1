"""Multiply-accumulates of one call, counted by fvcore from a trace.

The convention of ``macs``: the multiply-accumulates of convolutions, linear layers and matrix products, and
nothing else; biases are free. It equals the hand formulas and half of torch's ``FlopCounterMode``, and
FLOPs = 2·MACs. fvcore's ``FlopCountAnalysis`` calls a multiply-accumulate a "flop" and silently adds
elementwise operations of norms and upsampling to it; here those have no handler, so they are listed in
``uncounted`` together with pooling, softmax and all else that is neither free nor a multiply-accumulate.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from fvcore.nn import jit_handles
from fvcore.nn.jit_analysis import JitModelAnalysis
from torch import Tensor, nn

from ..records import Work

__all__ = ["Counted", "count"]

_Shape = tuple[int, ...]

_CONVOLUTION = "aten::_convolution"
_PADDED = (1, 8, 16)  # multiples to which kernel libraries pad channels

_LINEAR = {
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
    work: Work | None


def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> Counted:
    """Trace one call of ``module`` and count it; the module is run once, on the device it is on."""
    shapes: list[tuple[_Shape, _Shape, _Shape]] = []

    def convolution(ins: list[Any], outs: list[Any]) -> Counter[str]:
        shapes.append((tuple(jit_handles.get_shape(ins[0])), tuple(jit_handles.get_shape(ins[1])),
                       tuple(jit_handles.get_shape(outs[0]))))  # fmt: skip
        return jit_handles.conv_flop_jit(ins, outs)  # type: ignore[no-any-return]

    handles = {**_LINEAR, _CONVOLUTION: convolution}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fvcore traces with torch.jit
        analysis = JitModelAnalysis(module, inputs).set_op_handle(**handles)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        macs = int(analysis.total())
    return Counted(
        params=sum(parameter.numel() for parameter in module.parameters()),
        macs=macs,
        uncounted=dict(sorted(analysis.unsupported_ops().items())),
        work=_work(shapes) if shapes else None,
    )


def _work(shapes: list[tuple[_Shape, _Shape, _Shape]]) -> Work:
    """From the shapes of each convolution's input, weights and output."""

    def padded(channels: int, multiple: int) -> int:
        return -(-channels // multiple) * multiple

    def macs(multiple: int) -> int:
        return sum(
            out[0] * math.prod(out[2:]) * padded(out[1], multiple) * padded(weight[1], multiple) * math.prod(weight[2:])
            for _, weight, out in shapes
        )

    def activations(multiple: int) -> int:
        return sum(x[0] * padded(x[1], multiple) * math.prod(x[2:]) for one in shapes for x in (one[0], one[2]))

    one, eight, sixteen = _PADDED
    return Work(
        convolutions=len(shapes),
        batch=max(image[0] for image, _, _ in shapes),
        weights=sum(math.prod(weight) for _, weight, _ in shapes),
        macs=(macs(one), macs(eight), macs(sixteen)),
        activations=(activations(one), activations(eight), activations(sixteen)),
    )
