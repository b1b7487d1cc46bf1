"""Predicted against measured latency of whole routed pipelines, half of them of sizes that were never profiled.

A profile is taken of UNets of nine widths and three depths, on whole images of 224 × 256 (S = 0 and 5) and on the
patches of a 4 × 4 and a 2 × 2 grid. Then routes of pipelines are predicted from it and run whole: families of profiled
sizes, and as many of sizes that lie between them. Latencies of those are told from the profiled ones where that is
sure within --within; the others are measured (their number is printed). Rivals: FLOPs and the paper's parameter ratio,
each scaled as fits these very measurements best. Profile and routes are measured in a process each, as by `paser-opt
profile` and `paser-opt validate`.

    python benchmarks/predicted_latency.py [--runtime eager] [--within 0.1] [--profile FILE] [--json]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import tempfile
from collections import Counter
from pathlib import Path

import torch
from rich.console import Console

from paser_opt.catalog import load_device
from paser_opt.cli.live import watching
from paser_opt.config import PipelineConfig, UNetConfig
from paser_opt.cost import open_bench, open_profile
from paser_opt.routing import workloads
from paser_opt.validate import Subject, agreement, mixes, validate

HEIGHT, WIDTH, CLASSES = 224, 256, 3
BASES = (2, 4, 8, 12, 16, 24, 32, 48, 64)
SCREENS = (2, 4, 8, 12, 16, 24)
DEPTHS = (2, 3, 4)
GRIDS = ((4, 4), (2, 2))
SAMPLES = (0, 5)

Size = tuple[int, int]
PROFILED: tuple[tuple[Size, ...], ...] = (
    ((4, 2), (8, 3), (32, 4)),
    ((8, 2), (16, 4), (64, 4)),  # the published sizes
    ((2, 2), (12, 3), (48, 3)),
    ((8, 3), (24, 3), (48, 4)),
    ((4, 4), (12, 4), (24, 3)),
    ((12, 2), (24, 2), (64, 3)),
    ((16, 2), (32, 3)),
    ((4, 3), (16, 3), (32, 4), (64, 4)),
    ((2, 3), (24, 4)),
)
UNPROFILED: tuple[tuple[Size, ...], ...] = (
    ((6, 2), (10, 3), (40, 4)),
    ((10, 2), (20, 4), (56, 4)),
    ((14, 2), (28, 3), (56, 3)),
    ((6, 3), (20, 3), (36, 4)),
    ((6, 4), (10, 4), (20, 4)),
    ((18, 2), (40, 2), (60, 3)),
    ((10, 3), (28, 4)),
    ((6, 4), (14, 3), (28, 2), (52, 4)),
    ((20, 2), (44, 3)),
)


def sizes(family: tuple[Size, ...]) -> tuple[UNetConfig, ...]:
    return tuple(UNetConfig(base=base, depth=depth, norm="batch", classes=CLASSES) for base, depth in family)


def family(models: tuple[Size, ...], index: int) -> PipelineConfig:
    """Grid and S alternate over the families."""
    return PipelineConfig(models=sizes(models), grid=GRIDS[index // 2 % 2], mc_samples=SAMPLES[index % 2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--within", type=float, default=0.1)
    parser.add_argument("--profile", type=Path, help="kept and reused; default: none is kept")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.profile or Path(folder) / "profile.json"
        child = multiprocessing.get_context("spawn").Process(target=profile, args=(path, options.runtime))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(child.exitcode)
        routes(path, options)


def profile(path: Path, runtime: str) -> None:
    """Measure every network at every shape, all interleaved."""
    steps = {}
    for base, depth in itertools.product(BASES, DEPTHS):
        screen = (base if base in SCREENS else 2, depth)
        for grid, samples in itertools.product(GRIDS, SAMPLES):
            config = PipelineConfig(models=sizes((screen, (base, depth))), grid=grid, mc_samples=samples)
            found, _ = workloads(config, height=HEIGHT, width=WIDTH, device=torch.device("cpu"))
            steps.update({one.key: one for one in found})
    with watching("profile", quiet=False) as watcher:
        open_profile(path, open_bench(load_device("cpu", runtime=runtime))).ensure(
            list(steps.values()), progress=watcher, energy=False
        )


def routes(path: Path, options: argparse.Namespace) -> None:
    """Predict and run whole routes, and print how well they agree."""
    console = Console(width=160, highlight=False)
    bench = open_bench(load_device("cpu", runtime=options.runtime))
    with watching("routes", quiet=options.json) as watcher:
        store = open_profile(path, bench)
        before = set(store.profile.entries)
        subjects = [
            Subject(f"{kind} {index}", (config := family(models, index)), mixes(config))
            for kind, families in (("profiled", PROFILED), ("new", UNPROFILED))
            for index, models in enumerate(families)
        ]
        result = validate(subjects, store, height=HEIGHT, width=WIDTH, within=options.within, progress=watcher)
    if options.json:
        print(result.model_dump_json(indent=1))
        return
    added = Counter(one.latency.how for key, one in store.profile.entries.items() if key not in before and one.work)
    console.print(f"{bench.machine.processor}, {bench.machine.threads} thread, {bench.machine.runtime}")
    console.print(f"networks of new sizes at a shape: {dict(added)}; profile: {store.profile.seconds:.0f} s")
    paces = [pair.pace or 1.0 for pair in result.pairs]
    console.print(
        "the device's pace, steps timed again among the routes over the profile's: "
        f"median {statistics.median(paces):.2f}, {min(paces):.2f} to {max(paces):.2f}"
    )
    for pair in result.pairs:
        value, run = pair.predicted.value or 0.0, pair.measured
        console.print(
            f"{pair.pipeline:12} {pair.route:20} {pair.counts!s:18} predicted {value * 1e3:8.2f} ms, measured "
            f"{run.median_s * 1e3:8.2f} ms, {value / run.median_s - 1:+.1%}"
        )
    for name, chosen in (("profiled", "profiled"), ("new", "new"), ("all", "")):
        pairs = [pair for pair in result.pairs if pair.pipeline.startswith(chosen)]
        for one in agreement(pairs):
            console.print(f"{name:9} {len(pairs)} pairs  {one.cost:26} MAPE {one.mape:6.1%}  bias {one.bias:+6.1%}  "
                          f"within ±10 % {one.within_10:5.0%}  Spearman {one.spearman:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
