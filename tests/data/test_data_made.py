"""Data that is made: micrographs, digit canvases, corruptions."""

import gzip
import os
import struct
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from paser_opt.config import DataConfig
from paser_opt.config.base import Corruption, CorruptionOrNone
from paser_opt.data import _standardised, load
from paser_opt.data.corruptions import CORRUPTIONS, NONE, corrupt
from paser_opt.data.mnist import read_idx
from paser_opt.data.splits import divide, sizes
from paser_opt.data.synthetic import read
from paser_opt.errors import DataError
from paser_opt.progress import Silent


def every(data, field):
    return torch.cat(
        [getattr(getattr(data, part), field) for part in ("pretrain", "policy", "finetune", "val", "test")]
    )


def test_micrographs_have_the_papers_fractions():
    data = load(DataConfig(count=60))
    assert data.class_names == ("binder", "pore", "active")
    masks = every(data, "masks")
    assert masks.shape == (60, 128, 128)
    shares = [(masks == index).float().mean().item() for index in range(3)]
    assert shares == pytest.approx([0.037, 0.103, 0.86], abs=0.015)


def test_micrographs_depend_on_their_seed_alone():
    first, again, other = (load(DataConfig(count=6, size=(48, 64), seed=seed)) for seed in (3, 3, 4))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    torch.manual_seed(0)
    np.random.seed(0)
    assert load(DataConfig(count=6, size=(48, 64), seed=3)).fingerprint == first.fingerprint


def test_difficulty_makes_the_phases_harder_to_tell_by_grey_level():
    def contrast(difficulty: float) -> float:
        data = load(DataConfig(count=12, difficulty=difficulty))
        grey, masks = every(data, "images")[:, 0], every(data, "masks")
        return (grey[masks == 2].mean() - grey[masks == 1].mean()).item() / grey.std().item()

    assert contrast(0.0) > contrast(0.5) > contrast(1.0)


def test_the_hard_share_of_a_section_can_be_set():
    """Where phases differ by texture alone, the grey levels of active material and pores do not: their difference over
    an image is that of its easy share."""

    def difference(share: float) -> float:
        part = read(DataConfig(count=20, difficulty=1, hard_share=share), Silent()).train
        grey = part.images[:, 0]
        return (grey[part.masks == 2].mean() - grey[part.masks == 1].mean()).item()

    easy, some, half = (difference(share) for share in (0.0, 0.1, 0.5))
    assert some / easy == pytest.approx(0.9, abs=0.05)
    assert half / easy == pytest.approx(0.5, abs=0.1)
    usual, named = (load(DataConfig(count=6, difficulty=0.4, **more)) for more in ({}, {"hard_share": 0.24}))
    assert usual.fingerprint == named.fingerprint, "0.6 x difficulty"


def test_small_micrographs_hold_every_phase():
    data = load(DataConfig(count=10, size=(32, 40)))
    assert (data.height, data.width) == (32, 40)
    assert every(data, "masks").unique().tolist() == [0, 1, 2]


def test_a_micrograph_does_not_depend_on_how_many_are_made():
    few, many = (
        {
            name: image
            for part in (d.pretrain, d.policy, d.finetune, d.val, d.test)
            for name, image in zip(part.names, d.display(part.images), strict=True)
        }
        for d in (load(DataConfig(count=count, size=(32, 32))) for count in (6, 9))
    )
    assert all(torch.equal(many[name], image) for name, image in few.items())


def test_sizes_by_largest_remainder():
    assert sizes(10, [0.34, 0.33, 0.33], "abc") == [4, 3, 3]
    assert sizes(7, [0.5, 0.5, 0.0], "abc") == [4, 3, 0]
    with pytest.raises(DataError, match="2 images leave none for c"):
        sizes(2, [0.4, 0.4, 0.2], "abc")


def test_divide_covers_everything_once():
    parts = divide(11, [0.5, 0.25, 0.25], "abc", np.random.default_rng(0))
    assert sorted(index for part in parts for index in part) == list(range(11))


# --- copies -------------------------------------------------------------------------------------------

FEW = {"count": 12, "size": (32, 32), "parts": (0.5, 0.5, 0.0)}


