"""Predicted beside measured: whole routes run for real on the device that the prediction speaks of."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import PipelineConfig, UNetConfig
from .cost import (
    EFFORT,
    ProfileStore,
    RoutePlan,
    Workload,
    latency_record,
    pace_now,
    pace_probes,
    predict,
    time_interleaved,
)
from .models import UNet, build_policy, build_unet
from .progress import Progress
from .records import Agreement, Entry, Latency, RoutePair, TrialRecord, Validation
from .routing import GivenRoute, RoutedPipeline, workloads

__all__ = ["Subject", "agreement", "mixes", "subjects", "validate"]

Array = NDArray[np.float64]
RunWhole = Callable[[list[int]], object]


@dataclass(frozen=True)
class Subject:
    """A pipeline and the routes to run it on."""

    name: str
    config: PipelineConfig
    routes: Mapping[str, tuple[int, ...]]
    """name → patches of one image kept by f_0 … f_m"""


def subjects(trials: Sequence[TrialRecord], most: int) -> list[Subject]:
    """At most ``most`` different families of the complete ``trials``, evenly from the fastest to the slowest."""
    families: dict[tuple[object, ...], tuple[float, Subject]] = {}
    for trial in trials:
        if trial.state != "complete" or trial.val is None:
            continue
        config = trial.pipeline
        family = (config.models, config.grid, config.halo, config.mc_samples, config.policy)
        subject = Subject(f"trial {trial.number}", config, mixes(config, trial.val.usage))
        families.setdefault(family, (trial.val.cost.latency_s.value or 0.0, subject))
    ranked = [subject for _, subject in sorted(families.values(), key=lambda one: one[0])]
    chosen = sorted({round(i) for i in np.linspace(0, len(ranked) - 1, min(most, len(ranked)))})
    return [ranked[i] for i in chosen]


def mixes(config: PipelineConfig, usage: Sequence[float] | None = None) -> dict[str, tuple[int, ...]]:
    """Routes of one image from the cheapest to the dearest, and one with a trial's own ``usage`` of the models."""
    models, patches = len(config.models), config.patches

    def shares(*share: float) -> tuple[int, ...]:
        sent = [round(one * patches) for one in share[1:]]
        while sum(sent) > patches:
            sent[sent.index(max(sent))] -= 1
        return (patches - sum(sent), *sent)

    routes = {
        "all kept": shares(1, *[0] * (models - 1)),
        "a quarter sent on": shares(0.75, *[0.25 / (models - 1)] * (models - 1)),
        "half sent on": shares(0.5, *[0.5 / (models - 1)] * (models - 1)),
        "all to the largest": shares(0, *[0] * (models - 2), 1),
    }
    if usage is not None:
        routes["its own usage"] = shares(*usage)
    names = {counts: name for name, counts in reversed(routes.items())}  # each route once, by its first name
    return {name: counts for counts, name in reversed(names.items())}


def validate(
    chosen: Sequence[Subject],
    profile: ProfileStore,
    *,
    height: int,
    width: int,
    within: float,
    progress: Progress,
    run_whole: RunWhole | None = None,
) -> Validation:
    """Each route of each pipeline on one image, predicted from ``profile`` and run whole on its bench.

    The profile is completed first; sizes it lacks are told ``within`` this share or measured. The routes of one
    pipeline are then timed in turns, as they follow one another where that pipeline is at work: a small one timed after
    another pipeline's large one finds neither caches nor clock as it left them. Some of the pipeline's profiled steps
    (where it has none, of the others') are timed again among them: their ratio is the device's pace just then, which a
    machine that others use does not keep. Weights are drawn at random: they do not change the cost. ``run_whole`` runs
    an image through a route (P,) where something else than the bench's runtime is to be judged, such as a bundle.
    """
    bench, device = profile.bench, profile.bench.where
    net = cache(lambda size: build_unet(size, seed=0).to(device).eval())
    channels = chosen[0].config.models[0].in_channels
    image = torch.randn(1, channels, height, width, device=device)
    found = [workloads(one.config, height=height, width=width, device=device) for one in chosen]
    for steps, _ in found:
        profile.ensure(steps, progress=progress, energy=False, within=within)
    entries = profile.profile.entries
    others = pace_probes([load for steps, _ in found for load in steps], entries)
    pairs = []
    for subject, (steps, plan) in zip(chosen, found, strict=True):
        pipeline = GivenRoute(_pipeline(subject.config, net))
        loads = [
            Workload(f"{subject.name}, {name}", pipeline, (image, _route(counts, device)), 1)
            for name, counts in subject.routes.items()
        ]
        again = pace_probes(steps, entries) or others
        in_turns = again if run_whole else [*again, *loads]
        now = {one.key: one.latency for one in bench.measure(in_turns, known={}, progress=progress, energy=False)}
        if run_whole:
            calls = [partial(run_whole, load.inputs[1][0].tolist()) for load in loads]
            timings = time_interleaved(calls, synchronize=lambda: None, **EFFORT._asdict())
            now |= {load.key: latency_record(one) for load, one in zip(loads, timings, strict=True)}
        pace = pace_now(again, [now[load.key].median_s for load in again], entries)
        pairs += [
            _pair(subject, plan, name, entries, now[load.key], pace)
            for name, load in zip(subject.routes, loads, strict=True)
        ]
    return Validation(machine=bench.machine, pairs=pairs, agreement=agreement(pairs))


