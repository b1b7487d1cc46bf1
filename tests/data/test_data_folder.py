"""One's own folders: what is read, and the one line each fault gets."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paser_opt.config import DataConfig
from paser_opt.data import load
from paser_opt.errors import ConfigError, DataError
from paser_opt.patches import IGNORE


def save(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array, mode).save(path)


def make(root: Path, count: int = 8, size=(6, 8), suffix: str = ".png", rgb: bool = False) -> Path:
    for index in range(count):
        rng = np.random.default_rng(index)
        save(root / "images" / f"field{index}{suffix}", rng.integers(0, 256, (*size, 3) if rgb else size, np.uint8))
        save(root / "masks" / f"field{index}.png", rng.integers(0, 2, size, dtype=np.uint8))
    return root


def config(root: Path, **changes) -> DataConfig:
    return DataConfig.model_validate({"kind": "folder", "path": str(root), "classes": ["a", "b"], **changes})


def test_pixels_masks_and_names_come_through(tmp_path):
    data = load(config(make(tmp_path)))
    assert (data.channels, data.height, data.width, data.classes) == (1, 6, 8, 2)
    sizes = {name: len(getattr(data, name)) for name in ("pretrain", "policy", "finetune", "val", "test")}
    assert sum(sizes.values()) == 8
    for part in (data.pretrain, data.val, data.test):
        for name, image, mask in zip(part.names, data.display(part.images), part.masks, strict=True):
            assert np.array_equal(image[0].numpy(), np.asarray(Image.open(tmp_path / "images" / f"{name}.png")))
            assert np.array_equal(mask.numpy(), np.asarray(Image.open(tmp_path / "masks" / f"{name}.png")))


def test_the_parts_are_disjoint_sorted_and_seeded(tmp_path):
    make(tmp_path, count=20)
    names = [getattr(load(config(tmp_path)), part).names for part in ("pretrain", "policy", "finetune", "val", "test")]
    assert len({name for part in names for name in part}) == 20
    assert all(list(part) == sorted(part) for part in names)
    assert load(config(tmp_path)).fingerprint == load(config(tmp_path)).fingerprint
    assert load(config(tmp_path, seed=1)).fingerprint != load(config(tmp_path)).fingerprint


def test_given_splits_are_kept(tmp_path):
    for name, count in (("train", 6), ("val", 2), ("test", 3)):
        make(tmp_path / name, count)
    data = load(config(tmp_path))
    assert (len(data.val), len(data.test)) == (2, 3)
    assert len(data.pretrain) + len(data.policy) + len(data.finetune) == 6


def test_training_images_have_mean_zero_and_deviation_one(tmp_path):
    data = load(config(make(tmp_path, rgb=True)))
    import torch

    training = torch.cat([data.pretrain.images, data.policy.images, data.finetune.images])
    assert training.shape[1] == 3
    assert training.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert (training.var(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-4


def test_one_changed_pixel_changes_the_fingerprint(tmp_path):
    before = load(config(make(tmp_path))).fingerprint
    mask = np.asarray(Image.open(tmp_path / "masks" / "field3.png")).copy()
    mask[0, 0] = 1 - mask[0, 0]
    save(tmp_path / "masks" / "field3.png", mask)
    assert load(config(tmp_path)).fingerprint != before


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".bmp", ".jpg", ".JPEG"])
def test_other_formats(suffix, tmp_path):
    assert load(config(make(tmp_path, suffix=suffix))).channels == 1


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_sixteen_bits_are_scaled_by_their_range(suffix, tmp_path):
    make(tmp_path)
    (tmp_path / "images" / "field0.png").unlink()
    Image.fromarray(np.full((6, 8), 32768, dtype=np.uint16)).save(tmp_path / "images" / f"field0{suffix}")
    data = load(config(tmp_path))
    shown = {
        name: image
        for part in (data.pretrain, data.policy, data.finetune, data.val, data.test)
        for name, image in zip(part.names, data.display(part.images), strict=True)
    }
    assert shown["field0"].unique().tolist() == [128]


def test_values_become_classes_and_one_is_ignored(tmp_path):
    make(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        save(path, np.asarray(Image.open(path)) * 255)
    save(tmp_path / "masks" / "field0.png", np.full((6, 8), 7, dtype=np.uint8))
    data = load(config(tmp_path, mask_values={"0": 1, "255": 0}, ignore_index=7))
    masks = {
        name: mask
        for part in (data.pretrain, data.policy, data.finetune, data.val, data.test)
        for name, mask in zip(part.names, part.masks, strict=True)
    }
    assert masks["field0"].unique().tolist() == [IGNORE]
    raw = np.asarray(Image.open(tmp_path / "masks" / "field1.png"))
    assert np.array_equal(masks["field1"].numpy(), np.where(raw == 255, 0, 1))


def test_other_sizes_are_cropped_and_padded_when_asked(tmp_path):
    make(tmp_path)
    rng = np.random.default_rng(9)
    save(tmp_path / "images" / "field0.png", rng.integers(0, 256, (4, 12), np.uint8))
    save(tmp_path / "masks" / "field0.png", np.ones((4, 12), dtype=np.uint8))
    with pytest.raises(DataError, match=r"field\d\.png is 6 x 8 .* field0\.png is 4 x 12; set size = "):
        load(config(tmp_path))
    data = load(config(tmp_path, size=[6, 8]))
    part, index = next(
        (part, part.names.index("field0"))
        for part in (data.pretrain, data.policy, data.finetune, data.val, data.test)
        if "field0" in part.names
    )
    assert part.masks[index].tolist() == [[IGNORE] * 8, *[[1] * 8] * 4, [IGNORE] * 8]


def remove_mask(root):
    (root / "masks" / "field2.png").unlink()


def remove_image(root):
    (root / "images" / "field2.png").unlink()


def resize_mask(root):
    save(root / "masks" / "field2.png", np.zeros((5, 8), dtype=np.uint8))


def strange_value(root):
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[0, :3] = 9
    save(root / "masks" / "field2.png", mask)


def truncate(root):
    path = root / "images" / "field2.png"
    path.write_bytes(path.read_bytes()[:60])


def coloured_mask(root):
    save(root / "masks" / "field2.png", np.zeros((6, 8, 3), dtype=np.uint8))


def text_as_image(root):
    (root / "images" / "field2.png").write_text("not an image")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (remove_mask, ["images/field2.png has no mask", "field2.png"]),
        (remove_image, ["masks/field2.png has no image"]),
        (resize_mask, ["masks/field2.png is 5 x 8", "6 x 8"]),
        (strange_value, ["masks/field2.png has unknown values: 9 (3 pixels)", "ignore_index"]),
        (truncate, ["cannot read", "images/field2.png", "damaged"]),
        (coloured_mask, ["masks/field2.png is RGB"]),
        (text_as_image, ["cannot read", "images/field2.png"]),
    ],
)
def test_each_fault_is_one_line_that_names_the_file(fault, words, tmp_path):
    fault(make(tmp_path))
    with pytest.raises(DataError) as raised:
        load(config(tmp_path))
    for word in words:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


def test_faults_of_the_description(tmp_path, monkeypatch):
    make(tmp_path)
    monkeypatch.delenv("NO_SUCH_NAME", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH_NAME"):
        load(config(Path("${NO_SUCH_NAME}/x")))
    with pytest.raises(DataError, match="no data folder"):
        load(config(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="is no class"):
        load(config(tmp_path, mask_values={"0": 5}))
    with pytest.raises(ConfigError, match="digits means nothing for data of kind 'folder'"):
        load(config(tmp_path, digits=2))
    with pytest.raises(DataError, match="leave none for"):
        load(config(make(tmp_path / "few", count=2)))


REAL = os.environ.get("PASER_OPT_DATA")
real = pytest.mark.skipif(not REAL or not Path(REAL).is_dir(), reason="PASER_OPT_DATA names no data folder")


@real
def test_mudrock():
    data = load(DataConfig(kind="folder", path="${PASER_OPT_DATA}/mudrock", classes=("clay", "silt", "pore")))
    training = len(data.pretrain) + len(data.policy) + len(data.finetune)
    assert (training, len(data.val), len(data.test)) == (73, 16, 16)
    assert (data.channels, data.height, data.width) == (1, 224, 256)
    shares = [(data.val.masks == index).float().mean().item() for index in range(3)]
    assert shares == pytest.approx([0.815, 0.068, 0.117], abs=5e-4)  # the data's own README


@real
def test_camvid_ignores_void():
    names = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
    data = load(
        DataConfig(kind="folder", path="${PASER_OPT_DATA}/camvid", classes=tuple(names), ignore_index=11, limit=12)
    )
    assert (data.channels, data.height, data.width, data.classes) == (3, 180, 240, 11)
    assert (len(data.val), len(data.test)) == (101, 233)
    assert (data.val.masks == IGNORE).float().mean().item() == pytest.approx(0.0171, abs=5e-5)
    assert data.val.masks[data.val.masks != IGNORE].max() == 10
