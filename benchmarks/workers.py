"""Trials an hour with one worker, several, and on Ray, in one run; and what Ray and worker processes add to a trial.

Each way goes on from a copy of one run that has its profile and its first three trials, which train what the others
share; so nothing is measured meanwhile, and nothing is there to wait for. The study has as many β as trials here, so
that most trials distil anew.
Overhead is a trial's wall time less that of its stages, and less the same in the driver's own process (scoring).
It writes docs/results/workers.md.

    python benchmarks/workers.py [quickstart] [--trials 12] [--workers 2] [--ray]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch

from paser_opt.catalog import load_device, load_study
from paser_opt.cli.live import watching
from paser_opt.config import Study
from paser_opt.cost import open_bench
from paser_opt.progress import Silent
from paser_opt.records import write_text
from paser_opt.runs import RunFolder
from paser_opt.search import profile_study, search
from paser_opt.search.executors import Here, MakeExecutor, Subprocesses

ROOT = Path(__file__).parent.parent
PILOT = 3  # trials: the paper's choices and the corners


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="quickstart")
    parser.add_argument("--trials", type=int, default=12, help="the first three included")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="on a Ray of this machine, too")
    options = parser.parse_args()
    study, device = load_study(options.study), load_device("cpu")
    betas = tuple(np.geomspace(0.01, 0.1, options.trials).round(4).tolist())
    study = study.model_copy(update={"space": study.space.model_copy(update={"distill_weight": betas})})
    ways: dict[str, MakeExecutor] = {"here": Here}
    for workers in (1, options.workers):
        ways[f"workers {workers}"] = partial(Subprocesses, workers=workers)
    if options.ray:
        from paser_opt.search.executors.on_ray import OnRay

        cpus = max(1, torch.get_num_threads() // options.workers)
        ways["ray 1"] = partial(OnRay, address="local", workers=1, cpus=torch.get_num_threads(), gpus=0)
        ways[f"ray {options.workers}"] = partial(OnRay, address="local", workers=options.workers, cpus=cpus, gpus=0)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first"
        profile_study(study, device, RunFolder(first).profile_file("cpu"), energy=True, progress=Silent())
        timed(study, first, PILOT, Here)
        for name, executor in ways.items():
            run = Path(folder) / name.replace(" ", "-")
            shutil.copytree(first, run)
            results[name] = timed(study, run, options.trials, executor)
    alone = results["here"]
    for one in results.values():
        one["ratio"] = one["trials_per_hour"] / alone["trials_per_hour"]
        one["overhead"] = (one["outside_stages_s"] - alone["outside_stages_s"]) / one["trial_s"]
    arguments = f"{options.study} --trials {options.trials} --workers {options.workers}" + " --ray" * options.ray
    page = report(results, f"python benchmarks/workers.py {arguments}", open_bench(device).machine.processor)
    write_text(ROOT / "docs" / "results" / "workers.md", page)
    print(page)


def report(results: dict[str, dict[str, float]], command: str, machine: str) -> str:
    lines = [
        "# Several trials at once",
        "",
        f"`{command}` wrote this page, on {machine}, {psutil.cpu_count()} cores.",
        "",
        "Trials of a study in which most distil anew; the first three, which train what all share, are left out.",
        "*Overhead* is what a trial takes beyond its stages and its scoring, over its whole time. *here* is the",
        "driver's own process, on all cores.",
        "",
        "| way | trials an hour | times *here* | s a trial | overhead |",
        "| --- | --- | --- | --- | --- |",
    ]
    for way, one in results.items():
        cells = [
            way,
            f"{one['trials_per_hour']:.0f}",
            f"{one['ratio']:.2f}",
            f"{one['trial_s']:.1f}",
            f"{one['overhead']:.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def timed(study: Study, folder: Path, trials: int, executor: MakeExecutor) -> dict[str, float]:
    with watching(folder.name, quiet=True) as watcher:
        run = search(
            study, folder, device=load_device("cpu"), trials=trials, timeout_s=None, watcher=watcher, executor=executor
        )
    clocks = sorted(one.clock_s for one in run.trials())  # up to the last record; the end's tests are left out
    records = run.trials()[PILOT:] or run.trials()
    clock_s = clocks[-1] - (clocks[PILOT - 1] if trials > PILOT else 0)
    return {
        "trials_per_hour": len(records) / clock_s * 3600,
        "trial_s": sum(one.seconds for one in records) / len(records),
        "outside_stages_s": sum(one.seconds - sum(one.stages.values()) for one in records) / len(records),
    }


if __name__ == "__main__":
    main()