def test_beside_each_training_image_stand_its_copies_and_nothing_else_changes():
    plain = load(DataConfig(**FEW))
    data = load(DataConfig(**FEW, augment=["contrast", "speckle"]))
    assert data.fingerprint != plain.fingerprint
    for part in ("val", "test"):
        assert torch.equal(getattr(data, part).images, getattr(plain, part).images)
    for part in ("pretrain", "policy"):
        one, own = getattr(data, part), getattr(plain, part)
        assert torch.equal(one.images[::3], own.images)
        assert torch.equal(one.masks, own.masks.repeat_interleave(3, dim=0))
        assert one.corruptions == ("none", "contrast", "speckle") * len(own)
        assert one.names[:3] == (own.names[0], f"{own.names[0]} contrast", f"{own.names[0]} speckle")
        spread = one.images.std(dim=(1, 2, 3))
        factors = (spread[1::3] / spread[::3]).tolist()  # ImageNet-C's, each image in a severity of its own
        assert all(min(abs(factor - known) for known in (0.4, 0.3, 0.2, 0.1, 0.05)) < 1e-3 for factor in factors)
    assert data.summary().images == plain.summary().images and data.summary().augment == ["contrast", "speckle"]


def test_severities_differ_from_image_to_image():
    data = load(DataConfig(**{**FEW, "count": 40}, augment="contrast"))
    spread = data.pretrain.images.std(dim=(1, 2, 3))
    assert len({round(factor, 2) for factor in (spread[1::2] / spread[::2]).tolist()}) >= 4


def test_copies_are_of_the_image_without_its_own_corruption():
    clean = load(DataConfig(**FEW))
    data = load(DataConfig(**FEW, corruption="contrast", severity=5, augment="occlusion"))
    copies, images = data.display(data.pretrain.images[1::2]), clean.display(clean.pretrain.images)
    left = copies > 0  # what no square covers
    assert 0.5 < left.float().mean() < 1
    assert (copies[left].int() - images[left].int()).abs().max() <= 1


def test_a_fold_takes_an_image_with_its_copies():
    data = load(DataConfig(count=12, size=(32, 32), folds=3, augment=["blur", "gaussian"]))
    assert data.summary().images["pretrain"] == data.summary().images["policy"] == 8
    held = []
    for one in data.without_folds():
        apart, seen = ({name.split()[0] for name in part.names} for part in (one.policy, one.pretrain))
        assert not apart & seen and len(one.policy) == 3 * len(apart) and len(apart | seen) == 8
        held += sorted(apart)
    assert len(held) == len(set(held)) == 8


def test_images_that_have_corruptions_in_turn_keep_them_beside_their_copies():
    mixed = {"corruption": ["none", "blur", "gaussian"], "standardise": "image"}
    plain, data = (load(DataConfig(**FEW, **mixed, augment=names)) for names in ([], ["speckle", "occlusion"]))
    for part in ("pretrain", "policy"):
        one, own = getattr(data, part), getattr(plain, part)
        assert one.corruptions[::3] == own.corruptions and set(one.corruptions[1::3]) == {"speckle"}
        assert torch.equal(one.images[::3], own.images)
        assert one.images.mean(dim=(1, 2, 3)).abs().max() < 1e-5, "copies too are standardised by their own mean"


def test_any_seed_will_do():
    first, again, other = (load(DataConfig(**FEW, augment="speckle", seed=seed)) for seed in (2**62, 2**62, 1))
    assert torch.equal(first.pretrain.images, again.pretrain.images)
    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"augment": ["blur", "blur"]}, "name each corruption once"),
        ({"augment": ["blur", "none"]}, "Input should be 'gaussian', .* or 'occlusion'"),
        ({"augment": ["contrast"], "standardise": "image"}, "leave contrast out"),
    ],
)
def test_copies_that_make_no_sense_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        DataConfig(**FEW, **keys)


def test_the_configuration_knows_every_corruption():
    assert [*get_args(Corruption), NONE] == [*CORRUPTIONS, NONE] == list(get_args(CorruptionOrNone))


# --- digits -------------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def digits(tmp_path) -> Path:
    """Digit d is a full square of grey 200 + d."""
    for part in ("train", "t10k"):
        labels = np.arange(40, dtype=np.uint8) % 10
        images = np.repeat((200 + labels)[:, None, None], 28, axis=1).repeat(28, axis=2).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_the_mask_is_the_digit_where_there_is_ink(digits):
    data = load(DataConfig(kind="mnist", path=str(digits), count=10, digits=1, target="digit", size=(64, 64)))
    assert data.class_names == ("background", *"0123456789")
    for image, mask in zip(data.display(data.val.images), data.val.masks, strict=True):
        (digit,) = mask.unique()[1:].tolist()
        assert torch.equal(image[0] == 200 + digit - 1, mask == digit)
        assert int((mask > 0).sum()) in (28 * 28, 56 * 56)


