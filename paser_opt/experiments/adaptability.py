"""Adaptability: the test images under corruptions that nothing was trained for, models and policy unchanged.

A route that spends more where it is unsure can hide a drop in IoU, so the shift in usage and in cost stands beside it,
and beside the pipeline a random route with exactly the usage that the pipeline has on the same corrupted images, and
the pipeline under a cap: what `predict --cap` does, no more patches sent on than in any image of val. Where the study's
own images are corrupted, another corruption takes the place of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from ..compare.curves import Points
from ..compare.outcome import cost_of, iou_of
from ..compare.statistics import Statistic, compared, estimated
from ..config import DataConfig
from ..data import Part, SegmentationData
from ..data.corruptions import CORRUPTIONS, corrupt
from ..predict import capped, most_sent
from ..train import Table
from ..train.table import everywhere, screened, with_context
from .base import Sample, Subject, less, point, sent_on, twin
from .records import Cell, Column, Findings, Sheet

__all__ = ["SEVERITIES", "corrupted", "run", "unseen"]

SEVERITIES = (1, 3, 5)
CAPPED = "pipeline, no more sent on than in any image of val"
PIPELINE, RANDOM, LARGEST, SMALLEST = "pipeline", "random route, same usage", "f_m everywhere", "f_0 everywhere"
AS_TRAINED = ("none", 0)
"""The test images as they are."""

Shift = tuple[str, int]
"""Corruption and severity."""
Seeds = Sequence[Mapping[Shift, Mapping[str, Points]]]
"""Of each seed: shift → route → what it reaches."""


def run(subjects: Sequence[Subject], sample: Sample) -> Findings:
    """One sheet of all that is unseen together, one of every corruption and severity."""
    data = subjects[0].pipeline.study.data
    shifts = [AS_TRAINED, *((kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES)]
    seeds = [_reached(one, shifts) for one in subjects]
    left = [shift for shift in shifts[1:] if shift[0] in unseen(data)]
    notes = [
        "Drop: share of the IoU on the test images as they are that is lost, each route against itself.",
        "No more sent on than in any image of val, in all and to each model: of an image's patches those that the "
        "policy is surest of; `predict --cap` does so.",
        f"Random: {RANDOM} on the same corrupted images, expectation over draws; it spends what the pipeline spends.",
        "Sent on: share of patches that f_0 does not keep. Latency: predicted from the profile, mean of an image.",
    ]
    if data.corruption:
        notes.append(
            f"The study trains and tests under {', '.join(data.corruption)}; another corruption stands in for an "
            "image's own."
        )
    if data.augment:
        notes.append(f"The study trains on copies of its images too, under {', '.join(data.augment)}.")
    if data.corruption or data.augment:
        notes.append("Corruptions that it trains under are not among the unseen.")
    return Findings(
        sheets=[*([_together(seeds, left, sample)] if left else []), _each(seeds, shifts, sample)], notes=notes
    )


def unseen(data: DataConfig) -> list[str]:
    """Corruptions that no UNet is trained under, neither its images nor their copies."""
    return [kind for kind in CORRUPTIONS if kind not in {*data.corruption, *data.augment}]


def corrupted(data: SegmentationData, clean: SegmentationData, kind: str, severity: int, seed: int) -> Part:
    """Test images of ``clean``, which the data set's mean and std standardise, under a corruption and as ``data`` has
    them; severity 0: ``data``'s own."""
    if severity == 0:
        return data.test
    mean, std = (torch.tensor(one)[:, None, None] for one in (clean.mean, clean.std))
    pixels = corrupt(clean.test.images * std + mean, kind, severity, torch.Generator().manual_seed(seed))
    return replace(clean.test, images=data.standardised(pixels))


def _reached(subject: Subject, shifts: Sequence[Shift]) -> dict[Shift, dict[str, Points]]:
    bench = subject.bench
    own = subject.pipeline.study.data
    changed = own.corruption or own.standardise != "dataset"
    bare = {"corruption": (), "augment": (), "standardise": "dataset"}
    clean = subject.pipeline.data(subject.seed, **bare) if changed else bench.data
    bench.progress.stage(f"corrupted test images, seed {subject.seed}", len(shifts))
    on_val = subject.trained.route(subject.trained.tables("val"))
    most = most_sent(torch.nn.functional.one_hot(on_val, len(subject.trained.models)).sum(dim=1).tolist())
    found = {}
    for done, (kind, severity) in enumerate(shifts, start=1):
        table = _table(subject, clean, kind, severity)
        route = subject.trained.route(table)
        pairs = zip(route.numpy(), _confidence(subject, table).numpy(), strict=True)
        cap = torch.stack([torch.from_numpy(capped(wanted, sure, most)) for wanted, sure in pairs])
        ends = {name: torch.full_like(route, model) for name, model in
                ((LARGEST, len(subject.trained.models) - 1), (SMALLEST, 0))}  # fmt: skip
        found[kind, severity] = {
            PIPELINE: point(subject.costs, table, route),
            CAPPED: point(subject.costs, table, cap),
            RANDOM: twin(subject.costs, table, route, subject.seed),
            **{name: point(subject.costs, table, end) for name, end in ends.items()},
        }
        bench.progress.advance(done, f"{kind} {severity}")
    return found


@torch.inference_mode()
def _confidence(subject: Subject, table: Table) -> torch.Tensor:
    """The policy's probability (N, P) of what it chooses."""
    policy = subject.trained.policy
    logits: torch.Tensor = policy(table.observation.to(next(policy.parameters()).device))
    return torch.softmax(logits, dim=-1).amax(dim=-1).flatten(1).cpu()


