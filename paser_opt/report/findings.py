"""What a person should know about a run before trusting its front, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..config import OBJECTIVES
from ..pareto import front
from ..records import Alone, TrialRecord
from . import words
from .info import Info, Point

__all__ = ["Finding", "answer", "findings", "unsettled"]

COLLAPSED = 0.99
"""Share of the patches from which on a policy has collapsed onto one model."""
ALIKE = 1.5
"""Dearest over cheapest model below which routing has nothing to save."""
FEW = 20
"""Complete trials below which the front still moves with every trial."""
TOO_FEW = 3
"""Complete trials below which nothing is advised without saying so."""
DEARER = 1.1
"""A single model of a higher IoU that costs up to so many times what the chosen route does is named beside it."""
FEW_IMAGES = 20
"""Images of val or test below which a 95 % interval by resampling them is too narrow by a tenth, with a few by far
more: of a mean over n images, sqrt((n - 1) / n) · 1.96 over Student's t of n - 1."""


@dataclass(frozen=True)
class Finding:
    """One thing to know; ``serious`` ones speak against deploying as it is."""

    serious: bool
    title: str
    text: str


def answer(info: Info) -> str:
    """The report in one sentence: what to deploy, a single model where no route earns its cost."""
    if info.knee is None:
        return "No trial is complete, so there is nothing to deploy yet"
    early = f"Too early to say, after {_complete(info)}. So far: " if len(info.points) < TOO_FEW else ""
    chosen = info.point(info.knee)
    score = chosen.test_iou or chosen.iou
    assert score is not None  # a routed pipeline always has its val interval
    # No dearer, and its IoU not below what the chosen route's own interval allows: the route has not earned its cost.
    noise = chosen.iou.low if chosen.iou else chosen.figures["iou"]
    costs = tuple(name for name in info.objectives if name != "iou")
    better = [point for point in info.alone if point.figures["iou"] >= noise and _beats(point, chosen, costs)]
    if better:
        best = max(better, key=lambda point: point.figures["iou"])
        return (
            f"{early}Deploy {best.label}: IoU {best.figures['iou']:.2f} at {_costs(best, info)} on "
            f"{info.run.study.device} (val) – the route at the knee of the front is not better beyond the noise"
        )
    near = [
        point
        for point in info.alone
        if point.figures["iou"] > chosen.figures["iou"]
        and all(point.figures[name] <= DEARER * chosen.figures[name] for name in costs)
    ]
    beside = ""
    if near:
        best = max(near, key=lambda point: point.figures["iou"])
        reach = f"{best.figures['iou']:.2f} instead of {chosen.figures['iou']:.2f}"
        beside = f"; {best.label} has {reach} on val, at {_costs(best, info)}"
    return (
        f"{early}Deploy trial {chosen.trial}: IoU {score.value:.2f} at {_costs(chosen, info)} on "
        f"{info.run.study.device} ({'test' if chosen.test_iou else 'val'}, 95 %: {score.low:.2f} … {score.high:.2f})"
        f"{beside}"
    )


def _costs(point: Point, info: Info) -> str:
    return " and ".join(words.valued(name, point.figures[name]) for name in info.objectives if name != "iou")


def findings(info: Info) -> tuple[Finding, ...]:
    """Everything found, serious ones first."""
    found = [finding for find in _FINDERS for finding in find(info)]
    return tuple(sorted(found, key=lambda finding: not finding.serious))


def _single_models(info: Info) -> Iterator[Finding]:
    """Single models on or above the routed front over all objectives."""
    routed = [info.point(number) for number in info.front]
    figures = [point.figures for point in routed]
    # the front keeps the first of equal points, so a model as good as a trial counts as on the front
    above = [
        point
        for point in info.alone
        if len(routed) in front([*figures, point.figures], info.objectives) or _level(point, routed, info.objectives)
    ]
    beating: list[str] = []
    unbeaten: list[Point] = []
    for point in above:
        beaten = [other.trial for other in routed if _beats(point, other, info.objectives)]
        if beaten:
            beating.append(f"{point.label}, {_reach(point, info)}, is no worse than {_named(beaten)} in any objective")
        else:
            unbeaten.append(point)
    if beating:
        yield Finding(True, "A single model does as well as a route", f"{'; '.join(beating)}. Deploy the model there.")
    if unbeaten:
        models = " and ".join(f"f_{model}" for model in sorted({p.model for p in unbeaten if p.model is not None}))
        text = "; ".join(f"{point.label}: {_reach(point, info)}" for point in unbeaten[:3])
        text += "; …" if len(unbeaten) > 3 else ""
        title = f"{models} alone: on or above the front"
        yield Finding(False, title, f"No routed pipeline is as good in every objective as {text}.")


