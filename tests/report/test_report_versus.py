"""A comparison's page and CSV say what its record says, escaped, without torch."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pytest
from report_runs import EVIL

from paser_opt.compare.records import Comparison, Difference, Estimate, FrontPoint, PerGflop, RouterResult
from paser_opt.records import Quantity
from paser_opt.report.compared import difference_text, headline, said_of_routing
from paser_opt.report.versus import comparison_csv, fronts_figure, write_comparison


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


def difference(value: float, verdict: str) -> Difference:
    return Difference(difference=value, low=value - 0.01, high=value + 0.01, p=0.01, p_holm=0.03, verdict=verdict)


def router(name: str, group: str, iou: float, latency_s: float, verdict: str | None, points: int = 2) -> RouterResult:
    front = [
        FrontPoint(
            seed=0, label=f"λ 0.{i}", iou=iou - 0.1 * i, costs={"gflops": 2.0 - i, "latency": latency_s}, kept=True
        )
        for i in range(points)
    ]  # fmt: skip
    return RouterResult(
        name=name, group=group, operating="λ 0.1", equal_cost=points > 1, iou=estimate(iou), gflops=2.0,
        gflops_paper=0.8,
        latency_s=Quantity(value=latency_s, how="predicted", source="profile"),
        energy_j=Quantity(value=None, how="predicted", reason="no power sensor"),
        usage=[0.75, 0.25], iou_per_gflop=estimate(iou / 2), iou_per_gflop_paper=iou / 0.8,
        iou_at=[None, iou, iou], captured=0.8 if points > 1 else None, captured_at=[None, 0.7, 0.6][: 3 * (points > 1)],
        hypervolume={"gflops": estimate(0.5), "latency": estimate(0.4)}, front=front,
        against=difference(0.02, verdict) if verdict else None,
        front_against={"latency": difference(-0.03, "worse")} if points > 1 and verdict else {},
    )  # fmt: skip


def comparison(verdict: str = "better", alone: float = 0.55, static: str = "better") -> Comparison:
    at = [None, difference(0.05, static), difference(0.05, "not told apart")]
    rival = PerGflop(
        router="pipeline", operating="λ 0.1", chosen="val", iou=0.62, gflops=2.0, rival="base 8", rival_iou=0.63,
        rival_gflops=4.0, reached=True, gain=Estimate(value=0.97, low=0.9, high=1.04),
    )  # fmt: skip
    return Comparison(
        title=f"small {EVIL}", trial=3, seeds=[0], images=[20], device="cpu", axis="latency",
        budgets=[0.01, 0.02, 0.03], reference={"gflops": (0.4, 9.0), "latency": (0.4, 0.1)},
        ideal={"gflops": (0.8, 1.0), "latency": (0.8, 0.001)}, resamples=2000, created="2026-01-01T10:00:00",
        notes=[f"a note {EVIL}"], per_gflop=[rival], uneven=0.25,
        routers=[
            router("pipeline", "pipeline", 0.62, 0.012, None, points=1),
            router("f_1 alone, whole image", "single model", alone, 0.008, "better" if alone < 0.6 else "worse", 1),
            router("static front", "static", 0.56, 0.012, static).model_copy(update={"at_against": at}),
            router("entropy threshold", "rule", 0.60, 0.012, verdict),
            router("priced gains", "learned", 0.61, 0.012, "not told apart"),
            router("random", "random", 0.50, 0.012, "better"),
            router("oracle", "oracle", 0.70, 0.012, None),
            router("oracle per budget", "oracle", 0.70, 0.012, None),
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "alone", "said"),
    [
        ("better", 0.55, "The pipeline beats the entropy threshold at 12\u00a0ms: IoU 0.620 against 0.600"),
        ("worse", 0.55, "The pipeline loses to the entropy threshold at 12\u00a0ms: IoU 0.620 against 0.600"),
        ("not told apart", 0.55,
         "The pipeline is not told apart from the entropy threshold at 12\u00a0ms: IoU 0.620 against 0.600"),
        ("better", 0.64,
         "Routing has not earned its cost: f_1 alone, whole image reaches IoU 0.640 at 8\u00a0ms, the pipeline 0.620 "
         "at 12\u00a0ms"),
    ],
)  # fmt: skip
def test_the_headline_says_whether_routing_earned_its_cost(verdict, alone, said):
    assert headline(comparison(verdict, alone)) == said


def with_router(found: Comparison, name: str, **changes: object) -> Comparison:
    routers = [one.model_copy(update=changes) if one.name == name else one for one in found.routers]
    return found.model_copy(update={"routers": routers})


@pytest.mark.parametrize(
    ("latency_s", "said"),
    [
        (0.0118, "the entropy threshold at 12\u00a0ms: IoU 0.620 against 0.600"),  # 1.7 % less is the same
        (0.008, "the entropy threshold, which takes less: IoU 0.620 at 12\u00a0ms against 0.600 at 8\u00a0ms"),
        (0.0124, "the entropy threshold, which takes more: IoU 0.620 at 12\u00a0ms against 0.600 at 12.4\u00a0ms"),
    ],
)
def test_the_headline_says_what_each_takes_where_that_differs(latency_s, said):
    latency = Quantity(value=latency_s, how="predicted", source="profile")
    assert headline(with_router(comparison(), "entropy threshold", latency_s=latency)) == f"The pipeline beats {said}"


def test_a_difference_in_words():
    assert difference_text(difference(0.02, "better")) == "+0.020 (+0.010 … +0.030), p 0.03: better"


def test_the_csv_holds_every_router_in_si_units():
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison()))))
    assert [row["router"] for row in rows] == [one.name for one in comparison().routers]
    rival = next(row for row in rows if row["router"] == "entropy threshold")
    static = next(row for row in rows if row["router"] == "static front")
    assert (static["priced_less_this_at_budget_1_difference"], static["priced_less_this_at_budget_2_difference"]) == (
        "",
        "0.05",
    )
    assert float(rival["latency_s"]) == 0.012 and rival["latency_how"] == "predicted"
    assert rival["energy_j"] == "" and rival["energy_how"] == ""
    assert (rival["budget_1_s"], rival["iou_at_budget_1"], rival["iou_at_budget_2"]) == ("0.01", "", "0.6")
    assert (rival["captured_at_budget_2"], rows[1]["captured_at_budget_2"]) == ("0.7", "")
    assert float(rival["iou_against_p_holm"]) == 0.03
    assert rival["front_against_latency_verdict"] == "worse"
    assert rows[0]["iou_against_verdict"] == ""


def test_the_figure_joins_what_val_keeps():
    figure = fronts_figure(comparison(), "gflops")
    rival = next(trace for trace in figure.data if trace.name == "entropy threshold")
    assert list(rival.x) == [1.0, 2.0]
    assert list(rival.y) == pytest.approx([0.5, 0.6])
    assert rival.mode == "lines+markers"
    assert next(trace for trace in figure.data if trace.name == "pipeline").mode == "markers"


def test_the_page_is_escaped_and_lies_beside_its_record(tmp_path):
    page = write_comparison(comparison(), tmp_path)
    text = page.read_text(encoding="utf-8")
    assert EVIL not in text
    assert "small &lt;script&gt;" in text
    assert Comparison.model_validate_json((tmp_path / "compare.json").read_text(encoding="utf-8")) == comparison()
    assert {path.name for path in tmp_path.iterdir()} == {"compare.html", "compare.csv", "compare.json"}


def test_no_torch_is_loaded():
    code = "import sys, paser_opt.report.versus; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_whether_to_route_is_said_in_words() -> None:
    said = said_of_routing(comparison())
    assert said[0] == "Difficulty: 25\u00a0% of the patches hold 80 % of all that a larger model could gain."
    assert said[1] == (
        "Within 20\u00a0ms the oracle gains +0.200 IoU over random routes; predicted gains capture 70\u00a0% of it."
    )
    assert said[3].startswith(
        "At the pipeline's 12\u00a0ms it reaches IoU 0.620, the static front (single UNets on whole images) 0.560: +0.0"
    )
    assert (
        "Within 20\u00a0ms routes reach IoU 0.610, the static front (single UNets on whole images) 0.560: +0.050"
        in said[4]
    )
    assert said[6] == "Routing earns its cost within 12\u00a0ms, 20\u00a0ms."
    assert said[7] == (
        "IoU/GFLOP of pipeline, λ 0.1 (IoU 0.620, 2 GFLOPs; chosen on val): +97% (+90% … +104%) over the best single "
        "UNet of its IoU or more, base 8 (IoU 0.630, 4 GFLOPs)."
    )
    assert "No budget is shown at which a route earns its cost: deploy a single UNet, such as" in " ".join(
        said_of_routing(comparison(static="not told apart"))
    )
    even = comparison().model_copy(update={"uneven": 0.5})
    assert said_of_routing(even)[0].endswith("it is spread too evenly for a route to save much.")


def test_the_static_front_is_a_rival_where_it_takes_less_and_none_where_it_takes_more() -> None:
    def at(latency_s: float) -> str:
        latency = Quantity(value=latency_s, how="predicted", source="profile")
        return "\n".join(said_of_routing(with_router(comparison(), "static front", latency_s=latency)))

    assert "it reaches IoU 0.620, the static front (single UNets on whole images) 0.560 at 8\u00a0ms: +0.0" in at(0.008)
    assert "Routing earns its cost within 12\u00a0ms, 20\u00a0ms." in at(0.008)
    assert "At the pipeline's" not in at(0.013)
    assert "Routing earns its cost within 20\u00a0ms." in at(0.013)


def test_no_verdict_where_nothing_is_tested() -> None:
    """Within 10 ms priced gains cannot be run: that is no loss, though single UNets can be."""
    said = said_of_routing(with_router(comparison(), "static front", iou_at=[0.4, 0.56, 0.56]))
    assert (
        "Within 10\u00a0ms priced gains cannot be run, so nothing is tested there; the static front reaches IoU 0.400."
        in said
    )
    assert not [text for text in said if "a single UNet is better" in text]
    assert "Routing earns its cost within 12\u00a0ms, 20\u00a0ms." in said


def static_points(*found: tuple[str, float, float, int | None]) -> list[FrontPoint]:
    """(label, IoU on val, seconds, classes not learnt) of one seed; on test the IoU is 0.1 less."""
    return [
        FrontPoint(seed=0, label=label, iou=iou - 0.1, costs={"gflops": 1.0, "latency": latency_s}, kept=True,
                   val_iou=iou, unlearnt=never)
        for label, iou, latency_s, never in found
    ]  # fmt: skip


def test_single_unets_that_have_not_learnt_the_task_are_said() -> None:
    def earned(front: list[FrontPoint], **changes: object) -> str:
        found = with_router(comparison().model_copy(update=changes), "static front", front=front)
        return next(text for text in said_of_routing(found) if text.startswith("Routing earns"))

    own = ("f_0 alone", 0.6, 0.01, None)
    plain = "Routing earns its cost within 12\u00a0ms, 20\u00a0ms"
    none = static_points(own, ("base 4", 0.5, 0.01, 2), ("base 8", 0.5, 0.02, 1))
    assert earned(none) == (
        f"{plain} – against single UNets of which none has learnt all classes in its training time: train them longer, "
        "or with the crops of the pipeline, before you trust it."
    )
    assert "none has learnt all classes from every seed in" in earned(
        [*none, *static_points(("base 4", 0.5, 0.01, 0))], seeds=[0, 1]
    )
    assert earned(static_points(own, ("base 4", 0.5, 0.01, 2), ("base 8", 0.5, 0.02, 0))) == f"{plain}."
    assert earned(static_points(own)) == f"{plain}."


@pytest.mark.parametrize(
    ("latencies", "said"),
    [
        ((0.01, 0.03, 0.04), "b, the best on val within 30\u00a0ms (IoU 0.600 on test, at 30\u00a0ms)."),
        ((0.05, 0.04, 0.06), "b, the cheapest, as none keeps within 30\u00a0ms (IoU 0.600 on test, at 40\u00a0ms)."),
    ],
)
def test_what_is_to_be_deployed_keeps_within_the_dearest_budget(latencies, said) -> None:
    """Budgets end at 30 ms, the pipeline takes 12 ms. On val c is best, then b, then a."""
    front = static_points(*zip("abc", (0.6, 0.7, 0.8), latencies, (0, 0, 0), strict=True))
    found = with_router(comparison(static="not told apart"), "static front", front=front)
    assert any(text.endswith(f"deploy a single UNet, such as {said}") for text in said_of_routing(found))


def test_a_share_that_is_missing_says_why(tmp_path) -> None:
    found = with_router(comparison(), "entropy threshold", captured=None, captured_missing="random routes end earlier")
    assert "none: random routes end earlier" in write_comparison(found, tmp_path).read_text(encoding="utf-8")
    [rival] = [
        row for row in csv.DictReader(io.StringIO(comparison_csv(found))) if row["router"] == "entropy threshold"
    ]
    assert (rival["captured"], rival["captured_missing"]) == ("", "random routes end earlier")


def test_a_spread_over_seeds_is_said() -> None:
    found = comparison()
    own = found.router("pipeline")
    points = [own.front[0].model_copy(update={"seed": seed, "iou": iou}) for seed, iou in enumerate((0.4, 0.6, 0.8))]
    spread = own.model_copy(update={"front": points})
    said = said_of_routing(found.model_copy(update={"seeds": [0, 1, 2], "routers": [spread, *found.routers[1:]]}))
    assert "High variance: IoU/GFLOP of the pipeline runs from 0.2 to 0.4 over 3 seeds; one seed says little." in said
