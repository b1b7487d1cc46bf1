"""The stage store: what a stage made, under the hash of everything it was made from.

The key hashes the stage's configuration, the keys of what it builds on, the data's fingerprint and the code of
the rooms that train, so an entry can never be mistaken for another and nothing that is stored is made twice.
It names no machine: what a GPU trained serves the board it is deployed on. An entry's notes tell where it was made.
Entries are safetensors files; each holds a digest of its tensors, and one that does not match is made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..cache import evict
from ..errors import RunError
from ..records import write_bytes

__all__ = ["Artifact", "ArtifactStore", "Tensors"]

Tensors = Mapping[str, Tensor]
_ROOMS = ("data", "models", "train", "evaluate.py", "patches.py")


NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system without locks answers."""


@dataclass(frozen=True)
class Artifact:
    """What one stage made: tensors by name, notes (JSON values), its key, the seconds it took now, and when it was
    made."""

    key: str
    tensors: dict[str, Tensor]
    notes: dict[str, Any]
    seconds: float
    made_in_s: float
    cached: bool


class ArtifactStore:
    """A folder of finished stages. Several processes may use it at once: files appear whole.

    What it lacks is taken from the ``shared`` folder, and what it makes is left there too: by hard links, so that
    either may be moved, emptied or held to ``shared_limit_bytes`` (least recently used go first) without the other.
    """

    def __init__(self, folder: Path, *, shared: Path | None = None, shared_limit_bytes: int | None = None) -> None:
        self.folder, self.shared, self.shared_limit_bytes = folder, shared, shared_limit_bytes

    def key(self, stage: str, **made_from: Any) -> str:
        """Content address of a stage: ``made_from`` holds JSON values, keys of upstream stages included."""
        text = json.dumps([stage, made_from, code_version()], sort_keys=True, default=str)
        return f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def get(self, key: str) -> Artifact | None:
        """The entry, or None where it is missing or damaged (damaged ones are removed)."""
        path = self.path(key)
        if self.shared and not path.exists():
            _link(self.shared / path.name, path)
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if header.get("digest") != _digest(tensors):
                raise ValueError("digest")
            notes = json.loads(header["notes"])
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError, KeyError):
            path.unlink(missing_ok=True)
            if self.shared:
                (self.shared / path.name).unlink(missing_ok=True)
            return None
        with suppress(OSError):  # a store that may only be read keeps no stamps
            os.utime(path)  # last used now: see cache.py
        return Artifact(key, tensors, notes, seconds=0.0, made_in_s=float(header.get("made_in_s", 0.0)), cached=True)

    def get_or_make(self, key: str, make: Callable[[], tuple[Tensors, dict[str, Any]]]) -> Artifact:
        """The stored entry, or ``make()``'s (tensors, notes), stored.

        Of several processes that want it at once, one makes it and the others wait.
        """
        found = self.get(key)
        if found:
            return found
        with _alone(self.path(key)):
            return self.get(key) or self._made(key, make)

    def _made(self, key: str, make: Callable[[], tuple[Tensors, dict[str, Any]]]) -> Artifact:
        start = time.monotonic()
        made, notes = make()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in made.items()}
        took_s = time.monotonic() - start
        header = {"digest": _digest(tensors), "notes": json.dumps(notes), "made_in_s": f"{took_s:.3f}"}
        path = self.path(key)
        write_bytes(path, save(tensors, metadata=header))
        if self.shared:
            _link(path, self.shared / path.name)
            if self.shared_limit_bytes is not None:
                evict(self.shared, self.shared_limit_bytes)
        return Artifact(key, tensors, notes, seconds=took_s, made_in_s=took_s, cached=False)

    def restore(self, modules: Mapping[str, nn.Module], keys: Mapping[str, str]) -> None:
        """Load into each module the weights under its key, as a trial records them, and put it into eval mode.

        Raises RunError where weights are gone or of another version.
        """
        for name, module in modules.items():
            artifact = self.get(keys.get(name, ""))
            if artifact is None:
                raise RunError(
                    f"the weights of {name} are not in {self.shared or self.folder}: "
                    "`paser-opt search` with --resume trains them again"
                )
            try:
                module.load_state_dict(artifact.tensors)
            except RuntimeError:
                raise RunError(
                    f"the weights of {name} in {self.folder} were made by another version of paser-opt; search anew"
                ) from None
            module.eval()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Nobody else makes ``file`` meanwhile; where the file system knows no locks, somebody may.

    A folder that cannot be written to raises OSError now, not after hours of training.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.with_suffix(".lock"))
    try:
        lock.acquire()
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        if lock.is_locked:  # who waits for it then looks into the store
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def _link(file: Path, to: Path) -> None:
    """The same file in another folder, or its copy where hard links cannot be; nothing where there is no ``file``."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # other processes evict meanwhile
        try:
            to.hardlink_to(file)
        except FileExistsError:
            pass  # and link
        except OSError:
            write_bytes(to, file.read_bytes())


def _digest(tensors: Tensors) -> str:
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return sha.hexdigest()


@cache
def code_version() -> str:
    """Hash of the sources whose change may change a stage's result."""
    root = Path(__file__).parent.parent
    files = [file for room in _ROOMS for file in ((root / room).rglob("*.py") if "." not in room else [root / room])]
    sha = hashlib.sha256()
    for file in sorted(files):
        sha.update(file.read_bytes())
    return sha.hexdigest()[:16]