def _against_static(info: Info) -> Iterator[Finding]:
    """Whether a route is worth more than the single model one would deploy instead."""
    if info.static is None:
        return
    no_routes = [one.trial for one in info.static.against if not _routes(info.trial(one.trial))]
    against = [one for one in info.static.against if one.trial not in no_routes]
    met = [(one.trial, one.versus) for one in against if one.versus]
    better = [trial for trial, versus in met if versus.low > 0]
    worse = [trial for trial, versus in met if versus.high < 0]
    faster = [one.trial for one in against if one.versus is None]
    rival = "the single UNet that is no slower and best on val"
    parts = []
    if better:
        parts.append(f"{_named(better)}: better than {rival}")
    if worse:
        parts.append(f"{_named(worse)}: worse than {rival}")
    if undecided := [trial for trial, _ in met if trial not in better + worse]:
        parts.append(f"{_named(undecided)}: not told apart from {rival}")
    if faster:
        parts.append(f"{_named(faster)}: faster than all of them")
    if not parts and not no_routes:
        return
    alone = f"one model takes nearly all patches: {_named(no_routes)}."
    if parts:
        text = "; ".join(parts) + " (IoU on test, 95 % paired over images)."
        text += f" Left out, for {alone}" if no_routes else ""
    else:
        text = f"There is no route to hold against single UNets, for {alone}"
    if better or faster:
        yield Finding(False, "Routes against single UNets trained on whole images", text)
        return
    best = max(info.static.models, key=lambda row: row.val_iou)
    text += f" Deploy a single model, such as the {best.name}: IoU {best.test_iou:.3f} on test."
    yield Finding(True, "Routing earns nothing here", text)


def _routes(trial: TrialRecord) -> bool:
    """Whether its policy divides the patches among models, on val and on test."""
    return all(max(one.usage) <= COLLAPSED for one in (trial.val, trial.test) if one)


def _reach(point: Point, info: Info) -> str:
    return ", ".join(words.valued(name, point.figures[name]) for name in info.objectives)


def _level(point: Point, routed: list[Point], objectives: tuple[str, ...]) -> bool:
    return any(all(point.figures[name] == other.figures[name] for name in objectives) for other in routed)


def _beats(point: Point, other: Point, objectives: tuple[str, ...]) -> bool:
    """No worse in every objective."""
    signs = {name: 1 if OBJECTIVES[name] == "maximize" else -1 for name in objectives}
    return all(signs[name] * point.figures[name] >= signs[name] * other.figures[name] for name in objectives)


def _collapsed(info: Info) -> Iterator[Finding]:
    by_model: dict[int, list[int]] = {}
    for number in info.front:
        model = _sole_model(info, number)
        if model is not None:
            by_model.setdefault(model, []).append(number)
    if by_model:
        text = "; ".join(f"{_named(numbers)}: f_{model}" for model, numbers in sorted(by_model.items()))
        yield Finding(
            True,
            "Some policies have collapsed",
            f"One model takes over {words.share(COLLAPSED)} of the patches ({text}). The model alone saves the "
            "policy's cost; another λ may bring the route back.",
        )


def _sole_model(info: Info, number: int) -> int | None:
    """The model that a trial's policy sends everything to, if there is one."""
    val = info.trial(number).val
    if val is None or max(val.usage) <= COLLAPSED:
        return None
    return val.usage.index(max(val.usage))


def _blind(info: Info) -> Iterator[Finding]:
    blind: list[str] = []
    for number in info.front:
        val = info.trial(number).val
        for alone in val.alone if val else []:
            if alone.unseen:
                blind.append(f"trial {number}'s f_{alone.model}: {', '.join(alone.unseen)}")
    if blind:
        text = f"{'; '.join(blind)}. It was not trained to its end; a gain over a random route says little there."
        yield Finding(True, "A model never predicts some classes", text)


def _unconverged(info: Info) -> Iterator[Finding]:
    by_models: dict[str, list[int]] = {}
    for number in info.front:
        if found := info.trial(number).unconverged:
            by_models.setdefault(" and ".join(found), []).append(number)
    if by_models:
        text = "; ".join(f"{models} of {_named(numbers)}" for models, numbers in by_models.items())
        text += ": the IoU on val still rose at the end of training. Train longer: a model that is not trained to its "
        text += "end only harms what is sent to it."
        yield Finding(False, "Some models were not trained to their end", text)


def _flat(info: Info) -> Iterator[Finding]:
    """Flat rewards: policies that are no better than no policy, by their own measure; but for collapsed ones."""
    flat = [
        number
        for number in info.front
        if (reward := info.trial(number).reward)
        and reward.policy <= reward.one_model
        and _sole_model(info, number) is None
    ]
    if flat:
        text = (
            f"{_named(flat)}: on val the route earns no more reward (Eq. 2) than one model for all patches would. "
            "Little tells the policy where a larger model gains: give it more images in D_RL (parts, or folds), or "
            'reward = "steady_iou".'
        )
        yield Finding(True, "The policy earns no more than one model would", text)


