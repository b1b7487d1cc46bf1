"""The report of a run: records → plain tuples (info) → figures → one offline page.

Reads a run folder and nothing else, so a report can be made on another machine, without torch.
"""

from __future__ import annotations

from .beside import write_devices
from .page import write_report
from .versus import write_comparison

__all__ = ["write_comparison", "write_devices", "write_report"]