def _pipeline(config: PipelineConfig, net: Callable[[UNetConfig], UNet]) -> RoutedPipeline:
    nets = [net(size) for size in config.models]
    size = config.models[0]
    policy = build_policy(
        config.policy, models=len(nets), grid=config.grid, classes=size.classes, channels=size.in_channels, seed=0
    )
    return RoutedPipeline(config, nets, policy.to(nets[0].stem.weight.device).eval())


def _route(counts: Sequence[int], device: torch.device) -> Tensor:
    """(1, P): models in a fixed, scattered order of patches."""
    route = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return route[torch.randperm(len(route), generator=torch.Generator().manual_seed(0))][None].to(device)


def _pair(
    subject: Subject, plan: RoutePlan, name: str, entries: Mapping[str, Entry], run: Latency, pace: float | None
) -> RoutePair:
    counts = subject.routes[name]
    cost = predict(entries, plan, np.array([counts]))
    screened = entries[plan.screen_once].params
    sent = [n / sum(counts) * entries[next(iter(points.values()))].params
            for n, points in zip(counts[1:], plan.models, strict=True)]  # fmt: skip
    return RoutePair(
        pipeline=subject.name,
        route=name,
        counts=list(counts),
        predicted=cost.latency_s,
        measured=run,
        pace=pace,
        macs=cost.macs,
        params=screened + sum(sent),
        unprofiled=any(entries[key].latency.how == "predicted" for key in _keys(plan)),
    )


def _keys(plan: RoutePlan) -> Iterable[str]:
    return (plan.screen, *(key for points in plan.models for key in points.values()))


def agreement(pairs: Sequence[RoutePair]) -> list[Agreement]:
    """How well each way to price a route tells its measured latency; parameters and FLOPs scaled as fits best.

    Where the device's pace is known, this cost model's figures times the pace have a row of their own.
    """
    measured = np.array([pair.measured.median_s for pair in pairs])
    predicted = np.array([pair.predicted.value or 0.0 for pair in pairs])
    paces = [pair.pace for pair in pairs if pair.pace]
    paced = [("… at the device's pace then", predicted * paces, False)] if len(paces) == len(pairs) else []
    return [
        _agreement(name, costs, measured, scaled=scaled)
        for name, costs, scaled in (
            ("this cost model", predicted, False),
            *paced,
            ("FLOPs", np.array([pair.macs for pair in pairs]), True),
            ("parameters", np.array([pair.params for pair in pairs]), True),
        )
    ]


def _agreement(name: str, costs: Array, measured: Array, *, scaled: bool) -> Agreement:
    factor = statistics.median((measured / costs).tolist()) if scaled else 1.0
    errors = costs * factor / measured - 1
    return Agreement(
        cost=name,
        mape=float(np.abs(errors).mean()),
        bias=float(errors.mean()),
        within_10=float((np.abs(errors) <= 0.1).mean()),
        spearman=float(np.corrcoef(_ranks(costs), _ranks(measured))[0, 1]) if len(costs) > 1 else None,
    )


def _ranks(values: Array) -> Array:
    """Ranks (P,), ties sharing their mean: Pearson's correlation of these is Spearman's."""
    below = (values[:, None] > values[None]).sum(axis=1)
    equal = (values[:, None] == values[None]).sum(axis=1)
    ranks: Array = below + (equal - 1) / 2
    return ranks
