"""Monte-Carlo samples: f_0's passes S against what they bring, by an equivalence test.

UNets are the same for every S; the policy is trained afresh on what f_0 shows at that S. The paper found no difference
between 5 and 20 by a t-test. That a test finds none shows nothing, so both stand here: whether a difference is found,
and whether it is shown to be smaller than the margin.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compare.costs import CostTable
from ..compare.curves import Points
from ..compare.outcome import cost_of, iou_of
from ..compare.statistics import compared, equivalent
from ..search.objective import price
from .base import Sample, Subject, less, mean_gflops, point, retrained, sent_on
from .records import Cell, Column, Findings, Sheet

__all__ = ["MARGIN", "SAMPLES", "compared_samples", "run"]

SAMPLES = (0, 1, 3, 5, 10, 20)
REFERENCE = 20
MARGIN = 0.01
"""IoU that is worth no pass of f_0."""


def run(subjects: Sequence[Subject], sample: Sample) -> Findings:
    """One sheet, a row an S."""
    points: dict[int, list[Points]] = {samples: [] for samples in SAMPLES}
    for subject in subjects:
        for samples in SAMPLES:
            priced = price(subject.trained.config.model_copy(update={"mc_samples": samples}), subject.bench)
            trained = retrained(subject, priced)
            costs = CostTable(priced.entries, priced.plan, priced.patches)
            table = trained.tables("test")
            points[samples].append(point(costs, table, trained.route(table), f"S {samples}"))
    notes = [
        "S 0: one plain pass and the entropy of its softmax; S 1: one pass with dropout on.",
        f"Equivalent: IoU within ± {MARGIN:g} of S {REFERENCE}'s, by two one-sided tests at 5 % on paired resamples "
        "(90 % intervals), Holm over all S. “Not told apart” alone is no sign of it.",
    ]
    return Findings(sheets=[compared_samples(points, REFERENCE, sample)], notes=notes)


def compared_samples(points: dict[int, list[Points]], reference: int, sample: Sample) -> Sheet:
    """``points``: S → what it reaches on each seed; every S but ``reference`` is held against that one."""
    both = {samples: sample.both([iou_of(one) for one in of_seed]) for samples, of_seed in points.items()}
    against = {str(samples): less(found, both[reference]) for samples, found in both.items() if samples != reference}
    differ, same = compared(against), equivalent(against, MARGIN)
    rows: list[list[Cell]] = [
        [
            f"{samples}",
            sample.estimate([iou_of(one) for one in of_seed]),
            same.get(str(samples)),
            differ.get(str(samples)),
            sample.estimate([cost_of(one, "latency") for one in of_seed]),
            mean_gflops(of_seed),
            sent_on(of_seed),
        ]
        for samples, of_seed in points.items()
    ]
    return Sheet(
        title="Passes of f_0",
        columns=[
            Column(name="S"),
            Column(name="IoU", kind="iou"),
            Column(name=f"less S {reference}: within ± {MARGIN:g}?", kind="difference"),
            Column(name=f"less S {reference}: different?", kind="difference"),
            Column(name="latency", kind="latency"),
            Column(name="GFLOPs", kind="gflops"),
            Column(name="sent on", kind="share"),
        ],
        rows=rows,
    )