def test_foreground_has_two_classes(digits):
    data = load(DataConfig(kind="mnist", path=str(digits), count=10, size=(64, 96)))
    assert data.class_names == ("background", "digit")
    assert every(data, "masks").unique().tolist() == [0, 1]


def test_digits_do_not_overlap_where_there_is_room(digits):
    data = load(DataConfig(kind="mnist", path=str(digits), count=20, digits=3, size=(224, 224)))
    inked = (every(data, "masks") > 0).sum(dim=(1, 2)) / 28**2  # a digit covers 1 or, enlarged, 4
    assert inked.frac().abs().max() == 0
    assert inked.min() >= 3 and inked.max() <= 12


def test_damaged_idx_files_are_named(digits):
    path = digits / "train-labels-idx1-ubyte"
    whole = path.read_bytes()
    for content in (whole[:-5], whole[:6], b"", b"\x00\x00\x09\x01" + whole[4:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="train-labels-idx1-ubyte"):
            read_idx(path, 1)
    path.write_bytes(idx(np.full(40, 26, dtype=np.uint8)))  # letters of EMNIST
    with pytest.raises(DataError, match="train-labels-idx1-ubyte has label 26, which is no digit"):
        load(DataConfig(kind="mnist", path=str(digits)))
    path.write_bytes(whole)
    squeezed = digits / "train-images-idx3-ubyte.gz"
    squeezed.write_bytes(squeezed.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz"):
        read_idx(squeezed, 3)
    squeezed.unlink()
    with pytest.raises(DataError, match="lacks train-images-idx3-ubyte"):
        load(DataConfig(kind="mnist", path=str(digits)))


def test_the_real_files():
    root = os.environ.get("PASER_OPT_DATA")
    if not root or not (Path(root) / "mnist").is_dir():
        pytest.skip("PASER_OPT_DATA names no data folder")
    assert read_idx(Path(root) / "mnist" / "train-images-idx3-ubyte.gz", 3).shape == (60_000, 28, 28)
    labels = read_idx(Path(root) / "mnist" / "t10k-labels-idx1-ubyte.gz", 1)
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # LeCun's own


# --- corruptions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_corruptions_conform(name):
    images = torch.rand(3, 2, 40, 50, generator=torch.Generator().manual_seed(0))
    previous = 0.0
    for severity in range(1, 6):
        made, again = (corrupt(images, name, severity, torch.Generator().manual_seed(1)) for _ in range(2))
        assert made.shape == images.shape
        assert made.min() >= 0
        assert made.max() <= 1
        assert torch.equal(made, again)
        distance = (made - images).square().mean().item()
        assert distance > previous
        previous = distance


def test_an_unknown_corruption_lists_the_known():
    with pytest.raises(ValidationError, match=r"Input should be 'gaussian', .* 'occlusion' or 'none'"):
        DataConfig(corruption="fog")


def test_corrupted_data_is_other_data():
    assert load(DataConfig(count=6, corruption="blur")).fingerprint != load(DataConfig(count=6)).fingerprint


def test_images_standardised_by_their_own_mean_and_std():
    plain, own = (load(DataConfig(count=10, size=(32, 32), standardise=kind)) for kind in ("dataset", "image"))
    assert own.fingerprint != plain.fingerprint
    pixels = plain.test.images * plain.std[0] + plain.mean[0]
    for image, original in zip(own.test.images, pixels, strict=True):
        assert torch.allclose(image, (original - original.mean()) / original.std(correction=0), atol=1e-4)
    assert torch.allclose(own.standardised(0.4 * pixels + 0.3), own.test.images, atol=1e-4)
    assert (own.standardised(torch.full((1, 1, 4, 4), 0.7)) == 0).all()  # a constant image
    colours = torch.stack([pixels[:, 0], 0.5 * pixels[:, 0].flip(-1)], dim=1)  # each channel by its own
    assert torch.allclose(_standardised(colours, (), (), "image")[:, :1], own.test.images, atol=1e-4)
    assert torch.allclose(_standardised(colours, (), (), "image")[:, 1], own.test.images[:, 0].flip(-1), atol=1e-4)
    shown = own.display(own.test.images).double()
    assert shown.mean().item() / 255 == pytest.approx(plain.mean[0], abs=0.03)
