"""One's own folders: what is read, and the one line each fault gets."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from paser_opt.config import DataConfig
from paser_opt.data import load
from paser_opt.errors import ConfigError, DataError
from paser_opt.images import header, read_image
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


def test_a_photo_is_read_as_viewers_show_it(tmp_path):
    """Cameras store it lying, and say so in EXIF; masks are drawn over it standing."""
    lying = np.linspace(0, 255, 48).reshape(6, 8).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(lying).save(tmp_path / "photo.jpg", exif=exif, quality=100)
    Image.fromarray(lying).save(tmp_path / "photo.png", exif=exif)
    for suffix in ("jpg", "png"):
        path = tmp_path / f"photo.{suffix}"
        assert header(path)[0] == (8, 6)
        assert np.allclose(read_image(path, colour=False)[0] * 255, np.rot90(lying, -1), atol=3)


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
    make(tmp_path, size=(16, 20))
    image = np.random.default_rng(9).integers(0, 256, (14, 24), np.uint8)
    save(tmp_path / "images" / "field0.png", image)
    save(tmp_path / "masks" / "field0.png", np.ones((14, 24), dtype=np.uint8))
    with pytest.raises(DataError, match=r"field\d\.png is 16 x 20 .* field0\.png is 14 x 24; set size = "):
        load(config(tmp_path))
    data = load(config(tmp_path, size=[16, 20]))
    part, index = next(
        (part, part.names.index("field0"))
        for part in (data.pretrain, data.policy, data.finetune, data.val, data.test)
        if "field0" in part.names
    )
    assert part.masks[index].tolist() == [[IGNORE] * 20, *[[1] * 20] * 14, [IGNORE] * 20]
    padded = np.concatenate([image[:1], image, image[-1:]])[:, 2:-2]
    assert np.array_equal(data.display(part.images)[index, 0].numpy(), padded)


def test_palette_masks_are_indices_and_alpha_is_dropped(tmp_path):
    make(tmp_path)
    indices = np.tile(np.uint8([0, 1]), (6, 4))
    rgba = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    for index in range(8):
        palette = Image.fromarray(indices).convert("P")
        palette.putpalette([200, 10, 10, 10, 200, 10])
        palette.save(tmp_path / "masks" / f"field{index}.png")
        save(tmp_path / "images" / f"field{index}.png", rgba)
    data = load(config(tmp_path))
    assert np.array_equal(data.val.masks[0].numpy(), indices)
    assert np.array_equal(data.display(data.val.images)[0].permute(1, 2, 0).numpy(), rgba[..., :3])
    assert load(config(tmp_path, channels="grey")).channels == 1


def test_only_what_is_missing_is_held_out_and_the_limit_is_trainings(tmp_path):
    make(tmp_path / "train", 10)
    make(tmp_path / "test", 3)
    data = load(config(tmp_path, holdout=[0.2, 0.5], limit=5))
    training = data.pretrain.names + data.policy.names + data.finetune.names
    assert (len(training), len(data.val), len(data.test)) == (5, 2, 3)
    assert not set(training) & set(data.val.names)


def test_a_given_split_can_be_divided_anew(tmp_path):
    for name, count in (("train", 10), ("val", 3), ("test", 3)):
        make(tmp_path / name, count)  # files of the same names in each
    tested = []
    for seed in range(6):
        data = load(config(tmp_path, split="seeded", holdout=[0.25, 0.25], seed=seed))
        parts = (data.pretrain, data.policy, data.finetune, data.val, data.test)
        every = [name for part in parts for name in part.names]
        assert (len(every), len(set(every)), len(data.val), len(data.test)) == (16, 16, 4, 4)
        tested.append(set(data.test.names))
    assert any(name.startswith("train-") for name in tested[0] | tested[1]), "training images are tested on too"
    assert len(set.union(*tested)) > 8, "seeds test on different images"
    with pytest.raises(ConfigError, match="split means nothing for data of kind 'synthetic'"):
        load(DataConfig(kind="synthetic", split="seeded"))


def test_the_order_of_the_files_on_disk_does_not_matter(tmp_path):
    make(tmp_path / "a")
    for kind in ("images", "masks"):
        (tmp_path / "b" / kind).mkdir(parents=True)
        for path in sorted((tmp_path / "a" / kind).iterdir(), reverse=True):
            (tmp_path / "b" / kind / path.name).symlink_to(path)
    assert load(config(tmp_path / "a")).fingerprint == load(config(tmp_path / "b")).fingerprint


def test_progress_counts_the_files(tmp_path):
    told = []

    class Listener:
        def stage(self, name, total):
            told.append((name, total))

        def advance(self, done, note=""):
            told.append(done)

    load(config(make(tmp_path)), progress=Listener())
    assert told == [("data", 8), *range(1, 9)]


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


def tiff_without_size(root):
    path = root / "images" / "field2.tif"
    save(path, np.zeros((6, 8), dtype=np.uint8))
    (root / "images" / "field2.png").unlink()
    width_tag = b"\x00\x01\x03\x00"  # ImageWidth, 256, a SHORT or LONG of the first directory
    whole = path.read_bytes().replace(b"\x00\x01\x04\x00", width_tag)
    assert width_tag in whole
    path.write_bytes(whole.replace(width_tag, b"\x99\x99\x03\x00", 1))


def two_pages(root):
    (root / "images" / "field2.png").unlink()
    page = Image.fromarray(np.zeros((6, 8), dtype=np.uint8))
    page.save(root / "images" / "field2.tif", save_all=True, append_images=[page])


def same_stem(root):
    save(root / "images" / "field2.bmp", np.zeros((6, 8), dtype=np.uint8))


def no_images(root):
    for path in (root / "images").iterdir():
        path.rename(path.with_suffix(".txt"))


def everything_ignored(root):
    for path in (root / "masks").iterdir():
        save(path, np.full((6, 8), 1, dtype=np.uint8))


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
        (tiff_without_size, ["cannot read", "images/field2.tif"]),
        (two_pages, ["images/field2.tif holds several images"]),
        (same_stem, ["images/field2.bmp and field2.png have the same stem"]),
        (no_images, ["images holds no file that ends in"]),
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
    with pytest.raises(ConfigError, match="ignore_index = 7 is in mask_values too"):
        load(config(tmp_path, mask_values={"0": 0, "7": 1}, ignore_index=7))
    with pytest.raises(ConfigError, match="digits means nothing for data of kind 'folder'"):
        load(config(tmp_path, digits=2))
    everything_ignored(tmp_path)
    with pytest.raises(DataError, match="every pixel of the pretrain masks is ignored"):
        load(config(tmp_path, ignore_index=1))
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
    training_masks = torch.cat([data.pretrain.masks, data.policy.masks, data.finetune.masks])
    for masks, stated in (  # pixel fractions of the data's own README
        (training_masks, [0.703, 0.194, 0.103]),
        (data.val.masks, [0.815, 0.068, 0.117]),
        (data.test.masks, [0.781, 0.105, 0.114]),
    ):
        shares = [(masks == index).float().mean().item() for index in range(3)]
        assert shares == pytest.approx(stated, abs=6e-4)


@real
def test_ebc():
    data = load(DataConfig(kind="folder", path="${PASER_OPT_DATA}/ebc", classes=("background", "oxide", "crack")))
    training = len(data.pretrain) + len(data.policy) + len(data.finetune)
    assert (training, len(data.val), len(data.test)) == (16, 3, 3)
    assert (data.channels, data.height, data.width) == (1, 1024, 1024)


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