def _random(info: Info) -> Iterator[Finding]:
    lost: list[int] = []
    none: list[int] = []
    for number in info.front:
        trial = info.trial(number)
        evaluation = trial.test or trial.val
        # A collapsed route equals its random twin; that is a finding of its own.
        if evaluation and evaluation.random and evaluation.random.low <= 0 and _sole_model(info, number) is None:
            (lost if evaluation.random.high < 0 else none).append(number)
    if lost:
        text = f"{_named(lost)}: a random route with the same usage scores higher, its interval excludes 0."
        yield Finding(True, "The route is worse than a random one", text)
    if none:
        text = f"{_named(none)}: the gain over a random route with the same usage has 0 in its interval."
        yield Finding(True, "The route is not shown to be better than a random one", text)


def _prices(info: Info) -> Iterator[Finding]:
    price: dict[str, Callable[[Alone], float | None]] = {
        "params": lambda alone: alone.params,
        "flops": lambda alone: alone.cost.macs,
        "latency": lambda alone: alone.cost.latency_s.value,
        "energy": lambda alone: alone.cost.energy_j.value,
        "memory": lambda alone: alone.cost.memory_bytes.value,
    }
    alike: list[int] = []
    for number in info.front:
        trial = info.trial(number)
        costs = [price[trial.pipeline.reward_cost](alone) for alone in trial.val.alone] if trial.val else []
        known = [cost for cost in costs if cost is not None]
        if len(known) > 1 and max(known) < ALIKE * min(known):
            alike.append(number)
    if alike:
        text = (
            f"In {_named(alike)} the dearest model costs less than {ALIKE:g} × the cheapest by the reward's "
            "own cost, so a route has little to save. Give the space sizes that lie further apart."
        )
        yield Finding(True, "Models priced too alike", text)


def _optimism(info: Info) -> Iterator[Finding]:
    fell = [
        number
        for number in info.front
        if (point := info.point(number)).test_iou and point.figures["iou"] > point.test_iou.high
    ]
    if fell:
        text = f"{_named(fell)}: the IoU on val lies above the 95 % interval on test. Trust the test figures."
        yield Finding(False, "Selection was optimistic", text)


def unsettled(info: Info) -> list[str]:
    """Of each device whose profile has latencies that did not settle: how many."""
    counts = {
        device: sum(not entry.latency.stable for entry in profile.entries.values())
        for device, profile in info.profiles.items()
    }
    return [
        f"{shaky} of {len(info.profiles[device].entries)} measurements on {device} did not settle"
        for device, shaky in counts.items()
        if shaky
    ]


def _unstable(info: Info) -> Iterator[Finding]:
    for said in unsettled(info):
        text = f"{said} (see below which and why). Costs built on them are uncertain; measure again on an idle machine."
        yield Finding(False, "Some latencies are unstable", text)


def _few(info: Info) -> Iterator[Finding]:
    if 0 < len(info.points) < FEW:
        asked = info.run.study.trials
        of = f", of {asked} that the study asks for" if len(info.trials) < asked else ""
        text = f"{_complete(info)}{of}: the front will still move. Run the search on for more."
        yield Finding(False, "Few trials", text)
    few = [f"{count} in {part}" for part in ("val", "test") if (count := info.run.data.images[part]) < FEW_IMAGES]
    if few and info.points:
        text = (
            f"Images: {', '.join(few)}. Intervals over so few are wide, and still narrower than they should be: trust "
            "no difference within them. Label more images, or hold out more of them ([data] holdout)."
        )
        yield Finding(False, "Few images", text)
    if not info.run.finished:
        text = "The search has not ended: nothing was evaluated on test yet, figures are val's and optimistic."
        yield Finding(False, "Unfinished search", text)


def _failures(info: Info) -> Iterator[Finding]:
    reasons = Counter(trial.reason for trial in info.trials if trial.state == "failed")
    if reasons:
        reason, count = reasons.most_common(1)[0]
        text = f"{reasons.total()} of {len(info.trials)} trials; the commonest reason ({count} ×): {reason}"
        yield Finding(not info.points, "Failed trials", text)


def _notes(info: Info) -> Iterator[Finding]:
    for note in info.run.notes:
        yield Finding(False, "Note of the search", note)
    if info.points and not any(point.tag == "paper" for point in info.points):
        text = "No complete trial carries the paper's choices (λ = 0.5, β = 0.01, S = 5, cost = parameters)."
        yield Finding(False, "The paper's configuration is not shown", text)


def _complete(info: Info) -> str:
    count = len(info.points)
    return f"{count} complete trial{'s' if count > 1 else ''}"


def _named(trials: list[int]) -> str:
    return f"trial{'s' if len(trials) > 1 else ''} {', '.join(map(str, trials))}"


_FINDERS: tuple[Callable[[Info], Iterator[Finding]], ...] = (
    _against_static,
    _single_models,
    _collapsed,
    _blind,
    _unconverged,
    _flat,
    _random,
    _prices,
    _optimism,
    _unstable,
    _few,
    _failures,
    _notes,
)
