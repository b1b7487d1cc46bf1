import math

import pytest
import torch

from paser_opt.config import UNetConfig
from paser_opt.evaluate import (
    bootstrap,
    class_iou,
    data_iou,
    image_confusions,
    image_iou,
    never_predicted,
    patch_confusions,
    soft_confusion,
    whole_confusions,
)
from paser_opt.models import build_unet
from paser_opt.patches import IGNORE, confusion, split, split_mask

# Row = truth. Class 0: 3 hits, union 3+1+2; class 1: 4 hits, union 4+1+2; class 2 nowhere.
MATRIX = torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])


def test_class_iou_by_hand():
    first, second, absent = class_iou(MATRIX).tolist()
    assert (first, second) == (3 / 6, 4 / 7)
    assert math.isnan(absent)


def test_a_class_that_is_never_predicted_is_one_that_the_truth_has():
    """Class 0 is always taken for class 1; class 2 is nowhere, so nothing could be learnt of it."""
    missed = torch.tensor([[0, 4, 0], [0, 4, 0], [0, 0, 0]])
    assert never_predicted(missed[None]) == 1
    assert never_predicted(torch.stack([missed, MATRIX])) == 0  # in one image it is predicted


def test_data_iou_sums_first_and_image_iou_does_not():
    other = torch.tensor([[1, 0, 0], [0, 0, 0], [0, 0, 0]])
    both = torch.stack([MATRIX, other])
    assert data_iou(both) == pytest.approx((4 / 7 + 4 / 7) / 2)
    assert image_iou(both).tolist() == pytest.approx([(3 / 6 + 4 / 7) / 2, 1.0])


def test_a_false_positive_of_an_absent_class_counts():
    assert data_iou(torch.tensor([[[3, 1], [0, 0]]])) == pytest.approx((3 / 4 + 0) / 2)


def test_bootstrap_of_one_image_is_its_value_and_pairs_cancel():
    low, high = bootstrap(MATRIX[None])
    assert low == high == pytest.approx((3 / 6 + 4 / 7) / 2)
    many = torch.randint(1, 50, (12, 3, 3), generator=torch.Generator().manual_seed(0))
    assert bootstrap(many, many) == (0.0, 0.0)
    assert bootstrap(many, torch.stack([many, many])) == (0.0, 0.0)


def test_bootstrap_agrees_with_scipy():
    scipy = pytest.importorskip("scipy.stats")
    matrices = torch.zeros(30, 2, 2)
    matrices[:, 0, 0] = torch.randint(5, 50, (30,), generator=torch.Generator().manual_seed(1))
    matrices[:, 0, 1] = 20
    hits = matrices[:, 0, 0].numpy()
    expected = scipy.bootstrap(
        (hits,), lambda x, axis: x.mean(axis) / (x.mean(axis) + 20) / 2, method="percentile", n_resamples=4000
    ).confidence_interval
    assert bootstrap(matrices, resamples=4000) == pytest.approx(tuple(expected), abs=0.006)


def test_soft_confusion_of_certain_predictions_is_the_hard_one():
    truth = torch.randint(0, 3, (2, 6, 6), dtype=torch.uint8)
    truth[0, 0, 0] = IGNORE
    labels = torch.randint(0, 3, (2, 6, 6))
    certain = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    assert torch.equal(soft_confusion(certain, truth).long(), confusion(labels, truth, 3))


def test_whole_image_confusions_sum_to_the_image_at_sizes_that_do_not_divide():
    generator = torch.Generator().manual_seed(0)
    probability = torch.softmax(torch.randn(2, 3, 10, 13, generator=generator), dim=1)
    masks = torch.randint(0, 3, (2, 10, 13), dtype=torch.uint8, generator=generator)
    hard, soft = whole_confusions(probability, masks, (4, 4))
    assert hard.shape == soft.shape == (2, 16, 3, 3)
    assert torch.equal(hard.sum(dim=1), confusion(probability.argmax(dim=1), masks, 3))
    assert torch.allclose(soft.sum(dim=1), soft_confusion(probability, masks), atol=1e-4)


def test_patch_confusions_crop_the_halo():
    class Brightness(torch.nn.Module):
        def forward(self, x):
            return torch.cat([1 - x, x], dim=1) * 100

    masks = torch.randint(0, 2, (2, 12, 12), dtype=torch.uint8)
    tiles = split(masks[:, None].float(), (3, 3), halo=2)
    hard, _ = patch_confusions(Brightness(), tiles, split_mask(masks, (3, 3)), 2, halo=2, precision="fp32")
    assert hard.sum(dim=(0, 1)).tolist() == [[(masks == 0).sum(), 0], [0, (masks == 1).sum()]]


def test_image_confusions_are_those_of_each_image_alone(monkeypatch):
    """In chunks of two images; counted pixel by pixel."""
    monkeypatch.setattr("paser_opt.evaluate._chunks", lambda count, *_: (slice(i, i + 2) for i in range(0, count, 2)))
    draw = torch.Generator().manual_seed(0)
    model = build_unet(UNetConfig(base=2, depth=1, norm="batch"), seed=0).eval()
    images = torch.randn(5, 1, 8, 8, generator=draw)
    masks = torch.randint(0, 3, (5, 8, 8), generator=draw).to(torch.uint8)
    masks[0, 0] = IGNORE
    found = image_confusions(model, images, masks, precision="fp32")
    assert found.sum(dim=(1, 2)).tolist() == [56, 64, 64, 64, 64]
    with torch.inference_mode():
        labels = model(images).argmax(dim=1)
    for matrix, label, mask in zip(found, labels, masks, strict=True):
        for truth in range(3):
            for said in range(3):
                assert matrix[truth, said] == ((mask == truth) & (label == said)).sum()
