"""Ablation: the pipeline without one of its parts at a time, on the same images and seeds.

Without distillation (β = 0) and without fine-tuning every later stage is trained anew, the policy included, so cost
shifts too and stands beside IoU. In place of the learned route: a random one with its usage, and the entropy threshold
at the same cost, on the pipeline's own models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from ..compare.curves import Points
from ..compare.outcome import cost_of, iou_of
from ..compare.statistics import compared
from ..config import PipelineConfig
from ..routers import EntropyRouter
from ..search.lanes import Effort, Scorer
from .base import Sample, Subject, kept, less, mean_gflops, sent_on, twin
from .records import Cell, Column, Findings, Sheet

__all__ = ["ablated", "run", "variant"]

FULL = "full pipeline"


def run(subjects: Sequence[Subject], sample: Sample) -> Findings:
    """One sheet, a row a part that is taken away."""
    config = subjects[0].trained.config
    notes = [
        "f_0 alone: f_0 of that row keeps every patch, S as in the pipeline.",
        "Random routes are charged the policy's step.",
    ]
    changes: dict[str, dict[str, object]] = {
        "no distillation (β = 0)": {"distill_weight": 0.0},
        "no fine-tuning": {"finetune_epochs": 0},
    }
    if config.distill_weight == 0:
        notes.append("The pipeline does not distill (β = 0), so there is no distillation to take away.")
        del changes["no distillation (β = 0)"]
    if config.training.finetune_epochs == 0:
        notes.append("The study does not fine-tune, so there is no fine-tuning to take away.")
        del changes["no fine-tuning"]
    rows: dict[str, list[Points]] = {FULL: [one.own for one in subjects]}
    smallest = {FULL: [kept(one) for one in subjects]}
    for name, change in changes.items():
        varied = [variant(one, change) for one in subjects]
        rows[name], smallest[name] = [one.own for one in varied], [kept(one) for one in varied]
    rows["random route, same usage"] = [
        twin(one.costs, one.test, one.trained.route(one.test), one.trained.config.seed) for one in subjects
    ]
    rows["entropy threshold, same cost"] = [_threshold(one) for one in subjects]
    idle = [name for name in changes if _same(rows[name], rows[FULL])]
    notes += [f"With {name} every test image scores as with the full pipeline: that part did nothing." for name in idle]
    return Findings(sheets=[ablated(rows, smallest, sample)], notes=notes)


def variant(subject: Subject, change: Mapping[str, object]) -> Subject:
    """The same pipeline, trained with fields of PipelineConfig or TrainConfig that differ; stages come from the store
    where it has them. Without a change it is the pipeline itself."""
    config, training = subject.pipeline.config, subject.pipeline.config.training
    own = {name: value for name, value in change.items() if name in PipelineConfig.model_fields}
    stages = training.model_copy(update={name: value for name, value in change.items() if name not in own})
    changed = config.model_copy(update={**own, "training": stages})
    pipeline = replace(subject.pipeline, config=changed, trial=None)
    return Subject(pipeline, subject.seed, subject.bench, *pipeline.trained(subject.seed, subject.bench))


def _same(points: Sequence[Points], others: Sequence[Points]) -> bool:
    return all(torch.equal(one.matrices, other.matrices) for one, other in zip(points, others, strict=True))


def _threshold(subject: Subject) -> Points:
    """Fitted on val at several λ; met at the pipeline's own mean cost, or as near as it comes."""
    axis = subject.pipeline.axis
    scorer = Scorer(subject.bench, subject.priced, subject.trained, axis, Effort(reinforce=False))
    lane = scorer.family("rule", EntropyRouter(subject.trained.config.grid))
    return lane.at(axis, subject.own.cost(axis)[0].item()) or lane.cheapest(axis)


def ablated(rows: Mapping[str, Sequence[Points]], smallest: Mapping[str, Sequence[Points]], sample: Sample) -> Sheet:
    """``rows``: what is left → its points on each seed, the full pipeline among them; ``smallest``: its f_0's alone."""
    both = {name: sample.both([iou_of(one) for one in points]) for name, points in rows.items()}
    against = compared({name: less(both[FULL], found) for name, found in both.items() if name != FULL})
    cells: list[list[Cell]] = [
        [
            name,
            sample.estimate([iou_of(one) for one in points]),
            against.get(name),
            sample.estimate([cost_of(one, "latency") for one in points]),
            mean_gflops(points),
            sent_on(points),
            sample.estimate([iou_of(one) for one in smallest[name]]) if name in smallest else None,
        ]
        for name, points in rows.items()
    ]
    return Sheet(
        title="One part taken away at a time",
        columns=[
            Column(name="what is left"),
            Column(name="IoU", kind="iou"),
            Column(name="full pipeline less this", kind="difference"),
            Column(name="latency", kind="latency"),
            Column(name="GFLOPs", kind="gflops"),
            Column(name="sent on", kind="share"),
            Column(name="f_0 alone", kind="iou"),
        ],
        rows=cells,
        notes=["“better”: the full pipeline is, by IoU alone; latency says what either spends."],
    )
