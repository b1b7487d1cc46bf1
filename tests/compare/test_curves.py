"""Hulls, budgets and hypervolumes of points whose IoU is known by hand."""

import pytest
import torch

from paser_opt.compare.curves import Mix, Points, at_budget, hypervolume, upper_hull


def points(hits: list[list[int]], costs: list[list[float]]) -> Points:
    """Two classes of 50 pixels an image, ``hits`` (L, N) of each right: IoU = h / (100 − h)."""
    right = torch.tensor(hits)
    wrong = 50 - right
    matrices = torch.stack([torch.stack([right, wrong], -1), torch.stack([wrong, right], -1)], -2)
    cost = torch.tensor(costs, dtype=torch.float64)
    share = torch.zeros(len(hits), 2)
    return Points(matrices, {"latency": cost}, cost, share, tuple(f"λ {i}" for i in range(len(hits))))


def test_the_hull_rises_and_bends_one_way():
    cost = torch.tensor([1.0, 2.0, 3.0, 4.0, 2.5, 5.0])
    iou = torch.tensor([0.5, 0.55, 0.8, 0.82, 0.4, 0.81])
    # (2, 0.55) lies below the line from (1, 0.5) to (3, 0.8); (2.5, 0.4) and (5, 0.81) are dominated.
    assert upper_hull(cost, iou) == [0, 2, 3]
    assert upper_hull(torch.tensor([2.0, 2.0]), torch.tensor([0.1, 0.2])) == [1]


def test_a_budget_between_two_points_is_met_by_a_mix():
    cost = torch.tensor([1.0, 3.0, 4.0])
    assert at_budget(cost, [0, 1, 2], 2.5) == Mix(0, 1, 0.75)
    assert at_budget(cost, [0, 1, 2], 3.0) == Mix(1, 2, 0.0)
    assert at_budget(cost, [0, 2], 2.5) == Mix(0, 2, 0.5)
    assert at_budget(cost, [0, 1, 2], 9.0) == Mix(2, 2, 0.0)
    assert at_budget(cost, [0, 1, 2], 0.9) is None


def test_a_mix_has_the_iou_of_the_mixed_counts():
    """h = 25 and 45 right of 50, three quarters of the second: 40 right, IoU 40 / 60, not 3/4 of the IoUs' way."""
    both = points([[25, 25], [45, 45]], [[1.0, 1.0], [2.0, 4.0]])
    assert both.iou().tolist() == pytest.approx([25 / 75, 45 / 55])
    mix = Mix(0, 1, 0.75)
    made = both.mixed(mix)
    assert made.iou().item() == pytest.approx(40 / 60)
    assert made.costs["latency"].tolist() == [[1.75, 3.25]]
    assert made.labels == ("25% λ 0, 75% λ 1",)


def test_the_line_between_two_points_is_cut_in_five():
    line = points([[40], [20], [25]], [[3.0], [1.0], [9.0]]).along([0, 1], "latency")
    assert line.cost("latency").tolist() == pytest.approx([1.0, 1.4, 1.8, 2.2, 2.6, 3.0])
    right = [20, 24, 28, 32, 36, 40]
    assert line.iou().tolist() == pytest.approx([hit / (100 - hit) for hit in right])


def test_hypervolume_by_hand():
    """(0.5, 1 s), (0.8, 3 s) over (0.2, 4 s): 0.3 × 3 + 0.3 × 1 of a box of 0.6 × 3."""
    half, most = 100 / 3, 800 / 18  # h / (100 − h) = 0.5 and 0.8
    two = points([[0], [0]], [[1.0], [3.0]])
    hits = torch.tensor([half, most])
    rest = 50 - hits
    matrices = torch.stack([torch.stack([hits, rest], -1), torch.stack([rest, hits], -1)], -2)[:, None]
    two = Points(matrices, two.costs, two.macs_paper, two.usage, two.labels)
    volume = hypervolume(two, "latency", torch.ones(1, 1, dtype=torch.float64), (0.2, 4.0), (0.8, 1.0))
    assert volume.tolist() == pytest.approx([1.2 / 1.8])


def test_hypervolume_counts_images_as_often_as_they_are_drawn():
    one = points([[25, 40]], [[1.0, 3.0]])
    weight = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    volume = hypervolume(one, "latency", weight, (0.0, 4.0), (1.0, 0.0))
    assert volume.tolist() == pytest.approx([(25 / 75) * 3 / 4, (40 / 60) * 1 / 4])


def test_what_a_resample_reaches_beyond_the_ideal_point_fills_no_more_than_the_box():
    """Ideal (0.5, 2 s), reference (0, 4 s): 1/3 at 1 s counts as at 2 s, 2/3 at 3 s as 0.5; both edges make a whole."""
    one = points([[25, 40]], [[1.0, 3.0]])
    weight = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    volume = hypervolume(one, "latency", weight, (0.0, 4.0), (0.5, 2.0))
    assert volume.tolist() == pytest.approx([(25 / 75) * 2 / (0.5 * 2), 0.5 * 1 / (0.5 * 2)])
    beyond = points([[40, 40]], [[1.0, 1.0]])
    assert hypervolume(beyond, "latency", weight, (0.0, 4.0), (0.5, 2.0)).tolist() == pytest.approx([1.0, 1.0])


def test_averaging_draws_is_their_expectation():
    mean = Points.averaged([points([[20]], [[1.0]]), points([[40]], [[2.0]])])
    assert mean.iou().item() == pytest.approx(30 / 70)
    assert mean.cost("latency").item() == 1.5
