import torch

from paser_opt.train.artifacts import ArtifactStore

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
