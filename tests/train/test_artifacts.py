import errno
import os
import threading

import pytest
import torch

from paser_opt.cache import evict, stored
from paser_opt.train import artifacts
from paser_opt.train.artifacts import ArtifactStore
from paser_opt.train.stages import TRAINED_ON, place, trained_on

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3), "empty": torch.zeros(0, 2)}


def test_made_once_then_taken_from_the_store(tmp_path):
    store = ArtifactStore(tmp_path)
    made = []

    def make():
        made.append(1)
        return TENSORS, {"history": [{"epoch": 1.0}]}

    key = store.key("pretrain", model={"base": 4}, data="abc")
    first = store.get_or_make(key, make)
    second = ArtifactStore(tmp_path).get_or_make(key, make)
    assert made == [1]
    assert (first.cached, second.cached) == (False, True)
    assert second.notes == {"history": [{"epoch": 1.0}]}
    assert all(torch.equal(second.tensors[name], TENSORS[name]) for name in TENSORS)


def test_of_several_that_want_a_stage_at_once_one_makes_it(tmp_path):
    made, begun, go_on = [], threading.Event(), threading.Event()

    def make():
        made.append(threading.get_ident())
        begun.set()
        assert go_on.wait(10)
        return TENSORS, {}

    found = []
    askers = [
        threading.Thread(target=lambda: found.append(ArtifactStore(tmp_path).get_or_make("a", make))) for _ in range(4)
    ]
    for asker in askers:
        asker.start()
    assert begun.wait(10)
    go_on.set()
    for asker in askers:
        asker.join(10)
    assert len(made) == 1 and sorted(one.cached for one in found) == [False, True, True, True]
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"], "no lock stays behind"


@pytest.mark.parametrize("answer", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()])
def test_where_the_file_system_knows_no_locks_a_stage_is_made_without(answer, tmp_path, monkeypatch):
    class Refused(artifacts.FileLock):
        def acquire(self, *args, **kwargs):
            raise answer

    monkeypatch.setattr(artifacts, "FileLock", Refused)
    assert not ArtifactStore(tmp_path).get_or_make("a", lambda: (TENSORS, {})).cached
    assert ArtifactStore(tmp_path).get("a") is not None


