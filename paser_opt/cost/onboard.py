"""Runtimes that a board may have: ONNX Runtime, or torch through TorchScript.

Shipped to boards: Python 3.6, standard library only; numpy comes with ONNX Runtime. ``kind`` is a device's kind.
"""

import io
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Union

from ..errors import DeviceError
from ..onnx_session import open_session, starting
from .board import first_gpu, processor

__all__ = [
    "PROVIDERS",
    "RUNTIMES",
    "WHERE",
    "OnnxRuntime",
    "Runtime",
    "TorchScript",
    "cuda_peak",
    "onnx_name",
    "open_runtime",
]

WHERE = {"cpu": "cpu", "raspberry-pi": "cpu", "cuda": "cuda", "jetson": "cuda", "mps": "mps"}
"""A device's kind → what torch calls it."""

PROVIDERS: Dict[str, Tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
    "mps": ("CoreMLExecutionProvider",),
}
"""ONNX Runtime's, best first. One that is there and does not start falls back to the CPU without an error."""


def onnx_name(name: str, providers: Sequence[str]) -> str:
    """The runtime ``name`` with what it runs through, unless that is the CPU: "onnx (Tensorrt, CUDA)"."""
    short = ", ".join(one.replace("ExecutionProvider", "") for one in providers)
    return name if short == "CPU" else f"{name} ({short})"


class OnnxRuntime:
    """ONNX Runtime on the kind's providers. ``probe`` is a small model as ONNX that tells which of them start.

    Raises DeviceError where it is not installed or has none of the providers.
    """

    no_peak = "ONNX Runtime does not say what one call allocates"

    def __init__(self, name: str, kind: str, threads: int, probe: bytes) -> None:
        try:
            import numpy
            import onnxruntime
        except (ImportError, OSError) as error:
            raise DeviceError(_not_importable("onnxruntime", error)) from None
        self._numpy, self._threads = numpy, threads
        wanted = PROVIDERS[WHERE[kind]]
        self._providers = starting(probe, wanted)
        if not self._providers:
            raise DeviceError(f"onnxruntime has no {' or '.join(wanted)} that starts")
        self.name = onnx_name(name, self._providers)
        self.accelerator = None if WHERE[kind] == "cpu" else first_gpu() or f"GPU of {processor()}"
        self.versions = {"onnxruntime": onnxruntime.__version__, "numpy": numpy.__version__}

    def tensor(self, content: bytes, dtype: str, shape: Sequence[int]) -> Any:
        return self._numpy.frombuffer(content, dtype).reshape(shape)

    def load(self, content: bytes) -> Any:
        return open_session(content, self._providers, self._threads)

    def call(self, model: Any, inputs: Sequence[Any]) -> Callable[[], object]:
        feeds = {one.name: inputs[int(one.name[1:])] for one in model.get_inputs()}
        return lambda: model.run(None, feeds)

    def synchronize(self) -> None:
        """Nothing: ``run`` returns when the result is in the host's memory."""

    def peak_bytes(self, call: Callable[[], object]) -> Optional[int]:
        return None


class TorchScript:
    """torch's interpreter of traced modules. Raises DeviceError where torch is missing or finds no GPU."""

    def __init__(self, name: str, kind: str, threads: int, probe: bytes) -> None:
        try:
            import torch
        except (ImportError, OSError) as error:
            raise DeviceError(_not_importable("torch", error)) from None
        self.name, self._torch, self._where = name, torch, WHERE[kind]
        self.versions = {"torch": str(torch.__version__)}
        self.accelerator = None
        if self._where == "cuda":
            if not torch.cuda.is_available():
                raise DeviceError(f"torch {torch.__version__} finds no CUDA GPU")
            self.accelerator = torch.cuda.get_device_name(0)
            self.versions["cuda"] = str(torch.version.cuda)
        if self._where == "mps":
            if not torch.backends.mps.is_available():
                raise DeviceError(f"torch {torch.__version__} finds no Apple GPU")
            self.accelerator = "Apple GPU"
        self.no_peak = f"TorchScript's peak of allocated memory is not read on {self._where}"
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def tensor(self, content: bytes, dtype: str, shape: Sequence[int]) -> Any:
        torch = self._torch
        return torch.frombuffer(bytearray(content), dtype=getattr(torch, dtype)).reshape(shape).to(self._where)

    def load(self, content: bytes) -> Any:
        stream = io.BytesIO(content)
        return self._torch.jit.load(stream, map_location=self._where).eval()  # type: ignore[no-untyped-call]

    def call(self, model: Any, inputs: Sequence[Any]) -> Callable[[], object]:
        return lambda: model(*inputs)

    def synchronize(self) -> None:
        if self._where != "cpu":
            getattr(self._torch, self._where).synchronize()

    def peak_bytes(self, call: Callable[[], object]) -> Optional[int]:
        return cuda_peak(call) if self._where == "cuda" else None


Runtime = Union[OnnxRuntime, TorchScript]
RUNTIMES: Dict[str, Callable[[str, str, int, bytes], Runtime]] = {
    "onnx": OnnxRuntime,
    "onnx-int8": OnnxRuntime,
    "torchscript": TorchScript,
}


def open_runtime(name: str, kind: str, threads: int, probe: bytes) -> Runtime:
    """The runtime ``name``; "auto": ONNX Runtime, else torch. Raises DeviceError with what is missing, and the mend."""
    reasons = []
    for one in ("onnx", "torchscript") if name == "auto" else (name,):
        try:
            return RUNTIMES[one](one, kind, threads, probe)
        except DeviceError as error:
            reasons.append(str(error))
    package = "torch" if name == "torchscript" else "onnxruntime-gpu" if kind == "cuda" else "onnxruntime"
    mend = f"python3 -m pip install {package} there"
    if kind == "jetson":  # whose GPU PyPI's wheels do not know
        mend = "install the onnxruntime-gpu or torch that NVIDIA builds for its JetPack"
    raise DeviceError(
        f"no runtime: {'; '.join(reasons)}: {mend}, or name the python of a virtual environment that has it as "
        'python = "…" in the device\'s TOML'
    )


def cuda_peak(call: Callable[[], object]) -> int:
    """Peak bytes that torch's allocator gave out for one call on the first GPU, beyond those given out before."""
    import torch

    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _not_importable(package: str, error: Exception) -> str:
    if isinstance(error, ImportError) and error.name == package:
        return f"{package} is not installed"
    return f"{package} cannot be imported ({str(error).splitlines()[0]})"
