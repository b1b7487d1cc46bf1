"""Features of a patch by hand."""

import math

import pytest
import torch

from paser_opt.routers import FEATURES, Describe, patch_means

IMAGE = torch.tensor([[[[0.0, 1.0, 1.0, 1.0], [0.0, 3.0, 1.0, 1.0]]]])  # (1, 1, 2, 4): two patches of 2 × 2
SURE = torch.tensor([[[[0.5, 0.5, 0.9, 0.2], [0.5, 0.5, 0.9, 0.9]]]])
PROBABILITY = torch.cat([SURE, 1 - SURE], dim=1)


def h(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def test_every_feature_by_hand():
    found = {name: one[0].tolist() for name, one in Describe((1, 2))(IMAGE, PROBABILITY).items()}
    assert list(found) == list(FEATURES)
    assert found["entropy"] == [[pytest.approx(h(0.5))], [pytest.approx((3 * h(0.9) + h(0.2)) / 4)]]
    assert found["margin"] == [[pytest.approx(0.0)], [pytest.approx((3 * 0.8 + 0.6) / 4)]]
    assert found["probability"][1] == pytest.approx([0.725, 0.275])
    # Labels are 0 but for one pixel, at the top right: the step down from it, and the one to it from its left.
    assert found["boundary"] == [[0.0], [pytest.approx(2 / 4)]]
    # Down: 0, 2, 0, 0; to the right: 1, 0, 0 and 3, 2, 0.
    assert found["gradient"] == [[pytest.approx((2 + 1 + 3 + 2) / 4)], [0.0]]
    assert found["brightness"] == [[1.0], [1.0]]
    assert found["energy"] == [[pytest.approx(10 / 4)], [1.0]]


def test_only_what_is_asked_is_computed():
    assert list(Describe((1, 2), ("margin",))(IMAGE, PROBABILITY)) == ["margin"]


def test_patches_go_row_by_row_and_edges_are_repeated():
    means = patch_means(torch.arange(6.0).reshape(1, 1, 2, 3), (2, 2))
    assert means[0, :, 0].tolist() == [0.5, 2.0, 3.5, 5.0]
