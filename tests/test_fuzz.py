"""Whatever a file holds, it is read or refused in one line; nothing else is raised and nothing is written.

``PASER_OPT_FUZZ=10000 pytest tests/test_fuzz.py`` tries as many inputs a surface.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from paser_opt.bundle import Manifest, read_bundle
from paser_opt.catalog import load_device, load_study
from paser_opt.config import DataConfig, PipelineConfig, UNetConfig
from paser_opt.data import load
from paser_opt.errors import PaserError
from paser_opt.images import read_image
from paser_opt.records import Profile, Quantity, RunRecord, TrialRecord, read_record
from paser_opt.runs import RunFolder
from paser_opt.search.space import first_trials
from paser_opt.train import ArtifactStore

EXAMPLES = int(os.environ.get("PASER_OPT_FUZZ", "60"))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**40), st.floats(), st.text(max_size=12), st.just([]), st.just({}),
    st.sampled_from(["../../etc/passwd", "<script>", "${HOME}", "4x4", "0x0", "nan", -1, 0, 1e308, "\x00"]),
)  # fmt: skip


@st.composite
def damaged_json(draw: st.DrawFn, valid: str) -> bytes:
    """``valid`` with one to three leaves, keys or branches changed, then perhaps some bytes."""
    content = json.loads(valid)
    for _ in range(draw(st.integers(0, 3))):
        place: Any = content
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
                action = draw(st.sampled_from(["replace", "delete", "add"]))
                if action == "delete":
                    del place[key]
                elif action == "add" and isinstance(place, dict):
                    place[draw(st.text(max_size=8))] = draw(LEAVES)
                else:
                    place[key] = draw(LEAVES)
                break
            place = place[key]
    return draw(damaged_bytes(json.dumps(content).encode("utf-8", "surrogatepass"), st.integers(0, 1)))


@st.composite
def damaged_bytes(draw: st.DrawFn, valid: bytes, faults: st.SearchStrategy[int] = st.integers(1, 4)) -> bytes:  # noqa: B008
    content = bytearray(valid)
    for _ in range(draw(faults)):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        action = draw(st.sampled_from(["flip", "cut", "drop", "insert"]))
        if action == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif action == "cut":
            del content[at:]
        elif action == "drop":
            del content[at : at + draw(st.integers(1, 40))]
        else:
            content[at:at] = draw(st.binary(max_size=12))
    return bytes(content)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder in one of its own, which refuses_or_reads() watches: other tests' files beside it are many."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def refuses_or_reads(read: Callable[[], object], folder: Path) -> None:
    before = sorted(folder.parent.rglob("*"))
    try:
        read()
    except PaserError as error:
        assert "\n" not in str(error).strip(), str(error)
    assert sorted(folder.parent.rglob("*")) == before


def _toml(content: dict[str, Any]) -> str:
    """JSON's scalars and inline tables are near enough to TOML's for a file that is to be damaged anyway."""

    def value(one: Any) -> str:
        if isinstance(one, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {value(inner)}" for key, inner in one.items()) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(map(value, one)) + "]"
        if isinstance(one, float) and not math.isfinite(one):
            return "nan" if math.isnan(one) else "inf" if one > 0 else "-inf"
        return "0" if one is None else json.dumps(one)

    return "".join(f"{json.dumps(key)} = {value(inner)}\n" for key, inner in content.items())


def _write_toml(path: Path, content: bytes) -> str:
    """As TOML where ``content`` is still a JSON object, else as it is."""
    try:
        path.write_text(_toml(json.loads(content)), encoding="utf-8", errors="surrogatepass")
    except (ValueError, AttributeError):
        path.write_bytes(content)
    return str(path)


STUDY = json.dumps({
    "name": "s", "device": "cpu", "objectives": ["iou", "latency"], "trials": 3, "norm": "batch",
    "data": {"kind": "synthetic", "count": 14, "size": [32, 32]}, "training": {"pretrain_epochs": 1},
    "space": {"cost_weight": {"low": 0.01, "high": 0.9, "log": True}, "grid": ["2x2"], "mc_samples": [0, 5],
              "models": [{"base": 4, "depth": 1}, {"base": [6, 8], "depth": 1, "scale": [1.0, 0.5]}]},
    "budget": {"max_latency_s": 0.5},
})  # fmt: skip
DEVICE = json.dumps({
    "name": "d", "kind": "jetson", "match": ["p3767"], "host": "me@board", "threads": 0, "meters": ["ina3221"],
    "rails": ["VDD_IN"], "peak_flops_per_s": {"value": 1e12, "source": "a sheet"},
})  # fmt: skip


@fuzz
@given(content=damaged_json(STUDY))
def test_studies(content: bytes, place: Path) -> None:
    path = _write_toml(place / "study.toml", content)
    refuses_or_reads(lambda: first_trials(load_study(path).space), place)


@fuzz
@given(content=damaged_json(DEVICE))
def test_devices(content: bytes, place: Path) -> None:
    path = _write_toml(place / "device.toml", content)
    refuses_or_reads(lambda: load_device(path), place)


@pytest.fixture(scope="module")
def records(tiny_profile: str) -> dict[str, str]:
    models = (UNetConfig(base=4, depth=1), UNetConfig(base=6, depth=1))
    trial = TrialRecord(number=0, state="pruned", params={"a": 1}, pipeline=PipelineConfig(models=models), started="",
                        seconds=1, clock_s=1)  # fmt: skip
    manifest = Manifest(
        study="s", trial=0, pipeline=trial.pipeline, height=32, width=32, channels=1, class_names=["a", "b", "c"],
        mean=[0.0], std=[1.0], fitted=False, scores=[], device="cpu", versions={},
        latency_s=Quantity(value=0.1, how="predicted"),
        digests=dict.fromkeys(["screen", "policy", "f_1"], "0"),
    )  # fmt: skip
    return {"profile": tiny_profile, "trial": trial.model_dump_json(), "manifest": manifest.model_dump_json()}


@pytest.mark.parametrize(("name", "kind"), [("profile", Profile), ("trial", TrialRecord)])
@fuzz
@given(data=st.data())
def test_records(name: str, kind: type[Any], data: st.DataObject, records: dict[str, str], place: Path) -> None:
    (place / "record.json").write_bytes(data.draw(damaged_json(records[name])))
    refuses_or_reads(lambda: read_record(kind, place / "record.json"), place)


@fuzz
@given(data=st.data())
def test_bundles(data: st.DataObject, records: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir(exist_ok=True)
    for step in ("screen", "policy", "f_1"):
        (folder / f"{step}.onnx").write_bytes(b"model")
    (folder / "manifest.json").write_bytes(data.draw(damaged_json(records["manifest"])))
    refuses_or_reads(lambda: read_bundle(folder), folder)


@fuzz
@given(data=st.data())
def test_run_folders(data: st.DataObject, records: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    for file in ("run.json", "trials/0/trial.json", "profiles/cpu.json", "static.json"):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.draw(damaged_json(records["trial"])))

    def read() -> None:
        run = RunFolder.open(folder)
        for part in (run.run, run.trials, run.profiles, run.static):
            try:
                part()
            except PaserError as error:
                assert "\n" not in str(error)

    refuses_or_reads(read, folder)


def _picture(mode: str, suffix: str) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 200, (12, 17, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, format=suffix)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged TIFF tags
@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("RGB", "png"), ("P", "png"), ("L", "tiff"), ("RGB", "jpeg")]
)
@fuzz
@given(data=st.data())
def test_images(mode: str, suffix: str, data: st.DataObject, place: Path) -> None:
    path = place / f"image.{suffix}"
    path.write_bytes(data.draw(damaged_bytes(_picture(mode, suffix))))
    refuses_or_reads(lambda: read_image(path, colour=mode == "RGB"), place)


@settings(fuzz, max_examples=max(EXAMPLES // 4, 10))
@given(data=st.data())
def test_folders_of_images(data: st.DataObject, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.rmtree(root, ignore_errors=True)
    for index in range(8):
        for kind, content in (("images", _picture("L", "png")), ("masks", _mask())):
            path = root / kind / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.draw(damaged_bytes(content, st.integers(0, 1))) if index < 2 else content)
    config = DataConfig(kind="folder", path=str(root), classes=("a", "b"))
    refuses_or_reads(lambda: load(config), root)


def _mask() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(12 * 17, dtype=np.uint8).reshape(12, 17) % 2).save(buffer, format="png")
    return buffer.getvalue()


@fuzz
@given(data=st.data())
def test_the_stage_store(data: st.DataObject, tmp_path: Path) -> None:
    """A damaged entry is not there any more, and is never taken for another."""
    store = ArtifactStore(tmp_path / "artifacts")
    good = {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}
    made = store.get_or_make("stage-0", lambda: (good, {"history": []}))
    path = store.path(made.key)
    whole = path.read_bytes()
    path.write_bytes(data.draw(damaged_bytes(whole)))
    found = store.get(made.key)
    if found is None:
        assert not path.exists()
    else:
        assert all(torch.equal(found.tensors[name], good[name]) for name in good)
        path.unlink()


def test_a_run_record_that_is_whole_is_read(records: dict[str, str], tmp_path: Path) -> None:
    """The fuzzers above would pass if everything were refused."""
    (tmp_path / "p.json").write_text(records["profile"], encoding="utf-8")
    assert read_record(Profile, tmp_path / "p.json").entries
    (tmp_path / "s.toml").write_text(_toml(json.loads(STUDY)), encoding="utf-8")
    assert load_study(str(tmp_path / "s.toml")).name == "s"
    (tmp_path / "d.toml").write_text(_toml(json.loads(DEVICE)), encoding="utf-8")
    assert load_device(str(tmp_path / "d.toml")).host == "me@board"
    assert RunRecord.model_fields
