"""Results as Markdown pages, made from records alone: one experiment, or a whole study of record."""

from __future__ import annotations

from collections.abc import Sequence

from ..compare.records import Comparison
from ..records import Profile, StaticFront
from ..report import words
from ..report.compared import headline, said_of_routing
from ..report.findings import findings
from ..report.info import Info
from .records import Cell, Column, ExperimentRecord, Origin, Sheet
from .sheets import listed, markdown, markdown_table

__all__ = ["experiment_page", "study_page"]

MADE = "Written by the run itself; not edited."


def experiment_page(record: ExperimentRecord) -> str:
    """One experiment with where it comes from."""
    head = [f"# {record.origin.study}: {record.name}", f"{_capital(record.question)}. {MADE}", _origin(record.origin)]
    return "\n\n".join([*head, *_experiment(record, level=2)])


def study_page(
    info: Info, comparison: Comparison, origin: Origin, experiments: Sequence[ExperimentRecord], command: str
) -> str:
    """A whole study of record, made by ``command``; ``experiments`` are those that are done."""
    study, data = info.run.study, info.run.data
    parts = [f"# {study.name}", f"{study.description} {MADE}".strip()]
    parts.append(_origin(origin.model_copy(update={"commands": [command]})))
    images = ", ".join(f"{count} {part}" for part, count in data.images.items())
    if data.augment:
        images += f"; beside each training image its copies under {', '.join(data.augment)}"
    parts.append(
        f"{data.height} x {data.width} pixels, {len(data.class_names)} classes ({', '.join(data.class_names)}); "
        f"images: {images}. {len(info.trials)} trials, profile of {_settled(info.profiles[origin.device])}."
    )
    parts.append("## What to know")
    parts.append(listed(f"**{one.title}.** {one.text}" for one in findings(info)))
    parts += ["## The front", markdown(_front(info))]
    if info.static:
        parts += ["## Single UNets on whole images", markdown(_static(info.static)), markdown(_against(info.static))]
    parts += [f"## Routers on trial {origin.trial}", f"{headline(comparison)}.", markdown(_routers(comparison))]
    parts.append(listed([*said_of_routing(comparison), *comparison.notes]))
    for record in experiments:
        question = f"{_capital(record.question)}. Alone: `{'; '.join(record.origin.commands)}`."
        parts += [f"## {_capital(record.name)}", question, *_experiment(record, level=3)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _settled(profile: Profile) -> str:
    stable = sum(entry.latency.stable for entry in profile.entries.values())
    return f"{len(profile.entries)} steps, {stable} of them settled"


def _experiment(record: ExperimentRecord, level: int) -> list[str]:
    notes = listed(record.findings.notes)
    interval = f"Intervals: 95 %, {record.resamples:,} resamples of test images nested in seeds, paired; p by Holm."
    return [notes, interval, *(markdown(sheet, level) for sheet in record.findings.sheets)]


def _origin(origin: Origin) -> str:
    rows = {
        "command": "; ".join(f"`{command}`" for command in origin.commands),
        "study": origin.study,
        "trial": f"{origin.trial}: {origin.pipeline}",
        "data": f"fingerprint `{origin.fingerprint}`",
        "seeds (test images)": ", ".join(f"{seed} ({n})" for seed, n in zip(origin.seeds, origin.images, strict=True)),
        "device": origin.machine,
        "versions": ", ".join(f"{name} {number}" for name, number in origin.versions.items()),
        "made": origin.created,
    }
    return markdown_table(["", ""], rows.items())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- what the run holds already -----------------------------------------------------------------------


def _front(info: Info) -> Sheet:
    rows: list[list[Cell]] = []
    for number in info.front:
        trial, point = info.trial(number), info.point(number)
        evaluation = trial.test or trial.val
        assert evaluation is not None  # a front member is complete
        pipeline = trial.pipeline
        rows.append(
            [
                f"{number}{' (knee)' if number == info.knee else ''}",
                trial.tag or "sampled",
                words.figure("iou", point.iou.value) if point.iou else None,
                words.span(evaluation.iou, evaluation.iou_low, evaluation.iou_high) if trial.test else None,
                words.quantity("latency", evaluation.cost.latency_s),
                words.end_to_end(trial.measured_latency, trial.measured_pace) if trial.measured_latency else None,
                evaluation.cost.gflops,
                evaluation.random.difference if evaluation.random else None,
                words.usage(evaluation.usage),
                f"{pipeline.cost_weight:.3g} · {pipeline.distill_weight:g} · {pipeline.mc_samples}",
            ]
        )
    return Sheet(
        title="Members, the cheapest first",
        columns=[
            Column(name="trial"),
            Column(name="how it came"),
            Column(name="IoU, val"),
            Column(name="IoU, test"),
            Column(name="latency"),
            Column(name="end to end"),
            Column(name="GFLOPs", kind="gflops"),
            Column(name="over random", kind="difference"),
            Column(name="usage"),
            Column(name="λ · β · S"),
        ],
        rows=rows,
    )


def _static(front: StaticFront) -> Sheet:
    rows: list[list[Cell]] = [
        [
            row.name,
            f"{row.params:,}",
            None if row.trained_s is None else f"{row.trained_s:.0f} s",
            row.latency.median_s,
            row.val_iou,
            words.span(row.test_iou, row.test_low, row.test_high),
        ]
        for row in sorted(front.models, key=lambda one: one.latency.median_s)
    ]
    columns = [Column(name="model"), Column(name="parameters"), Column(name="trained for")]
    columns += [Column(name="latency", kind="latency"), Column(name="IoU, val", kind="iou"), Column(name="IoU, test")]
    return Sheet(title="Alone", columns=columns, rows=rows, notes=front.notes)


def _against(front: StaticFront) -> Sheet:
    rows: list[list[Cell]] = []
    for one in front.against:
        versus = one.versus
        less = f"{versus.difference:+.3f} ({versus.low:+.3f} … {versus.high:+.3f})" if versus else None
        rows.append([str(one.trial), one.latency_s, versus.baseline if versus else "none is as fast", less])
    columns = [Column(name="trial"), Column(name="latency", kind="latency")]
    columns += [Column(name="single model: no slower, best on val"), Column(name="IoU, route less model (95 %)")]
    return Sheet(title="Against the routes", columns=columns, rows=rows)


def _routers(comparison: Comparison) -> Sheet:
    axis = comparison.axis
    rows: list[list[Cell]] = [
        [
            one.name,
            one.iou,
            one.latency_s.value,
            one.gflops,
            one.iou_per_gflop,
            f"none: {one.captured_missing}" if one.captured_missing else one.captured,
            one.against,
            *one.iou_at,
            *(one.at_against or [None] * len(comparison.budgets)),
            one.hypervolume[axis],
            one.front_against.get(axis),
        ]
        for one in comparison.routers
    ]
    columns = [
        Column(name="router"),
        Column(name="IoU", kind="iou"),
        Column(name="latency", kind="latency"),
        Column(name="GFLOPs", kind="gflops"),
        Column(name="IoU/GFLOP", kind="ratio"),
        Column(name="oracle's gain captured", kind="share"),
        Column(name="pipeline less this", kind="difference"),
    ]
    columns += [Column(name=f"IoU at {words.figure(axis, at)}", kind="iou") for at in comparison.budgets]
    columns += [
        Column(name=f"priced gains less this at {words.figure(axis, at)}", kind="difference")
        for at in comparison.budgets
    ]
    columns += [
        Column(name="hypervolume", kind="ratio"),
        Column(name="priced gains' front less this", kind="difference"),
    ]
    return Sheet(title=f"At the pipeline's {words.TITLES[axis]}, and whole fronts", columns=columns, rows=rows)
