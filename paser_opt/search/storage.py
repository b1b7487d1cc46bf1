"""The database of a search: SQLite in the run's folder, or any server that SQLAlchemy knows; patient with both.

One driver asks and tells; workers never open it. A database that is locked or gone for a while is waited for.
"""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url

from ..errors import ConfigError, RunError

__all__ = ["PATIENCE_S", "Storage", "open_local", "open_url", "without_password"]

PATIENCE_S = 300.0
"""A database that says nothing for so long stops the search; what is finished lies in the run's folder."""

_STEPS_S = (0.5, 1.0, 2.0, 5.0)
_METHODS = (
    "create_new_study", "create_new_trial", "_create_new_trial", "get_all_trials", "_get_trials", "get_n_trials",
    "get_study_directions", "get_study_id_from_name", "get_study_name_from_id", "get_study_system_attrs",
    "get_study_user_attrs", "get_trial", "get_trial_id_from_study_id_trial_number", "get_trial_number_from_id",
    "get_trial_param", "get_trial_params", "get_trial_system_attrs", "get_trial_user_attrs", "set_study_system_attr",
    "set_study_user_attr", "set_trial_param", "_set_trial_param", "set_trial_state_values", "set_trial_system_attr",
    "set_trial_user_attr",
)  # fmt: skip
"""Every way of RDBStorage to its database that a search takes."""

Direction = Literal["maximize", "minimize"]
Say = Callable[[str], None]
Result = TypeVar("Result")


def without_password(url: str) -> str:
    """``url`` as it may be shown and kept. Raises ConfigError where it is none."""
    return _parse(url).render_as_string(hide_password=True)


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except sqlalchemy.exc.ArgumentError:  # its message holds the URL, and with it a password
        raise ConfigError(
            "--storage is no database URL: give one such as postgresql://user:password@host/database"
        ) from None


class Storage(RDBStorage):
    """An RDBStorage that waits for its database, and says so."""

    def __init__(self, url: str, *, shown: str, say: Say, engine: dict[str, Any]) -> None:
        self.shown, self.say = shown, say
        super().__init__(url, engine_kwargs=engine)

    def patiently(self, call: Callable[[], Result]) -> Result:
        """``call()``, again and again while the database is locked or gone, for PATIENCE_S."""
        begun, tries = time.monotonic(), 0
        while True:
            try:
                result = call()
            except StorageInternalError as error:
                reason = _passing(error)
                waited = time.monotonic() - begun
                if not reason:
                    raise RunError(f"the database {self.shown} refuses to write ({_words(error)}); the same command "
                                   "goes on once that is mended") from None  # fmt: skip
                if waited > PATIENCE_S:
                    raise RunError(f"the database {self.shown} has not answered for {waited / 60:.0f} min ({reason}); "
                                   "nothing finished is lost: the same command goes on") from None  # fmt: skip
                if not tries:
                    self.say(f"waiting for the database {self.shown}, up to {PATIENCE_S / 60:.0f} min ({reason})")
                time.sleep(_STEPS_S[min(tries, len(_STEPS_S) - 1)])
                tries += 1
            else:
                if tries:
                    self.say(f"the database is back after {time.monotonic() - begun:.0f} s")
                return result


def _patient(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def call(self: Storage, *arguments: Any, **options: Any) -> Any:
        return self.patiently(lambda: method(self, *arguments, **options))

    return call


for _name in _METHODS:
    setattr(Storage, _name, _patient(_name))


def _passing(error: StorageInternalError) -> str:
    """What the database says, where waiting may help; "" for a full disk, a missing table and the like."""
    lost = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError)
    words = _words(error)
    lasting = ("full", "readonly", "no such table", "disk I/O")
    return words if isinstance(error.__cause__, lost) and not any(one in words for one in lasting) else ""


def _words(error: BaseException) -> str:
    """The driver's own words on one line: SQLAlchemy adds the statement and its parameters."""
    cause = error.__cause__ or error
    return " ".join(str(getattr(cause, "orig", cause)).split())


# --- opening ------------------------------------------------------------------------------------------


def open_local(path: Path, name: str, directions: Sequence[Direction], *, say: Say) -> optuna.Study:
    """The study in the run's own SQLite file. Raises RunError for a file that is damaged or of another Optuna."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with suppress(sqlite3.OperationalError), sqlite3.connect(path) as connection:  # locked: is in WAL already
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.DatabaseError as error:
        raise RunError(f"{path} is damaged ({error}); start afresh with --new") from None
    return _open(f"sqlite:///{path.resolve()}", str(path), name, directions, say=say)


def open_url(url: str, name: str, directions: Sequence[Direction], *, say: Say) -> optuna.Study:
    """The study ``name`` in the database at ``url``. Raises ConfigError or RunError, without the password."""
    return _open(url, without_password(url), name, directions, say=say)


def _open(url: str, shown: str, name: str, directions: Sequence[Direction], *, say: Say) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    local = _parse(url).get_backend_name() == "sqlite"
    engine = {"connect_args": {"timeout": 5}} if local else {"pool_pre_ping": True}
    begun = time.monotonic()
    while True:
        try:
            storage = Storage(url, shown=shown, say=say, engine=engine)
            return optuna.create_study(
                study_name=name, storage=storage, directions=list(directions), load_if_exists=True
            )
        except ImportError as error:
            raise ConfigError(f"--storage {shown} needs a database driver: {error}; pip install it") from None
        except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
            words = _words(error)
            if "locked" not in words or time.monotonic() - begun > PATIENCE_S:
                raise RunError(f"cannot open the database {shown}: {words}") from None
            say(f"waiting for the database {shown}, up to {PATIENCE_S / 60:.0f} min ({words})")
        except RuntimeError as error:
            raise RunError(
                f"{shown} was written by another version of Optuna ({error}); run `optuna storage upgrade --storage …` "
                "on it, or start afresh with --new"
            ) from None
