"""Where data lies: ``~`` and ``${NAME}`` in [data] path."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import ConfigError, DataError

__all__ = ["data_folder"]


def data_folder(path: str) -> Path:
    """The folder that ``path`` means; relative paths start where paser-opt was called.

    Raises ConfigError for an environment variable that is not set, DataError where there is no such folder.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if not os.environ.get(name):
            raise ConfigError(f"[data] path = {path!r}: ${{{name}}} is not set; export {name}=FOLDER first")
        return os.environ[name]

    folder = Path(re.sub(r"\$\{(\w+)\}", value, path)).expanduser()
    if not folder.is_dir():
        raise DataError(f"there is no data folder {folder}; correct path in [data]")
    return folder
