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


def test_every_feature_by_hand(monkeypatch):
    monkeypatch.setattr("paser_opt.routers.features.STRIDE", 1)
    found = {name: one[0].tolist() for name, one in Describe((1, 2))(IMAGE, PROBABILITY).items()}
    assert list(found) == list(FEATURES)
    assert found["entropy"] == [[pytest.approx(h(0.5))], [pytest.approx((3 * h(0.9) + h(0.2)) / 4)]]
    assert found["margin"] == [[pytest.approx(0.0)], [pytest.approx((3 * 0.8 + 0.6) / 4)]]


def test_one_pixel_of_a_cell_stands_for_it():
    sure = torch.full((1, 1, 16, 16), 0.5)
    for (row, column), value in zip([(4, 4), (4, 11), (11, 4), (11, 11)], [0.9, 0.8, 0.7, 0.6], strict=True):
        sure[..., row, column] = value
    entropy = Describe((1, 1), ("entropy",))(torch.zeros(1, 1, 16, 16), torch.cat([sure, 1 - sure], dim=1))["entropy"]
    assert entropy.item() == pytest.approx((h(0.9) + h(0.8) + h(0.7) + h(0.6)) / 4)


def test_only_what_is_asked_is_computed():
    assert list(Describe((1, 2), ("margin",))(IMAGE, PROBABILITY)) == ["margin"]


def test_patches_go_row_by_row():
    means = patch_means(torch.arange(8.0).reshape(1, 1, 2, 4), (2, 2))
    assert means[0, :, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
