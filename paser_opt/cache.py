"""What lies in stage stores: looked at, and evicted, least recently used first. No torch.

A stage that several stores share is one file by hard links: its modification time, set when it is read, says when any
of them used it last, and its bytes are free when none of them holds it any more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

__all__ = ["Stored", "evict", "stored"]

_NAME = re.compile(r"(?P<key>(?P<stage>[a-z]+)-[0-9a-f]{32})\.safetensors")
"""Nothing else is ever removed, whatever folder is named."""


class Stored(NamedTuple):
    """One stage's result in all the stores that hold it; ``used_s``: seconds since the epoch."""

    key: str
    stage: str
    size_bytes: int
    used_s: float
    files: tuple[Path, ...]


def stored(folder: Path) -> list[Stored]:
    """All that the stage stores in and below ``folder`` hold, least recently used first."""
    found: dict[str, dict[Path, os.stat_result]] = {}
    for file in folder.rglob("*.safetensors"):
        if name := _NAME.fullmatch(file.name):
            try:
                found.setdefault(name["key"], {})[file] = file.stat()
            except FileNotFoundError:
                continue  # another process evicted it meanwhile
    entries = [
        Stored(
            key,
            key.partition("-")[0],
            sum({one.st_ino: one.st_size for one in files.values()}.values()),
            max(one.st_mtime for one in files.values()),
            tuple(files),
        )
        for key, files in found.items()
        if files
    ]
    return sorted(entries, key=lambda one: one.used_s)


def evict(folder: Path, limit_bytes: int, keep: Collection[str] = ()) -> list[Stored]:
    """Remove the least recently used until what is left takes at most ``limit_bytes``; returns what was removed.

    Keys in ``keep`` stay, even beyond the limit. Several processes may do so at once, and others read and write: what
    one of them still needs is made again.
    """
    entries, removed = stored(folder), []
    size = sum(one.size_bytes for one in entries)
    for one in entries:
        if size <= limit_bytes:
            break
        if one.key not in keep:
            for file in one.files:
                file.unlink(missing_ok=True)
            removed.append(one)
            size -= one.size_bytes
    return removed
