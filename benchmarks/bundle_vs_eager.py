"""The bundle on ONNX Runtime against the same route in eager torch, and what routing itself takes of it.

The published sizes (PaSeR, AAAI 2024) on one image of 224 × 256, grid 4 × 4, a quarter of the patches to each of f_1
and f_2. Weights are random; routes are given. Both are timed in turns, on one thread.

    python benchmarks/bundle_vs_eager.py [--rounds 15] [--samples 5] [--norm batch]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch

from paser_opt.bundle import MANIFEST, Manifest, digest, step_file
from paser_opt.config import PipelineConfig
from paser_opt.export import export_steps
from paser_opt.models import PUBLISHED, build_policy, build_unet
from paser_opt.predict import Predictor
from paser_opt.progress import Silent
from paser_opt.records import Quantity
from paser_opt.routing import RoutedPipeline

HEIGHT, WIDTH = 224, 256
ROUTING = ("policy",)  # cutting out each model's patches is in that model's time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--norm", default="batch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = tuple(size.model_copy(update={"norm": options.norm}) for size in PUBLISHED)
    config = PipelineConfig(models=sizes, grid=(4, 4), mc_samples=options.samples)
    models = [build_unet(size, seed=0).eval() for size in sizes]
    policy = build_policy(config.policy, models=3, grid=(4, 4), classes=3, channels=1, seed=0).eval()
    pipeline = RoutedPipeline(config, models, policy)
    route = torch.tensor([[0] * 8 + [1] * 4 + [2] * 4])
    pixels = torch.rand(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)).numpy()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), pipeline)
        predictor = Predictor(Path(folder), threads=1)
    image = torch.from_numpy(pixels)[None]
    eager: list[dict[str, float]] = []
    bundle: list[dict[str, float]] = []
    for _ in range(options.rounds + 2):
        eager.append(pipeline.run(image, route=route).seconds)
        bundle.append(predictor(pixels, route=route[0].numpy()).seconds)
    print(json.dumps({"sizes": "published", "norm": options.norm, "samples": options.samples, "rounds": options.rounds,
                      "eager": summary(eager[2:]), "bundle": summary(bundle[2:]),
                      "bundle / eager": round(total_s(bundle[2:]) / total_s(eager[2:]), 3)}, indent=1))  # fmt: skip


def write(folder: Path, pipeline: RoutedPipeline) -> None:
    steps = export_steps(pipeline, height=HEIGHT, width=WIDTH, channels=1, progress=Silent())
    for step, content in steps.items():
        step_file(folder, step).write_bytes(content)
    Manifest(
        study="published", trial=0, pipeline=pipeline.config, height=HEIGHT, width=WIDTH, channels=1,
        class_names=["a", "b", "c"], mean=[0.0], std=[1.0], fitted=False, scores=[], device="cpu", versions={},
        latency_s=Quantity(value=None, how="predicted", reason="timed here"),
        digests={step: digest(content) for step, content in steps.items()},
    ).write(folder / MANIFEST)  # fmt: skip


def total_s(runs: list[dict[str, float]]) -> float:
    return statistics.median(sum(run.values()) for run in runs)


def summary(runs: list[dict[str, float]]) -> dict[str, object]:
    steps = {step: statistics.median(run[step] for run in runs) for step in runs[0]}
    routing_s = sum(steps[step] for step in ROUTING)
    return {
        "ms": {step: round(seconds * 1e3, 2) for step, seconds in steps.items()},
        "total_ms": round(total_s(runs) * 1e3, 2),
        "routing_share": round(routing_s / total_s(runs), 4),
    }


if __name__ == "__main__":
    main()
