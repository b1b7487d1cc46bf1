"""The database: locked, gone, full, of another version, elsewhere; and passwords that are never shown."""

import sqlite3
import subprocess
import sys
import threading
import time

import optuna
import pytest

from paser_opt.errors import ConfigError, RunError
from paser_opt.search import storage
from paser_opt.search.storage import open_local, open_url, without_password

BOTH = ("maximize", "minimize")
HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("COMMIT")
"""


@pytest.fixture
def said():
    return []


@pytest.fixture
def study(tmp_path, said):
    return open_local(tmp_path / "study.db", "s", BOTH, say=said.append)


def held(path, seconds: float) -> subprocess.Popen:
    """Another process that locks the database out."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_locked_database_is_waited_for_with_a_word(study, tmp_path, said):
    trial = study.ask()
    holder = held(tmp_path / "study.db", 7)  # SQLite itself waits for 5 s
    trial.suggest_float("x", 0, 1)
    study.tell(trial, [1.0, 2.0])
    holder.wait()
    assert said[0] == f"waiting for the database {tmp_path / 'study.db'}, up to 5 min (database is locked)"
    assert said[-1].startswith("the database is back after")
    assert [one.values for one in study.trials] == [[1.0, 2.0]]


def test_a_database_that_goes_away_and_comes_back(tmp_path, said):
    folder = tmp_path / "server"
    folder.mkdir()
    url = f"sqlite:///{folder / 'x.db'}"
    study = open_url(url, "s", BOTH, say=said.append)
    trial = study.ask()
    study._storage._backend.engine.dispose()  # no connection survives a server that goes
    folder.rename(tmp_path / "gone")
    threading.Timer(3, lambda: (tmp_path / "gone").rename(folder)).start()
    study.tell(trial, [1.0, 2.0])
    assert "unable to open database file" in said[0]
    assert len(said) == 2
    assert open_url(url, "s", BOTH, say=said.append).trials[0].values == [1.0, 2.0]


def test_patience_has_an_end(study, tmp_path, said, monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE_S", 1.0)
    holder = held(tmp_path / "study.db", 60)
    with pytest.raises(RunError, match="nothing finished is lost: the same command goes on"):
        study.set_user_attr("x", 1)
    holder.kill()
    holder.wait()


def test_a_full_disk_is_not_waited_for(study, said):
    engine = study._storage._backend.engine
    with engine.connect() as connection:  # SQLite's own limit stands for the disk's: the same error, SQLITE_FULL
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    begun = time.monotonic()
    with pytest.raises(RunError, match=r"refuses to write .*full"):
        for number in range(10_000):
            study.set_user_attr(str(number), "x" * 2000)
    assert not said
    assert time.monotonic() - begun < 30


def test_a_database_of_another_optuna_says_how_it_opens(study, tmp_path, said):
    study._storage._backend.engine.dispose()
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    with pytest.raises(RunError, match=r"another version of Optuna .*optuna storage upgrade"):
        open_local(tmp_path / "study.db", "s", BOTH, say=said.append)


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@127.0.0.1:1/runs", "mysql+nodriver://me:hunter2@h/d"])
def test_passwords_are_never_shown(url, said):
    assert without_password(url) == url.replace("hunter2", "***")
    with pytest.raises((ConfigError, RunError)) as raised:
        open_url(url, "s", BOTH, say=said.append)
    assert "hunter2" not in str(raised.value)
    assert not said


def test_a_url_that_is_none(said):
    with pytest.raises(ConfigError, match="--storage is no database URL"):
        open_url("hunter2", "s", BOTH, say=said.append)


def test_a_damaged_file(tmp_path, said):
    (tmp_path / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match=r"is damaged .*--new"):
        open_local(tmp_path / "study.db", "s", BOTH, say=said.append)


def test_every_way_to_the_database_exists_in_this_optuna():
    assert all(hasattr(optuna.storages.RDBStorage, name) for name in storage._METHODS)
