"""A trial of a run as a bundle that ONNX Runtime runs without torch."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from .bundle import MANIFEST, OUTSIDE, Manifest, Score, digest, step_file
from .config import Study
from .cost.runtimes.onnx import export_onnx
from .errors import RunError
from .models import build_policy, build_unet
from .predict import most_sent
from .progress import Progress
from .records import RunRecord, TrialRecord, versions
from .routing import RoutedPipeline, batch_points
from .runs import RunFolder
from .train import ArtifactStore

__all__ = ["export_bundle", "export_steps", "stored_pipeline"]


def stored_pipeline(run: RunFolder, trial: TrialRecord) -> RoutedPipeline:
    """The trial's pipeline with the weights that its run stored, on the CPU. Raises RunError where they are gone, or
    where the steps of the run's version were other ones."""
    run.refuse_other_steps()
    store, config = ArtifactStore(run.artifacts), trial.pipeline
    first = config.models[0]
    models = [build_unet(size, seed=0) for size in config.models]
    policy = build_policy(
        config.policy, models=len(models), grid=config.grid, classes=first.classes, channels=first.in_channels, seed=0
    )
    store.restore({**{f"f_{index}": model for index, model in enumerate(models)}, "policy": policy}, trial.weights)
    return RoutedPipeline(config, models, policy)


def export_bundle(run: RunFolder, number: int, out: Path, *, progress: Progress) -> Manifest:
    """Write trial ``number`` to the new folder ``out``, whole or not at all.

    Raises RunError where the trial is not complete, its weights are gone, or ``out`` is there already.
    """
    record = run.run()
    trial = next((one for one in run.trials() if one.number == number), None)
    if trial is None or trial.val is None:
        numbers = ", ".join(str(one.number) for one in run.trials() if one.val) or "none yet"
        raise RunError(f"{run.path} has no complete trial {number}; complete: {numbers}")
    if not record.data.mean:
        raise RunError(f"{run.path} was made by a version that did not keep the images' mean and std; search anew")
    if out.exists():
        raise RunError(f"{out} is there already; give --out a new folder")
    data = record.data
    models = export_steps(
        stored_pipeline(run, trial), height=data.height, width=data.width, channels=data.channels, progress=progress
    )
    manifest = _manifest(record, trial, {step: digest(content) for step, content in models.items()})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        for step, content in models.items():
            step_file(folder, step).write_bytes(content)
        (folder / "README.txt").write_text(_README.format(study=record.study.name, trial=number), encoding="utf-8")
        manifest.write(folder / MANIFEST)
        shutil.move(folder, out)
    return manifest


def export_steps(
    pipeline: RoutedPipeline, *, height: int, width: int, channels: int, progress: Progress
) -> dict[str, bytes]:
    """Every step for single images (1, channels, height, width) as ONNX, by name, in the order in which they run."""
    image = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        probability, labels = pipeline.screen(image)
    sent: list[tuple[Tensor, ...]] = [
        (image, probability, labels, torch.arange(n)) for n in batch_points(pipeline.config.patches)
    ]
    steps: dict[str, tuple[nn.Module, list[tuple[Tensor, ...]]]] = {
        "screen": (pipeline.screen, [(image,)]),
        "policy": (pipeline.decide, [(image, probability)]),
        **{f"f_{index}": (refine, sent) for index, refine in enumerate(pipeline.refine, start=1)},
    }
    progress.stage("export", len(steps))
    models = {}
    for done, (step, (module, examples)) in enumerate(steps.items(), start=1):
        models[step] = export_onnx(module, examples)
        progress.advance(done, step)
    return models


def _manifest(record: RunRecord, trial: TrialRecord, digests: dict[str, str]) -> Manifest:
    evaluations = [one for one in (trial.val, trial.test) if one]
    data = record.data
    fitted = record.study.data.size is not None and record.study.data.kind == "folder"
    return Manifest(
        study=record.study.name,
        trial=trial.number,
        pipeline=trial.pipeline,
        height=data.height,
        width=data.width,
        channels=data.channels,
        class_names=data.class_names,
        mean=data.mean,
        std=data.std,
        standardise=record.study.data.standardise,
        fitted=fitted,
        mask_values=_mask_values(record.study, fitted),
        scores=[Score(split=one.split, iou=one.iou, low=one.iou_low, high=one.iou_high) for one in evaluations],
        most_patches=most_sent(trial.val.patches) if trial.val else [],
        latency_s=evaluations[-1].cost.latency_s,
        device=record.study.device,
        versions=versions("paser-opt", "torch", "onnxruntime"),
        digests=digests,
    )


def _mask_values(study: Study, fitted: bool) -> list[int] | None:
    """The lowest grey value of each class, where the study names one for all and an 8-bit mask file can hold them."""
    if study.data.mask_values is None:
        return None
    values: dict[int, int] = {}
    for text, index in sorted(study.data.mask_values.items(), key=lambda one: int(one[0])):
        values.setdefault(index, int(text))
    highest = OUTSIDE - 1 if fitted else OUTSIDE  # no pixel is cropped away where images are not fitted
    if len(values) < len(study.data.classes) or max(values.values()) > highest:
        return None
    return [values[index] for index in range(len(values))]


_README = """Trial {trial} of the study {study}, exported by paser-opt.

    paser-opt predict THIS_FOLDER IMAGES --out MASKS

manifest.json says what the images must be, what the masks mean, and how well the trial did.
"""
