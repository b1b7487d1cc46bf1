"""Holm, nested resampling and p-values against hand-worked values."""

import pytest
import torch

from paser_opt.compare.statistics import compared, draw, equivalent, estimated, holm, value
from paser_opt.evaluate import bootstrap, data_iou, resampled_iou


def test_holm_by_hand():
    """0.005 × 4, 0.01 × 3, 0.03 × 2, then 0.04 × 1 raised to the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_one_seed_is_the_bootstrap_over_images():
    many = torch.randint(1, 50, (25, 3, 3), generator=torch.Generator().manual_seed(0))
    drawn = draw([25], count=4000)
    interval = estimated(data_iou(many), drawn.values([lambda weight: resampled_iou(weight, many)]))
    assert (interval.low, interval.high) == pytest.approx(bootstrap(many, resamples=4000), abs=0.004)


def test_seeds_are_drawn_too():
    """Two seeds that give 0 and 1 whatever the images: the mean of two drawn is 0, ½, 1 in 1 : 2 : 1."""
    drawn = draw([4, 7], count=4000)
    values = drawn.values([lambda weight: weight[:, 0] * 0, lambda weight: weight[:, 0] * 0 + 1])
    shares = [(values == level).double().mean().item() for level in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert value([lambda weight: weight[:, 0] * 0, lambda weight: weight[:, 0] * 0 + 1], [4, 7]) == 0.5


def test_every_resample_draws_as_many_images_as_there_are():
    drawn = draw([4, 7], count=50)
    for images in drawn.images:
        assert [one.sum(dim=1).unique().tolist() for one in images] == [[4.0], [7.0]]


def test_verdicts_by_hand():
    """Of 199 resamples 1 on the other side: p = 2 · 2 / 200; none: 2 · 1 / 200; both sides alike: 1."""
    mostly = torch.full((199,), 0.3, dtype=torch.float64)
    mostly[0] = -0.1
    even = torch.linspace(-1, 1, 199, dtype=torch.float64)
    found = compared({"a": (0.3, mostly), "b": (-0.2, torch.full_like(even, -0.2)), "c": (0.0, even)})
    assert [found[name].p for name in "abc"] == pytest.approx([0.02, 0.01, 1.0])
    assert [found[name].p_holm for name in "abc"] == pytest.approx([0.04, 0.03, 1.0])
    assert [found[name].verdict for name in "abc"] == ["better", "worse", "not told apart"]
    assert (found["b"].low, found["b"].high) == (-0.2, -0.2)


def test_equivalence_by_hand():
    """Of 199 resamples 3 lie beyond +0.01, none below −0.01: p = 4 / 200; half of them beyond: p = 101 / 200."""
    close, wide = torch.zeros(199, dtype=torch.float64), torch.zeros(199, dtype=torch.float64)
    close[:3], wide[:100] = 0.02, 0.02
    found = equivalent({"close": (0.0, close), "wide": (0.01, wide)}, 0.01)
    assert [found[name].p for name in ("close", "wide")] == pytest.approx([0.02, 0.505])
    assert [found[name].p_holm for name in ("close", "wide")] == pytest.approx([0.04, 0.505])
    assert [found[name].verdict for name in ("close", "wide")] == ["equivalent", "not shown"]
    assert (found["close"].low, found["wide"].high) == (0.0, 0.02)


def test_what_is_equal_is_equivalent_and_an_unsure_zero_is_not():
    """No difference on average over a wide spread: not told apart, and yet not shown to be equal."""
    spread = torch.linspace(-0.05, 0.05, 1999, dtype=torch.float64)
    same = torch.zeros(1999, dtype=torch.float64)
    found = equivalent({"same": (0.0, same), "unsure": (0.0, spread)}, 0.01)
    assert (found["same"].verdict, found["unsure"].verdict) == ("equivalent", "not shown")
    assert compared({"unsure": (0.0, spread)})["unsure"].verdict == "not told apart"
