"""Trials an hour with one worker, several, and on Ray, in one run; and what Ray and worker processes add to a trial.

The study's first trials, each way in a fresh run that starts from one shared profile, so that nothing is measured
meanwhile. Overhead is a trial's wall time less the time of its stages and of its scoring in the driver's own process.

    python benchmarks/workers.py [quickstart] [--trials 8] [--workers 2] [--ray]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from paser_opt.catalog import load_device, load_study
from paser_opt.cli.live import watching
from paser_opt.config import Study
from paser_opt.progress import Silent
from paser_opt.search import profile_study, search
from paser_opt.search.executors import Here, MakeExecutor, Subprocesses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="quickstart")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="on a Ray of this machine, too")
    options = parser.parse_args()
    study, device = load_study(options.study), load_device("cpu")
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
        profile = Path(folder) / "cpu.json"
        profile_study(study, device, profile, energy=True, progress=Silent())
        for name, executor in ways.items():
            run = Path(folder) / name.replace(" ", "-")
            (run / "profiles").mkdir(parents=True)
            shutil.copy(profile, run / "profiles" / "cpu.json")
            results[name] = timed(study, run, options.trials, executor)
    alone = results["here"]
    for one in results.values():
        one["ratio"] = one["trials_per_hour"] / alone["trials_per_hour"]
        one["overhead_s_per_trial"] = one["outside_stages_s"] - alone["outside_stages_s"]
    print(json.dumps(results, indent=1))


def timed(study: Study, folder: Path, trials: int, executor: MakeExecutor) -> dict[str, float]:
    begun = time.monotonic()
    with watching(folder.name, quiet=True) as watcher:
        run = search(
            study, folder, device=load_device("cpu"), trials=trials, timeout_s=None, watcher=watcher, executor=executor
        )
    records = run.trials()
    clock_s = max(one.clock_s for one in records)  # from the first ask to the last record; the end's tests are left out
    return {
        "trials": len(records),
        "clock_s": clock_s,
        "whole_s": time.monotonic() - begun,
        "trials_per_hour": len(records) / clock_s * 3600,
        "outside_stages_s": sum(one.seconds - sum(one.stages.values()) for one in records) / len(records),
    }


if __name__ == "__main__":
    main()
