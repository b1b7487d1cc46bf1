"""What a machine says of itself in files and commands: processor, boards' names, clocks and power mode.

Shipped to boards: Python 3.6, standard library only. ``root`` stands for / in tests.
"""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

from ..errors import DeviceError

__all__ = [
    "ROOT",
    "compatible",
    "core_count",
    "first_gpu",
    "matches",
    "memory_bytes",
    "processor",
    "read_text",
    "state",
    "system",
    "thread_count",
    "throttling",
]

ROOT = Path("/")
_STATE_FILES = {
    "governor": "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "intel_no_turbo": "sys/devices/system/cpu/intel_pstate/no_turbo",
    "load_average": "proc/loadavg",
}
_STATE_COMMANDS = {
    "power_mode": ("nvpmodel", "-q"),
    "clocks": ("jetson_clocks", "--show"),
    "throttled": ("vcgencmd", "get_throttled"),
}


def system() -> str:
    """Kernel, its release and the processor's architecture."""
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def processor(root: Path = ROOT) -> str:
    """The processor's name, else the board's."""
    model = re.search(r"^model name\s*:\s*(.+)$", read_text(root / "proc/cpuinfo"), re.MULTILINE)
    if model:
        return model.group(1).strip()
    board = read_text(root / "proc/device-tree/model").strip("\0")
    return board or _output(("sysctl", "-n", "machdep.cpu.brand_string")) or platform.processor() or "unknown"


def core_count() -> int:
    return os.cpu_count() or 1


def thread_count(wanted: int) -> int:
    """CPU threads of a measurement; 0 are all cores. Raises DeviceError for more threads than cores."""
    if wanted > core_count():
        raise DeviceError(f"threads = {wanted} in the device's TOML, but that machine has {core_count()} cores")
    return wanted or core_count()


def memory_bytes() -> Optional[int]:
    """Of the whole machine; None where the system does not say."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None


def state(root: Path = ROOT) -> Dict[str, str]:
    """Governor, turbo, load, power mode, clocks and throttling, of those that this machine has."""
    found = {name: read_text(root / file) for name, file in _STATE_FILES.items()}
    found.update((name, _output(command)) for name, command in _STATE_COMMANDS.items())
    return {name: text for name, text in found.items() if text}


def compatible(root: Path = ROOT) -> str:
    """The device tree's names of this board, most exact first; empty without a device tree."""
    return read_text(root / "proc/device-tree/compatible").replace("\0", " ")


def first_gpu() -> str:
    """The first NVIDIA GPU, as the driver's own tool names it; empty without any."""
    return _output(("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")).partition("\n")[0]


def throttling() -> str:
    """What a Raspberry Pi's firmware says where voltage or heat hold it back now; else empty, as on other machines.

    Bits 0 to 3: under-voltage, frequency capped, throttled, soft temperature limit. Source: Raspberry Pi's
    documentation of vcgencmd.
    """
    said = _output(_STATE_COMMANDS["throttled"])
    value = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)", said)
    return said if value and int(value.group(1), 16) & 0xF else ""


def matches(words: Sequence[str], text: str) -> bool:
    """Whole words only: H200 must not match GH200."""
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in words)


def read_text(path: Path) -> str:
    """The file's text, empty where this system has no such file."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _output(command: Tuple[str, ...]) -> str:
    """What the command prints, empty where it is not installed or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        return subprocess.check_output(command, stderr=subprocess.PIPE, timeout=5).decode(errors="replace").strip()
    except (OSError, subprocess.SubprocessError):
        return ""
