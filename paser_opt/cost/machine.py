"""Which machine this is, and whether it is the one a device description means."""

from __future__ import annotations

import ctypes
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from ..config import Device
from ..errors import DeviceError
from ..records import Machine
from . import board

__all__ = ["describe_machine", "identity", "local_device", "nvidia_driver", "synchronizer", "using_threads"]


def local_device(device: Device, *, root: Path = board.ROOT) -> torch.device:
    """The torch device that ``device`` means on this machine; ``root`` stands for / in tests.

    Raises DeviceError, with what to do, when this machine is not that device or torch cannot use it.
    """
    if not device.local and not board.matches(device.match, _identities(root)):
        known = f"none of {', '.join(device.match)} is in" if device.match else "its TOML names no match for"
        raise DeviceError(
            f"device {device.name} is not this machine ({known} the device tree or the first GPU's name): "
            f"run paser-opt on that device, reach it by --host user@board, take --estimate for its data sheet's "
            f"bound, or choose --device cpu"
        )
    if device.kind in ("cuda", "jetson"):
        if not torch.cuda.is_available():
            raise DeviceError(
                f"device {device.name}: torch {torch.__version__} finds no CUDA GPU here: install torch for "
                f"CUDA and the GPU's driver, or choose --device cpu"
            )
        return torch.device("cuda", 0)
    if device.kind == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceError(f"device {device.name}: torch finds no Apple GPU here: choose --device cpu")
        return torch.device("mps")
    return torch.device("cpu")


def synchronizer(where: torch.device) -> Callable[[], object]:
    """What waits until the device has done its work."""
    if where.type == "cuda":
        return partial(torch.cuda.synchronize, where)
    if where.type == "mps":
        return torch.mps.synchronize
    return lambda: None


@contextmanager
def using_threads(threads: int) -> Iterator[None]:
    """torch on so many CPU threads (0: all cores) inside, on as many as before outside; freed memory is kept for the
    next call.

    By default glibc gives large blocks back to the system and faults them in again in the next call, or does not,
    depending on what ran before, so that one call's time differs from process to process. Linux with glibc only;
    elsewhere the allocator is left as it is. Source: man 3 mallopt.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(board.thread_count(threads))
    _mallopt((_M_TRIM_THRESHOLD, -1), (_M_MMAP_MAX, 0))
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _mallopt((_M_TRIM_THRESHOLD, 128 * 1024), (_M_MMAP_MAX, 65536))  # glibc's defaults


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_GLIBC = platform.libc_ver()[0] == "glibc"


def _mallopt(*settings: tuple[int, int]) -> None:
    if _GLIBC:
        libc = ctypes.CDLL(None)
        for name, value in settings:
            libc.mallopt(name, value)


def describe_machine(device: Device, where: torch.device, *, runtime: str, root: Path = board.ROOT) -> Machine:
    """The identity and the present state of this machine, as ``device`` on torch device ``where``.

    Raises DeviceError for more threads than the machine has cores.
    """
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    accelerator = None
    if where.type == "cuda":
        accelerator = torch.cuda.get_device_name(where)
        versions["cuda"] = str(torch.version.cuda)
        versions["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
        if driver := nvidia_driver(root):
            versions["driver"] = driver
    elif where.type == "mps":
        accelerator = "Apple GPU"
    if device.runtime.startswith("onnx"):
        versions["onnxruntime"] = version("onnxruntime")
    return Machine(
        device=device.name,
        system=board.system(),
        processor=board.processor(root),
        cores=board.core_count(),
        threads=board.thread_count(device.threads),
        memory_bytes=board.memory_bytes(),
        accelerator=accelerator,
        runtime=runtime,
        precision=device.precision,
        versions=versions,
        state={**board.state(root), **({"allocator": "glibc, keeps freed memory"} if _GLIBC else {})},
    )


def nvidia_driver(root: Path = board.ROOT) -> str:
    """Version of the NVIDIA kernel module, such as "580.159.04"; "" where there is none.

    The open module's line has more words in it ("… Open Kernel Module for x86_64  580.159.04 …") than the closed one's.
    """
    found = re.search(r"Module\b.*?\s(\d+(?:\.\d+)+)", board.read_text(root / "proc/driver/nvidia/version"))
    return found[1] if found else ""


def identity(machine: Machine) -> dict[str, str]:
    """What must agree before measurements may stand in one profile."""
    return {
        "device": machine.device,
        "processor": machine.processor,
        "threads": str(machine.threads),
        "runtime": machine.runtime,
        "precision": machine.precision,
        **{name: machine.versions[name] for name in ("torch", "onnxruntime") if name in machine.versions},
        "accelerator": machine.accelerator or "none",
        **{name: machine.state[name] for name in ("governor", "power_mode") if name in machine.state},
    }


def _identities(root: Path) -> str:
    """Only the first GPU: it is the one that is measured."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return f"{board.compatible(root)} {gpu}"
