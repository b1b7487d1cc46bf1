"""What every record is, and files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
import uuid
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import RunError

__all__ = ["FORMAT", "How", "Record", "make_room", "read_record", "versions", "write_bytes", "write_text"]

FORMAT = 1
"""Version of the files of a run; raised when an older one could not be read any more."""

How = Literal["measured", "counter", "sampled", "counted", "predicted", "estimated"]
"""measured: timed here · counter: hardware energy counter · sampled: power sensor integrated over time ·
counted: exact arithmetic · predicted: composed from measured parts · estimated: a model, not a measurement."""


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    def write(self, path: Path) -> None:
        """Write as JSON; the file is there whole or not at all."""
        write_text(path, self.model_dump_json(indent=1) + "\n")


RecordT = TypeVar("RecordT", bound=Record)


def read_record(kind: type[RecordT], path: Path) -> RecordT:
    """Read one record. Raises RunError with the file and the field that is wrong."""
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RunError(f"{path} is not a text file; it is damaged: remove it and run again") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RunError(f"{path} is damaged or of another version: {where}: {first['msg']}") from None


def make_room(path: Path) -> None:
    """Make the folder of ``path`` and see that a file can be put there, before the long work of which it tells.

    Raises OSError where none can.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def write_text(path: Path, text: str) -> None:
    """Write ``text`` so that the file is there whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path``, flush it to disk, then rename over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Named before it is made: a Ctrl-C that comes in between leaves no file that nobody knows of.
    temporary = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex[:12]}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """The rename itself must reach the disk before anyone is told of the file."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def versions(*packages: str) -> dict[str, str]:
    """Of ``packages`` as installed; of one that is on the path alone, as a source tree may be, that it is not."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