def test_a_store_that_cannot_be_written_to_says_so_before_anything_trains(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        ArtifactStore(tmp_path / "file").get_or_make("a", lambda: pytest.fail("training began"))


def test_the_key_changes_with_anything_it_is_made_from(tmp_path):
    store = ArtifactStore(tmp_path)
    keys = {
        store.key("pretrain", data="a", seed=0),
        store.key("distill", data="a", seed=0),
        store.key("pretrain", data="b", seed=0),
        store.key("pretrain", data="a", seed=1),
    }
    assert len(keys) == 4
    assert store.key("pretrain", seed=0, data="a") in keys


def test_the_key_names_no_machine_and_the_notes_do(tmp_path, monkeypatch):
    store = ArtifactStore(tmp_path)
    key = store.key("pretrain", data="a", seed=0)
    monkeypatch.setattr(torch, "__version__", "9.9.9+cu999")
    artifacts.code_version.cache_clear()
    assert store.key("pretrain", data="a", seed=0) == key

    there = place(torch.device("cpu"))
    assert there == f"cpu ({torch.get_num_threads()} threads), torch 9.9.9+cu999"
    store.get_or_make(key, lambda: (TENSORS, {TRAINED_ON: there}))
    store.get_or_make("b", lambda: (TENSORS, {TRAINED_ON: "NVIDIA H100, torch 2.11.0"}))
    store.get_or_make("older", lambda: (TENSORS, {}))
    assert trained_on(store, [key, "b", "older", "not there"]) == f"NVIDIA H100, torch 2.11.0 and {there}"
    assert trained_on(store, ["older"]) == ""


def test_damage_is_found_and_mended(tmp_path):
    store = ArtifactStore(tmp_path)
    key = store.key("x")
    store.get_or_make(key, lambda: (TENSORS, {}))
    path = store.path(key)
    whole = path.read_bytes()
    for damaged in (whole[:-4], whole[:-1] + bytes([whole[-1] ^ 1]), b"", b"garbage"):
        path.write_bytes(damaged)
        assert store.get(key) is None
        assert not path.exists()
        again = store.get_or_make(key, lambda: (TENSORS, {}))
        assert not again.cached
        assert store.get(key) is not None


# --- shared, and held to a size -----------------------------------------------------------------------


def fill(store: ArtifactStore, *names: str) -> list[str]:
    """One entry a name, the first used longest ago."""
    keys = [store.key(name) for name in names]
    for at, key in enumerate(keys, start=1):
        store.get_or_make(key, lambda: (TENSORS, {}))
        os.utime(store.path(key), (at, at))
    return keys


def sharing(folder) -> tuple[ArtifactStore, ArtifactStore]:
    one, two = (ArtifactStore(folder / name, shared=folder / "shared") for name in ("one", "two"))
    return one, two


def keys_in(folder) -> list[str]:
    return [one.key for one in stored(folder)]


def never():
    raise AssertionError("made again")


def test_what_one_store_made_the_other_takes_and_keeps(tmp_path):
    one, two = sharing(tmp_path)
    key = one.key("pretrain")
    one.get_or_make(key, lambda: (TENSORS, {}))
    assert two.get_or_make(key, never).cached
    assert one.path(key).samefile(two.path(key))
    evict(tmp_path / "shared", 0)
    assert keys_in(tmp_path / "shared") == []
    assert ArtifactStore(tmp_path / "two").get(key) is not None


def test_where_hard_links_cannot_be_it_is_a_copy(tmp_path, monkeypatch):
    def refused(*paths):
        raise PermissionError("no hard links here")

    monkeypatch.setattr(artifacts.Path, "hardlink_to", refused)
    one, two = sharing(tmp_path)
    key = one.key("pretrain")
    one.get_or_make(key, lambda: (TENSORS, {}))
    assert two.get_or_make(key, never).cached
    assert not one.path(key).samefile(two.path(key))


def test_a_damaged_shared_entry_is_made_again_for_all(tmp_path):
    one, two = sharing(tmp_path)
    key = one.key("pretrain")
    one.get_or_make(key, lambda: (TENSORS, {}))
    (tmp_path / "shared" / one.path(key).name).write_bytes(b"garbage")  # the same file as one's
    assert not two.get_or_make(key, lambda: (TENSORS, {})).cached
    assert ArtifactStore(tmp_path / "shared").get(key) is not None
    assert one.get(key) is None  # found out; the next finds the shared one
    assert one.get_or_make(key, lambda: (TENSORS, {})).tensors["weight"].shape == (2, 3)


def test_the_least_recently_used_goes_first_and_reading_is_using(tmp_path):
    store = ArtifactStore(tmp_path)
    first, second, third = fill(store, "pretrain", "distill", "policy")
    size = store.path(first).stat().st_size
    assert [(one.stage, one.used_s) for one in stored(tmp_path)] == [("pretrain", 1), ("distill", 2), ("policy", 3)]
    store.get(first)
    assert keys_in(tmp_path) == [second, third, first]
    assert [one.key for one in evict(tmp_path, 2 * size)] == [second]
    assert [one.key for one in evict(tmp_path, size, keep={third})] == [first]
    assert keys_in(tmp_path) == [third]
    assert evict(tmp_path, size) == []


def test_a_file_in_several_stores_counts_once_and_goes_from_all(tmp_path):
    one, two = sharing(tmp_path)
    key = fill(one, "pretrain")[0]
    two.get(key)
    (found,) = stored(tmp_path)
    assert (len(found.files), found.size_bytes) == (3, one.path(key).stat().st_size)
    evict(tmp_path, 0)
    assert not any(file.exists() for file in found.files)


def test_nothing_but_stages_is_ever_removed(tmp_path):
    others = [tmp_path / "model.safetensors", tmp_path / "pretrain-1.safetensors", tmp_path / "notes.txt"]
    for file in others:
        file.write_bytes(b"mine")
    fill(ArtifactStore(tmp_path), "pretrain")
    evict(tmp_path, 0)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_shared_store_keeps_its_limit_while_several_write(tmp_path):
    """Evicting, linking and reading at once lose nothing that a store of its own holds."""
    limit_bytes = 5_000  # some ten entries
    failed = []

    def work(name: str) -> None:
        try:
            store = ArtifactStore(tmp_path / name, shared=tmp_path / "shared", shared_limit_bytes=limit_bytes)
            for number in range(60):
                key = store.key("table", number=number)
                assert torch.equal(store.get_or_make(key, lambda: (TENSORS, {})).tensors["weight"], TENSORS["weight"])
                assert store.get(key) is not None
        except BaseException as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "three")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert len(keys_in(tmp_path / "one")) == 60
    assert sum(one.size_bytes for one in stored(tmp_path / "shared")) <= limit_bytes
