"""What a comparison keeps, as strict records; no torch in here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..records import FORMAT, Quantity, Record

__all__ = [
    "AXES",
    "ENTROPY",
    "EQUAL",
    "LEARNED",
    "ORACLE",
    "PIPELINE",
    "RANDOM",
    "STATIC",
    "Axis",
    "Comparison",
    "Difference",
    "Equivalence",
    "Estimate",
    "FrontPoint",
    "Group",
    "PerGflop",
    "RouterResult",
    "Verdict",
    "same_cost",
]

Axis = Literal["gflops", "latency", "energy"]
AXES: tuple[Axis, ...] = ("gflops", "latency", "energy")
"""Costs in GFLOPs (full convention), seconds and joules (gross), mean of one image."""

Verdict = Literal["better", "worse", "not told apart"]


Group = Literal["pipeline", "single model", "static", "random", "rule", "learned", "oracle"]

PIPELINE, LEARNED, RANDOM, ORACLE, ENTROPY, STATIC = (
    "pipeline", "priced gains", "random", "oracle per budget", "entropy threshold", "static front",
)  # fmt: skip
"""Names of the routers that a comparison is told by; those of `routers/` bear the same."""

EQUAL = 0.02
"""Share of the pipeline's mean cost that another may miss it by and still be called equal in cost."""


def same_cost(cost: float, other: float) -> bool:
    """Whether ``cost`` is ``other``'s, within EQUAL of it."""
    return abs(cost - other) <= EQUAL * other


class Estimate(Record):
    """A mean over seeds with its 95 % bootstrap interval over images nested in seeds."""

    value: float
    low: float
    high: float


class Difference(Record):
    """Ours less a baseline's, paired over images and seeds; p is two-sided, ``p_holm`` adjusted over the baselines.

    The verdict is about ours: better or worse where ``p_holm`` is below 0.05.
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    verdict: Verdict


class Equivalence(Record):
    """Whether two are the same within ``margin``: two one-sided tests at 5 %, paired over images and seeds.

    The interval is the 90 % one that these tests look at. ``p_holm`` is adjusted over all that are tested together.
    """

    difference: float
    low: float
    high: float
    margin: float
    p: float
    p_holm: float
    verdict: Literal["equivalent", "not shown"]


class FrontPoint(Record):
    """One operating point of a router on test."""

    seed: int
    label: str
    iou: float
    costs: dict[Axis, float]
    val_iou: float | None = None
    unlearnt: int | None = Field(
        None,
        description="of a single UNet trained beside the pipeline: classes that test shows and it never predicts; "
        "None for all else",
    )
    kept: bool = Field(description="on the upper hull of val, so that budgets are met by mixing it with its neighbours")


class RouterResult(Record):
    """One router on test. Where it has several operating points, it is shown at the pipeline's own cost, or at the
    nearest that it has to it: its dearest kept point where that is cheaper, its cheapest where that is dearer."""

    name: str
    group: Group
    operating: str = Field(description="which operating point, or mix of two, the figures are of")
    equal_cost: bool = Field(
        description="its mean cost is the pipeline's, within EQUAL; False: it has none such, so it is shown at its own"
    )
    iou: Estimate
    gflops: float = Field(description="full convention, 2·MACs")
    gflops_paper: float = Field(description="the paper's: a MAC is one FLOP, no MC passes, no policy")
    latency_s: Quantity
    energy_j: Quantity
    usage: list[float] = Field(description="share of patches whose mask comes from f_0 … f_m")
    iou_per_gflop: Estimate
    iou_per_gflop_paper: float
    iou_at: list[float | None] = Field(description="at Comparison.budgets; None where it cannot be that cheap")
    captured: float | None = Field(
        None, description="share of the oracle's gain over random, both at the cost that this one is shown at"
    )
    captured_missing: str | None = Field(None, description="why a route has no such share")
    captured_at: list[float | None] = Field(
        default_factory=list,
        description="the same within Comparison.budgets, which none has to spend; for several operating points",
    )
    hypervolume: dict[Axis, Estimate] = Field(description="share of the box between reference and ideal point")
    front: list[FrontPoint]
    against: Difference | None = Field(None, description="IoU of the pipeline less this one's")
    at_against: list[Difference | None] = Field(
        default_factory=list, description="at Comparison.budgets, IoU of priced gains less this one's"
    )
    front_against: dict[Axis, Difference] = Field(
        default_factory=dict, description="hypervolume of the front of priced gains less this one's"
    )


class PerGflop(Record):
    """IoU/GFLOP of one operating point over that of the best single UNet of equal or better IoU; full convention."""

    router: str
    operating: str
    chosen: Literal["val", "test"] = Field("val", description="what chose the operating point; test: by version 0.1.0")
    iou: float
    gflops: float
    rival: str = Field(
        description="single UNet of the static front with the most IoU/GFLOP among those of its IoU or more"
    )
    rival_iou: float
    rival_gflops: float
    reached: bool = Field(description="False: no single UNet reaches its IoU; the rival is the one with the highest")
    gain: Estimate = Field(description="relative: 1.74 is +174 %")


class Comparison(Record):
    """Every router of one pipeline, or of one pipeline trained from several seeds."""

    format: int = FORMAT
    title: str
    trial: int | None
    seeds: list[int]
    images: list[int] = Field(description="test images of each seed")
    device: str
    axis: Axis = Field(description="the cost that is held equal")
    budgets: list[float] = Field(description="mean cost of an image on that axis, SI units")
    reference: dict[Axis, tuple[float, float]] = Field(description="axis → (IoU, cost) of hypervolume's reference")
    ideal: dict[Axis, tuple[float, float]]
    resamples: int
    created: str
    routers: list[RouterResult]
    per_gflop: list[PerGflop] = Field(default_factory=list)
    uneven: float | None = Field(
        None, description="smallest share of the test patches with 80 % of what the best choice gains; mean over seeds"
    )
    notes: list[str] = Field(default_factory=list)

    def router(self, name: str) -> RouterResult:
        return next(one for one in self.routers if one.name == name)
