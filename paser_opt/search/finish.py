"""The end of a search: front members once on test, timed end to end, with pictures of their routes."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..cost import exclusive, pace_now, pace_probes, runtime_for, synchronizer, time_interleaved, using_threads
from ..data import SegmentationData
from ..evaluate import image_iou
from ..images import mask_picture
from ..pareto import front
from ..patches import confusion
from ..records import GalleryItem, Quantity, TrialRecord, write_bytes
from ..routing import RoutedPipeline, workloads
from ..runs import RunFolder
from ..train import Trained, gains
from .objective import Bench, Priced, evaluation, price

__all__ = ["finish"]

GALLERY_IMAGES = 4
TIMED_IMAGES = 16


def finish(run: RunFolder, bench: Bench, train: Callable[[TrialRecord, Priced], Trained]) -> None:
    """Evaluate each front member on test, once; run it end to end; draw its routes. Skips what has been done.

    ``train`` gives a member's pipeline, from the store.
    """
    record = run.run()
    trials = [trial for trial in run.trials() if trial.state == "complete"]
    members = [trials[i] for i in front([trial.values for trial in trials], bench.study.objectives)]
    shown: list[GalleryItem] = []
    ready: dict[str, Callable[..., object]] = {}
    for done, trial in enumerate(members):
        bench.progress.stage(f"test trial {trial.number}", len(members))
        priced = price(trial.pipeline, bench)
        trained = train(trial, priced)
        pipeline, table = _deployed(trained, bench), trained.tables("test")
        if trial.test is None:
            trial.test = evaluation(trained, priced, bench, "test")
            trial.measured_latency, trial.measured_pace = _end_to_end(pipeline, priced, bench, ready)
            trial.write(run.trial_file(trial.number))
        gain = gains(table.hard, table.soft, trial.pipeline.training.reward)
        shown += _gallery(pipeline, trial, gain, bench.data, run, bench.cost_device)
        bench.progress.advance(done + 1, f"IoU {trial.test.iou:.3f}")
    record.gallery, record.finished = shown, True
    record.write(run.run_file)


def _deployed(trained: Trained, bench: Bench) -> RoutedPipeline:
    # Copies: the evaluation goes on with the originals, on the training device.
    models = [copy.deepcopy(model).to(bench.cost_device).eval() for model in trained.models]
    return RoutedPipeline(trained.config, models, copy.deepcopy(trained.policy).to(bench.cost_device).eval())


def _end_to_end(
    pipeline: RoutedPipeline, priced: Priced, bench: Bench, ready: dict[str, Callable[..., object]]
) -> tuple[Quantity, float | None]:
    """Mean over test images of the median wall time of the whole route, one image at a time, through the profile's
    runtime, or why it is not timed; and the machine's pace meanwhile.

    ``ready`` keeps the steps timed again, by key: members share them, and a runtime may take a minute to prepare one.
    """
    device_bench = bench.profile.bench
    if not device_bench.here:
        reason = f"{device_bench.device.name} is not this machine; paser-opt validate runs whole routes on it"
        return Quantity(value=None, how="measured", reason=reason), None
    where, runtime = device_bench.where, runtime_for(device_bench.device, device_bench.where)
    images = [image[None] for image in bench.data.test.images[:TIMED_IMAGES].to(where)]
    steps, _ = workloads(pipeline.config, height=bench.data.height, width=bench.data.width, device=where)
    probes = pace_probes(steps, priced.entries)
    routed = pipeline.through(runtime, images[0])
    with exclusive(None, bench.progress), using_threads(device_bench.device.threads), torch.inference_mode():
        for load in probes:
            if load.key not in ready:
                ready[load.key] = runtime(load.module, [load.inputs])
        again = [partial(ready[load.key], *load.inputs) for load in probes]
        timed = time_interleaved(
            [*again, *(partial(routed.run, image) for image in images)],
            synchronize=synchronizer(where),
            min_samples=10,
            max_samples=30,
            target_spread=0.03,
            max_seconds=0.25,
        )
    pace = pace_now(probes, [one.median_s for one in timed[: len(probes)]], priced.entries)
    timed = timed[len(probes) :]
    half = np.sqrt(sum(((one.high_s - one.low_s) / 2) ** 2 for one in timed)) / len(timed)
    mean = sum(one.median_s for one in timed) / len(timed)
    taken = Quantity(
        value=mean,
        how="measured",
        source=f"wall time of the routed pipeline end to end, {len(timed)} test images, {timed[0].samples} runs each",
        low=mean - half,
        high=mean + half,
    )
    return taken, pace


def _gallery(
    pipeline: RoutedPipeline,
    trial: TrialRecord,
    gain: Tensor,
    data: SegmentationData,
    run: RunFolder,
    device: torch.device,
) -> list[GalleryItem]:
    """The same evenly spaced test images for every member, so that routes can be compared; ``gain`` (N, P, M)."""
    chosen = np.unique(np.linspace(0, len(data.test) - 1, GALLERY_IMAGES).round().astype(int))
    items = []
    for index in chosen.tolist():
        image, truth = data.test.images[index : index + 1], data.test.masks[index]
        routed = pipeline.run(image.to(device))
        mask = routed.masks[0].cpu()
        rows, columns = trial.pipeline.grid
        stem = f"{index:04d}"
        most, best = gain[index].max(dim=-1)
        _write_image(run, f"image-{stem}.png", data.display(image)[0])
        _write(run, f"truth-{stem}.png", mask_picture(truth.numpy()))
        _write(run, f"trial{trial.number}-{stem}.png", mask_picture(mask.numpy()))
        items.append(
            GalleryItem(
                trial=trial.number,
                name=data.test.names[index],
                image=f"image-{stem}.png",
                truth=f"truth-{stem}.png",
                mask=f"trial{trial.number}-{stem}.png",
                route=routed.route.reshape(rows, columns).tolist(),
                confidence=[
                    [round(one, 4) for one in row] for row in routed.confidence.reshape(rows, columns).tolist()
                ],
                gain=[[round(one, 4) for one in row] for row in most.reshape(rows, columns).tolist()],
                best=best.reshape(rows, columns).tolist(),
                iou=image_iou(confusion(mask[None], truth[None], data.classes)).item(),
            )
        )
    return items


def _write_image(run: RunFolder, name: str, pixels: Tensor) -> None:
    """uint8 (C, H, W) → PNG."""
    array = pixels.permute(1, 2, 0).numpy()
    _write(run, name, Image.fromarray(array[..., 0] if array.shape[2] == 1 else array[..., :3]))


def _write(run: RunFolder, name: str, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    write_bytes(run.gallery / name, buffer.getvalue())
