"""Find and read devices/*.toml and studies/*.toml: in the wheel, in a checkout, or by path."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .config import Device, Study
from .errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

__all__ = ["load_device", "load_study", "names"]

ConfigT = TypeVar("ConfigT", bound=BaseModel)


def _folder(kind: str) -> Path:
    inside = Path(__file__).parent / kind
    return inside if inside.is_dir() else Path(__file__).parent.parent / kind


def names(kind: str) -> list[str]:
    """Names that ship with paser-opt; ``kind`` is "devices" or "studies"."""
    return sorted(path.stem for path in _folder(kind).glob("*.toml"))


def load_device(name: str, **options: str | None) -> Device:
    """A device by its name in devices/, or by the path of a TOML file. Raises ConfigError.

    ``options`` of the command line stand for the file's keys, where they are given.
    """
    return _read(Device, "devices", name, {key: value for key, value in options.items() if value is not None})


def load_study(name: str) -> Study:
    """A study by its name in studies/, or by the path of a TOML file. Raises ConfigError."""
    return _read(Study, "studies", name)


def _read(model: type[ConfigT], kind: str, name: str, options: Mapping[str, str] = MappingProxyType({})) -> ConfigT:
    path = _find(kind, name, Path())
    content = _content(path, kind)
    try:
        return model.model_validate({**content, **options})
    except ValidationError as error:
        where = "--" if _foremost(error)["loc"][:1] in {(key,) for key in options} else f"{path}: "
        raise ConfigError(f"{where}{explain(error, model)}") from None


def _find(kind: str, name: str, beside: Path) -> Path:
    """The file of that name in the catalog, or at that path, from the folder ``beside``."""
    path = beside / name if name.endswith(".toml") or "/" in name else _folder(kind) / f"{name}.toml"
    if not path.is_file():
        known = names(kind)
        written, folder = Path(name), (beside / name).parent
        there = {} if "/" in name else {one: one for one in known}
        there |= {one.stem: str(written.parent / one.name) for one in folder.glob("*.toml")}
        near = difflib.get_close_matches(written.name.removesuffix(".toml"), there, n=1)
        hint = f"; did you mean {there[near[0]]}?" if near else "."
        one = {"devices": "device", "studies": "study"}[kind]
        raise ConfigError(f"no {one} {name!r}{hint} Known: {', '.join(known)}; or give the path of a .toml file")
    return path


def _content(path: Path, kind: str, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The keys of a file over those of the file that it ``extends``, if any; ``above`` are the files that led here."""
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise ConfigError(f"{path}: extends: name one of {', '.join(names(kind))}, or the path of a .toml file")
    below = _find(kind, base, path.parent)
    if below.resolve() in {one.resolve() for one in (*above, path)}:
        raise ConfigError(f"{path}: extends: {base} extends this file in turn; take one of the two out")
    return _merged(_content(below, kind, (*above, path)), content)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables key by key; anything else, lists too, from ``above`` where it is there."""
    merged = dict(below)
    for key, value in above.items():
        inner = below.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The foremost fault of a pydantic error in one line: field, fault, mend."""
    first = _foremost(error)
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        fields = _fields(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), fields, n=1)
        message = f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key; known: {', '.join(fields)}"
    more = len(error.errors()) - 1
    return f"{where or 'file'}: {message}" + (f" (and {more} more)" if more else "")


def _foremost(error: ValidationError) -> ErrorDetails:
    """An unknown key, if there is one, for it tells why another is missing; else the first fault."""
    faults = error.errors()
    return next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])


def _fields(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Keys of what lies at ``path``, lists of tables included."""
    for part in path:
        field = model.model_fields.get(str(part))
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return list(model.model_fields)
