"""Which operating point IoU/GFLOP is told of, by hand."""

import pytest
import torch

from paser_opt.compare.curves import Points
from paser_opt.compare.outcome import Lane, per_gflop
from paser_opt.compare.statistics import draw


def points(hits: list[int], gflops: list[float], sent: list[float], names: str) -> Points:
    """Two images of 100 pixels, half of either class, ``hits`` of 50 right at each point: IoU = h / (100 - h)."""
    right = torch.tensor(hits)[:, None].expand(-1, 2)
    wrong = 50 - right
    matrices = torch.stack([torch.stack([right, wrong], -1), torch.stack([wrong, right], -1)], -2)
    cost = torch.tensor(gflops, dtype=torch.float64)[:, None].expand(-1, 2)
    share = torch.tensor(sent, dtype=torch.float64)
    return Points(matrices.double(), {"gflops": cost}, cost, torch.stack([1 - share, share], 1), tuple(names))


def test_the_point_is_chosen_on_val_and_told_of_on_test() -> None:
    """IoU of 25, 30, 40, 45, 50 right: 1/3, 3/7, 2/3, 9/11, 1. Point A keeps all patches and is no route."""
    single = Lane("static", points([40, 45], [4.0, 10.0], [0, 0], "pq"), {"gflops": [0, 1]},
                  points([30, 45], [4.0, 10.0], [0, 0], "pq"))  # fmt: skip
    # On val B gains most: 3/7 for 1 GFLOP where p has it for 4; C has 9/11 for 5, where q has it for 10.
    # On test C would: its 45 right need q, and B's 25 right are reached by p.
    learned = Lane("learned", points([50, 25, 45], [0.1, 2.0, 1.0], [0, 0.1, 0.5], "ABC"), {"gflops": [0, 1, 2]},
                   points([50, 30, 45], [0.1, 1.0, 5.0], [0, 0.1, 0.5], "ABC"))  # fmt: skip
    pipeline = Lane("pipeline", points([50], [5.0], [0.5], "P"), {"gflops": [0]})
    seeds = [{"pipeline": pipeline, "learned": learned, "static": single}] * 2
    own, best = per_gflop(seeds, draw([2, 2], count=50), pipeline="pipeline", learned="learned", static="static")
    assert (best.operating, best.rival, best.reached) == ("B", "p", True)
    assert best.gain.value == pytest.approx((1 / 3 / 2) / (2 / 3 / 4) - 1)
    assert (own.rival, own.reached) == ("q", False)  # nobody reaches IoU 1: the highest it is
    assert own.gain.value == pytest.approx((1 / 5) / (9 / 11 / 10) - 1)