def _table(subject: Subject, clean: SegmentationData, kind: str, severity: int) -> Table:
    """Every model on every patch of the corrupted test images, kept in the stage store."""
    if severity == 0:
        return subject.test
    trained, bench, data = subject.trained, subject.bench, subject.data
    config = trained.config

    def make() -> tuple[dict[str, torch.Tensor], dict[str, object]]:
        part = corrupted(data, clean, kind, severity, subject.seed).to(bench.training_device)
        first = screened(trained.models[0], trained.policy, part, config, precision="fp32")
        seen = with_context(trained.models[0], part, config, samples=config.mc_samples)
        rest = [everywhere(one, seen, config, classes=data.classes, precision="fp32") for one in trained.models[1:]]
        stacked = {name: torch.stack([one[name] for one in (first, *rest)], dim=2) for name in ("hard", "soft")}
        return {**stacked, "observation": first["observation"]}, {}

    key = bench.store.key(
        "corrupted",
        data=data.fingerprint,
        models=trained.keys,
        config=config.model_dump(mode="json"),
        shift=[kind, severity, subject.seed],
        device=bench.training_device.type,
    )
    return Table(**bench.store.get_or_make(key, make).tensors)


# --- figures ------------------------------------------------------------------------------------------


def _drop(seed: Mapping[Shift, Mapping[str, Points]], shift: Shift, route: str) -> Statistic:
    before, after = iou_of(seed[AS_TRAINED][route]), iou_of(seed[shift][route])
    return lambda weight: 1 - after(weight) / before(weight)


def _dearer(seed: Mapping[Shift, Mapping[str, Points]], shift: Shift, route: str) -> Statistic:
    before, after = cost_of(seed[AS_TRAINED][route], "latency"), cost_of(seed[shift][route], "latency")
    return lambda weight: after(weight) / before(weight) - 1


def _mean(statistics: Sequence[Statistic]) -> Statistic:
    return lambda weight: torch.stack([one(weight) for one in statistics]).mean(dim=0)


def _together(seeds: Seeds, shifts: Sequence[Shift], sample: Sample) -> Sheet:
    drops = {
        name: sample.both([_mean([_drop(seed, shift, name) for shift in shifts]) for seed in seeds])
        for name in (PIPELINE, CAPPED, RANDOM, LARGEST, SMALLEST)
    }
    against = compared({name: less(found, drops[PIPELINE]) for name, found in drops.items() if name != PIPELINE})
    rows: list[list[Cell]] = []
    for name in drops:
        dearer = sample.estimate([_mean([_dearer(seed, shift, name) for shift in shifts]) for seed in seeds])
        more = [sent_on([seed[shift][name] for seed in seeds]) for shift in shifts]
        as_trained = sent_on([seed[AS_TRAINED][name] for seed in seeds])
        rows.append(
            [
                name,
                sample.estimate([iou_of(seed[AS_TRAINED][name]) for seed in seeds]),
                sample.estimate([_mean([iou_of(seed[shift][name]) for shift in shifts]) for seed in seeds]),
                estimated(*drops[name]),
                against.get(name),
                as_trained,
                sum(more) / len(more) - as_trained,
                dearer,
            ]
        )
    kinds = len({kind for kind, _ in shifts})
    return Sheet(
        title=f"All of {kinds} unseen corruptions in severities {', '.join(map(str, SEVERITIES))}",
        columns=[
            Column(name="route"),
            Column(name="IoU as trained", kind="iou"),
            Column(name="mean IoU, corrupted", kind="iou"),
            Column(name="mean drop", kind="share"),
            Column(name="drop less the pipeline's", kind="change"),
            Column(name="sent on as trained", kind="share"),
            Column(name="shift in sent on", kind="change"),
            Column(name="shift in latency", kind="change"),
        ],
        rows=rows,
        notes=["“better” means that the pipeline drops less."],
    )


def _each(seeds: Seeds, shifts: Sequence[Shift], sample: Sample) -> Sheet:
    drops = {
        (shift, name): sample.both([_drop(seed, shift, name) for seed in seeds])
        for shift in shifts
        for name in (PIPELINE, RANDOM, LARGEST)
    }
    against = compared({_named(shift): less(drops[shift, RANDOM], drops[shift, PIPELINE]) for shift in shifts[1:]})
    rows: list[list[Cell]] = []
    for shift in shifts:
        own = [seed[shift][PIPELINE] for seed in seeds]
        rows.append(
            [
                _named(shift),
                sample.estimate([iou_of(one) for one in own]),
                estimated(*drops[shift, PIPELINE]),
                drops[shift, RANDOM][0],
                drops[shift, LARGEST][0],
                against.get(_named(shift)),
                sent_on(own),
                sample.estimate([_dearer(seed, shift, PIPELINE) for seed in seeds]),
            ]
        )
    return Sheet(
        title="Every corruption and severity",
        columns=[
            Column(name="corruption, severity"),
            Column(name="IoU", kind="iou"),
            Column(name="drop", kind="share"),
            Column(name="drop, random", kind="share"),
            Column(name="drop, f_m everywhere", kind="share"),
            Column(name="random's drop less the pipeline's", kind="change"),
            Column(name="sent on", kind="share"),
            Column(name="shift in latency", kind="change"),
        ],
        rows=rows,
    )


def _named(shift: Shift) -> str:
    return f"{shift[0].replace('_', ' ')} {shift[1]}" if shift != AS_TRAINED else "none, as trained"
