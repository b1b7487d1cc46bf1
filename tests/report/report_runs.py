"""A small run folder, made from the records, whose front and hypervolume are known by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paser_opt.config import DataConfig, ModelSpace, PipelineConfig, Space, Study, UNetConfig
from paser_opt.records import (
    Alone,
    Cost,
    DataSummary,
    Energy,
    Entry,
    Evaluation,
    GalleryItem,
    Latency,
    Machine,
    Memory,
    Profile,
    Quantity,
    RunRecord,
    TrialRecord,
    Versus,
)
from paser_opt.runs import RunFolder

EVIL = "<script>alert(1)</script>"


def cost(latency_s: float, macs: float = 1e9) -> Cost:
    return Cost(
        macs=macs,
        paper_macs=macs / 2,
        latency_s=Quantity(
            value=latency_s, how="predicted", source="profile cpu", low=0.9 * latency_s, high=1.1 * latency_s
        ),
        energy_j=Quantity(value=None, how="sampled", reason="no power sensor on this machine"),
        memory_bytes=Quantity(value=3 * 2**20, how="measured", source="peak of the allocator"),
        parts_s={"f_0": 0.4 * latency_s, "policy": 0.1 * latency_s, "patches": 0.5 * latency_s},
    )


def evaluation(
    iou: float,
    latency_s: float,
    *,
    split: str = "val",
    usage: tuple[float, ...] = (0.6, 0.4),
    gap: float = 0.02,
) -> Evaluation:
    return Evaluation.model_validate(
        {
            "split": split,
            "images": 20,
            "iou": iou,
            "iou_low": iou - 0.03,
            "iou_high": iou + 0.03,
            "image_iou": iou,
            "class_iou": [iou, iou, None],
            "per_image": [iou] * 20,
            "usage": usage,
            "cost": cost(latency_s),
            "random": Versus(
                baseline="random", baseline_iou=iou - gap, difference=gap, low=gap - 0.01, high=gap + 0.01
            ),
            "oracle_iou": iou + 0.03,
            "alone": [
                Alone(model=0, name="base 4, depth 2", params=3500, iou=0.45, cost=cost(0.004, 1e8)),
                Alone(model=1, name="base 16, depth 3", params=53000, iou=0.62, cost=cost(0.032, 4e9)),
            ],
        }
    )


def trial(number: int, iou: float | None, latency_s: float = 0.01, **changes: Any) -> TrialRecord:
    """A complete trial; ``iou`` None: one without a result."""
    weight = round(0.1 + 0.07 * number, 4) if number < 12 else 0.5
    fields: dict[str, Any] = {
        "number": number,
        "state": "complete",
        "params": {"cost_weight": weight, "mc_samples": number % 3, "grid": "4x4" if number % 2 else "2x2"},
        "pipeline": PipelineConfig(
            models=(UNetConfig(base=4, depth=2), UNetConfig(base=16, depth=3, scale=0.5)), cost_weight=weight
        ),
        "values": {},
        "started": "2026-01-01T10:00:00",
        "seconds": 12.0,
        "clock_s": 15.0 * (number + 1),
        "stages": {"pretrain": 8.0, "policy": 0.0},
    }
    if iou is not None:
        fields |= {"values": {"iou": iou, "latency": latency_s}, "val": evaluation(iou, latency_s)}
    return TrialRecord.model_validate(fields | changes)


def small_trials() -> list[TrialRecord]:
    """Front over val: 1 (0.50, 10 ms), 3 (0.60, 16 ms), 4 (0.65, 40 ms); knee: 3."""
    measured = Quantity(value=0.024, how="measured", source="end to end", low=0.023, high=0.025)
    return [
        trial(0, 0.48, 0.050, tag="paper"),
        trial(1, 0.50, 0.010, test=evaluation(0.49, 0.010, split="test")),
        trial(2, None, state="failed", reason=f"loss became NaN in {EVIL}"),
        trial(3, 0.60, 0.016, test=evaluation(0.58, 0.016, split="test", gap=0.005), measured_latency=measured),
        trial(4, 0.65, 0.040, test=evaluation(0.60, 0.040, split="test", usage=(0.002, 0.998))),
        trial(5, None, state="pruned", reason="cheapest route takes 900 ms, budget 500 ms"),
        trial(6, 0.55, 0.030, tag="corner cheap", warnings=[f"f_1 did not converge {EVIL}"]),
        trial(7, 0.59, 0.041),
    ]


def study(**changes: Any) -> Study:
    sizes = (ModelSpace(base=4, depth=2), ModelSpace(base=16, depth=3))
    return Study.model_validate(
        {
            "name": "small",
            "description": f"a study & {EVIL}",
            "space": Space(models=sizes),
            "data": DataConfig(),
        }
        | changes
    )


def profile() -> Profile:
    def entry(key: str, median_s: float, stable: bool) -> Entry:
        return Entry(
            key=key,
            batch=1,
            params=3500,
            macs=10**8,
            uncounted={"aten::max_pool2d": 2},
            latency=Latency(
                median_s=median_s,
                p95_s=None,
                low_s=0.9 * median_s,
                high_s=1.1 * median_s,
                samples=40,
                stable=stable,
                verdict="interval within 5 %" if stable else "spread 31 %, another program was running",
            ),
            energy=Energy(gross_j=None, net_j=None, how=None, source="none", reason="no power sensor on this machine"),
            memory=Memory(peak_bytes=2**20, weight_bytes=14000, how="measured", source="allocator"),
        )

    return Profile(
        machine=Machine(
            device="cpu",
            system="Linux 6.1",
            processor="test processor",
            cores=2,
            threads=1,
            runtime="torch 2.13",
            precision="fp32",
        ),
        created="2026-01-01T09:00:00",
        seconds=31.0,
        entries={"f_0": entry("f_0", 0.004, True), "f_1": entry("f_1", 0.032, False)},
    )


def write_run(path: Path, trials: list[TrialRecord], **changes: Any) -> RunFolder:
    run = RunFolder(path)
    record = RunRecord(
        study=changes.pop("study", study()),
        data=DataSummary(
            kind="synthetic",
            fingerprint="00ff",
            images={"val": 20, "test": 20},
            height=60,
            width=80,
            channels=1,
            class_names=["pore", f"grain {EVIL}", "binder"],
        ),
        created="2026-01-01T10:00:00",
        **{"finished": True, "reference": {"iou": 0.4, "latency": 0.06}, **changes},
    )
    record.write(run.run_file)
    for each in trials:
        each.write(run.trial_file(each.number))
    profile().write(run.profile_file("cpu"))
    return run


def write_gallery(path: Path, trials: tuple[int, ...] = (3, 4)) -> list[GalleryItem]:
    """Two images of 60 × 80 (masks are class indices) in a grid of 2 × 4, for each of ``trials``."""
    path.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:60, :80]
    items = []
    for i in range(2):
        truth = ((rows - 30) ** 2 + (columns - 20 - 30 * i) ** 2 < 300).astype(np.uint8) + (rows > 45)
        Image.fromarray((40 * truth + rows + columns // 2).astype(np.uint8)).save(path / f"{i}-image.png")
        Image.fromarray(truth.astype(np.uint8)).save(path / f"{i}-truth.png")
        for number in trials:
            Image.fromarray(np.roll(truth, 2 * number).astype(np.uint8)).save(path / f"{i}-{number}.png")
            items.append(
                GalleryItem(
                    trial=number,
                    name=f"image {i} {EVIL}",
                    image=f"{i}-image.png",
                    truth=f"{i}-truth.png",
                    mask=f"{i}-{number}.png",
                    route=[[0, 1, 1, 0], [0, 0, 1, 0]],
                    confidence=[[0.9, 0.6, 0.99, 0.5], [0.8, 0.7, 0.95, 1.0]],
                    gain=[[0.0, 0.125, 0.25, 0.0], [0.0, 0.0, 0.5, 0.0]],
                    best=[[0, 1, 1, 0], [0, 0, 1, 0]],
                    iou=0.6,
                )
            )
    return items
