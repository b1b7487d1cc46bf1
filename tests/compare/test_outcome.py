"""Which operating point IoU/GFLOP is told of, and what is compared at which cost, by hand."""

from dataclasses import replace

import pytest
import torch

from paser_opt.compare.curves import Points
from paser_opt.compare.outcome import Lane, _front, box, per_gflop, results
from paser_opt.compare.records import Group, RouterResult
from paser_opt.compare.statistics import draw
from paser_opt.records import Quantity


def points(hits: list[int], gflops: list[float], sent: list[float], names: str) -> Points:
    """Two images of 100 pixels, half of either class, ``hits`` of 50 right at each point: IoU = h / (100 - h)."""
    right = torch.tensor(hits)[:, None].expand(-1, 2)
    wrong = 50 - right
    matrices = torch.stack([torch.stack([right, wrong], -1), torch.stack([wrong, right], -1)], -2)
    cost = torch.tensor(gflops, dtype=torch.float64)[:, None].expand(-1, 2)
    share = torch.tensor(sent, dtype=torch.float64)
    costs = {"gflops": cost, "latency": cost}
    return Points(matrices.double(), costs, cost, torch.stack([1 - share, share], 1), tuple(names))


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


def lane(group: Group, hits: list[int], gflops: list[float]) -> Lane:
    names = "ABC"[: len(hits)]
    return Lane(group, points(hits, gflops, [0.5] * len(hits), names), {"gflops": list(range(len(hits)))})


@pytest.fixture(scope="module")
def routers() -> dict[str, RouterResult]:
    """The pipeline takes 10 GFLOPs; "early", "rule" and "static" end below that, "dear" and "late" begin above."""
    lanes = {
        "pipeline": lane("pipeline", [35], [10.0]),
        "single": lane("single model", [35], [10.1]),
        "static": lane("static", [20, 30], [3.0, 9.9]),
        "early": lane("rule", [20, 25], [1.0, 1.5]),
        "rule": lane("rule", [25, 30], [2.0, 6.0]),
        "dear": lane("rule", [30, 40], [12.0, 18.0]),
        "late": lane("rule", [45, 50], [20.0, 24.0]),
        "learned": lane("learned", [25, 45], [2.0, 18.0]),
        "random": lane("random", [20, 40], [2.0, 18.0]),
        "oracle": lane("oracle", [25, 50], [2.0, 18.0]),
    }
    seeds = [lanes] * 2
    found = results(
        seeds, "gflops", [8.0], {"gflops": box(seeds, "gflops")}, draw([2, 2], count=199),
        pipeline="pipeline", learned="learned", random="random", oracle="oracle",
        energy=Quantity(value=None, how="predicted", reason="no power sensor"),
    )  # fmt: skip
    return {one.name: one for one in found}


def test_costs_are_equal_where_what_is_spent_is(routers: dict[str, RouterResult]) -> None:
    """Within 2 % of 10 GFLOPs: 10.1 and 9.9 are, 6 and 12 are not."""
    assert {name: one.gflops for name, one in routers.items()} == pytest.approx(
        {"pipeline": 10, "single": 10.1, "static": 9.9, "early": 1.5, "rule": 6, "dear": 12, "late": 20,
         "learned": 10, "random": 10, "oracle": 10}
    )  # fmt: skip
    equal = {name for name, one in routers.items() if one.equal_cost}
    assert equal == {"pipeline", "single", "static", "learned", "random", "oracle"}


def test_the_share_captured_is_of_what_can_be_had_at_the_same_cost(routers: dict[str, RouterResult]) -> None:
    """Right of 50, by random routes and the oracle: at 6 GFLOPs 25 and 31.25, at 10 30 and 37.5, at 12 32.5 and 40.625.

    The IoU of h right is h / (100 - h).
    """
    shares = {name: one.captured for name, one in routers.items() if one.captured is not None}
    assert shares == pytest.approx(
        {
            "pipeline": (35 / 65 - 30 / 70) / (37.5 / 62.5 - 30 / 70),
            "rule": (30 / 70 - 25 / 75) / (31.25 / 68.75 - 25 / 75),
            "dear": (30 / 70 - 32.5 / 67.5) / (40.625 / 59.375 - 32.5 / 67.5),
            "learned": (35 / 65 - 30 / 70) / (37.5 / 62.5 - 30 / 70),
            "random": 0.0,
            "oracle": 1.0,
        }
    )
    assert {name: one.captured_missing for name, one in routers.items() if one.captured_missing} == {
        "early": "random routes cannot be that cheap",
        "late": "random routes end at a lower cost",
    }


def test_what_a_single_unet_beside_the_pipeline_has_not_learnt_is_counted(routers: dict[str, RouterResult]) -> None:
    """All of class 0 taken for class 1; what has a share of the patches is the pipeline's own, and not counted."""
    found = points([0], [3.0], [0], "p")
    matrices = torch.tensor([[0.0, 50.0], [0.0, 50.0]], dtype=torch.float64).expand(1, 2, 2, 2)
    blind = replace(found, matrices=matrices, usage=torch.zeros(1, 2))
    own = replace(blind, usage=torch.tensor([[1.0, 0.0]]))
    assert _front(Lane("static", blind, {"gflops": [0]}), 0, "gflops")[0].unlearnt == 1
    assert _front(Lane("static", own, {"gflops": [0]}), 0, "gflops")[0].unlearnt is None
    assert {point.unlearnt for one in routers.values() for point in one.front} == {None}


def test_at_a_budget_the_rivals_that_can_be_that_cheap_are_one_family(routers: dict[str, RouterResult]) -> None:
    """All images are alike, so p is 2 / (199 + 1); Holm's factor is the number of rivals. The oracle is none."""
    tested = {name: one.at_against[0] for name, one in routers.items() if one.at_against}
    assert {name for name, one in tested.items() if one} == {"static", "early", "rule", "random"}
    assert tested.keys() - {"static", "early", "rule", "random"} == {"dear", "late"}
    for one in filter(None, tested.values()):
        assert (one.p, one.p_holm) == pytest.approx((0.01, 4 * 0.01))
        assert one.verdict == "better"
    assert tested["rule"] and tested["rule"].difference == pytest.approx(32.5 / 67.5 - 30 / 70)
