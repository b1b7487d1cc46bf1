"""ONNX Runtime: fp32, and int8 (static: weights by channel, activations by the examples' range)."""

from __future__ import annotations

import io
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...config import Device
from ...errors import DeviceError
from ...onnx_session import open_session, starting
from ..board import thread_count
from ..onboard import PROVIDERS

__all__ = ["export_onnx", "onnx", "onnx_int8", "opset_for", "probe", "providers_for", "quantized"]

OPSET = 17
"""Read by ONNX Runtime 1.12 and newer; for older ones see :func:`opset_for`."""

_PROBE_OPSET = 13

REDUCE_RANGE = True
"""Weights of 7 bits: x86 CPUs without VNNI add two 8-bit products in 16 bits, which saturates; so every CPU computes
the same masks. https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "reduce_range"."""

_EXPORTING = threading.Lock()  # torch's exporter keeps its state in globals

_OPSETS = (((1, 12), 17), ((1, 11), 16), ((1, 9), 15), ((1, 8), 14))
"""ONNX Runtime's version → the newest opset that it and newer ones read."""


def onnx(device: Device, where: torch.device) -> Callable[[nn.Module, Sequence[tuple[Tensor, ...]]], Any]:
    """The module as ONNX through ONNX Runtime, by TensorRT or CUDA where it has them."""
    return _runtime(device, where, quantize=False)


def onnx_int8(device: Device, where: torch.device) -> Callable[[nn.Module, Sequence[tuple[Tensor, ...]]], Any]:
    """The same with the convolutions in 8-bit integers: another model, whose masks are not the fp32 one's."""
    return _runtime(device, where, quantize=True)


def _runtime(device: Device, where: torch.device, *, quantize: bool) -> Callable[..., Any]:
    if device.precision != "fp32":
        raise DeviceError(f"runtime {device.runtime} runs in its own precision; leave --precision at fp32")
    providers = providers_for(device, where)

    def prepare(module: nn.Module, examples: Sequence[tuple[Tensor, ...]]) -> Callable[..., Any]:
        content = export_onnx(module, examples)
        if quantize:
            content = quantized(content, examples)
        return _session(content, providers, thread_count(device.threads))

    return prepare


def providers_for(device: Device, where: torch.device) -> list[str]:
    """ONNX Runtime's providers that start for ``where``, best first. Raises DeviceError when none does."""
    try:
        found = starting(probe(), PROVIDERS[where.type])
    except ImportError:
        raise DeviceError(
            f"device {device.name}: ONNX Runtime is not installed here; pip install onnxruntime, or --runtime eager"
        ) from None
    if not found:
        raise DeviceError(
            f"device {device.name}: of {', '.join(PROVIDERS[where.type])} this ONNX Runtime has none that starts; "
            "install onnxruntime-gpu, or choose --runtime eager"
        )
    return found


def probe() -> bytes:
    """The smallest model, of an opset that every ONNX Runtime reads."""
    return export_onnx(nn.Identity(), [(torch.zeros(1),)], opset=_PROBE_OPSET)


def opset_for(version: str) -> int:
    """The newest opset, up to OPSET, that ONNX Runtime ``version`` reads. Raises DeviceError for one too old."""
    major, minor = (int(part) for part in version.split(".")[:2])
    for known, opset in _OPSETS:
        if (major, minor) >= known:
            return opset
    raise DeviceError(f"onnxruntime {version} is too old: 1.8 or newer is needed")


def export_onnx(module: nn.Module, examples: Sequence[tuple[Tensor, ...]], *, opset: int = OPSET) -> bytes:
    """``module`` as ONNX; inputs are named x0, x1 …, and an axis on which the examples differ is left open."""
    names = [f"x{index}" for index in range(len(examples[0]))]
    open_axes: dict[str, dict[int, str]] = {}
    for name, *shapes in zip(names, *([tuple(x.shape) for x in inputs] for inputs in examples), strict=True):
        axes = {axis: f"{name}_{axis}" for axis, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1}
        if axes:
            open_axes[name] = axes
    buffer = io.BytesIO()
    with _EXPORTING, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer's: sizes are constants here, and it is to be so
        torch.onnx.export(
            module.eval(),
            examples[-1],
            buffer,  # type: ignore[arg-type]
            input_names=names,
            dynamic_axes=open_axes,
            opset_version=opset,
            dynamo=False,  # dynamo's needs onnxscript and takes seconds a module
        )
    return buffer.getvalue()


def _session(content: bytes, providers: list[str], threads: int) -> Callable[..., Any]:
    session = open_session(content, providers, threads)
    inputs = [one.name for one in session.get_inputs()]  # an input nothing depends on is not among them

    def run(*tensors: Tensor) -> Any:
        feeds = {name: tensors[int(name[1:])].numpy(force=True) for name in inputs}
        outputs = [torch.from_numpy(one) for one in session.run(None, feeds)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    return run


def quantized(content: bytes, examples: Sequence[tuple[Tensor, ...]]) -> bytes:
    """The ONNX model with its convolutions in 8-bit integers."""
    import onnx as onnx_package
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = onnx_package.load_from_string(content)
    if not any(node.op_type == "Conv" for node in model.graph.node):
        return content
    known = {one.name for one in model.graph.input}

    class Examples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(examples)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            inputs = next(self.left, None)
            if inputs is None:
                return None
            named = {f"x{index}": np.asarray(tensor.numpy(force=True)) for index, tensor in enumerate(inputs)}
            return {name: value for name, value in named.items() if name in known}

    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        # Shapes are known; the symbolic inference fails where a mask of dropout is fitted to an image.
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, quantized, Examples(), quant_format=QuantFormat.QDQ, per_channel=True,
            reduce_range=REDUCE_RANGE, op_types_to_quantize=["Conv"],
        )  # fmt: skip
        return quantized.read_bytes()
