"""Two full profiles of the published family in a row: what one takes, and whether they agree.

f_0 base 8 depth 2, f_1 16/4, f_2 64/4 on 224 × 256, grid 4 × 4, S = 5: every step at every batch point, latency, memory
and energy. Agreement is that of ratios between any two entries, as a choice among pipelines depends on ratios. Entries
that a profile itself calls not stable are counted apart.

    python benchmarks/profile_twice.py [--runtime eager] [--samples 5]
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path

import torch

from paser_opt.catalog import load_device
from paser_opt.config import PipelineConfig
from paser_opt.cost import open_bench, open_profile
from paser_opt.models import PUBLISHED
from paser_opt.progress import Silent
from paser_opt.records import Entry
from paser_opt.routing import workloads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--samples", type=int, default=5)
    options = parser.parse_args()
    sizes = tuple(size.model_copy(update={"norm": "batch"}) for size in PUBLISHED)
    config = PipelineConfig(models=sizes, grid=(4, 4), mc_samples=options.samples)
    steps, _ = workloads(config, height=224, width=256, device=torch.device("cpu"))
    profiles: list[dict[str, Entry]] = []
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(2):
            bench = open_bench(load_device("cpu", runtime=options.runtime))
            store = open_profile(Path(folder) / f"{turn}.json", bench)
            profiles.append(store.ensure(steps, progress=Silent()))
            seconds.append(round(store.profile.seconds, 1))
    networks = [key for key, entry in profiles[0].items() if entry.architecture]
    stable = [key for key in networks if all(one[key].latency.stable for one in profiles)]
    print(json.dumps({"entries": len(steps), "seconds": seconds, "entries of networks": len(networks),
                      "called not stable": sorted(set(networks) - set(stable)),
                      "largest change of a ratio, stable ones": round(largest(profiles, stable), 4),
                      "largest change of a ratio, all": round(largest(profiles, networks), 4)}, indent=1))  # fmt: skip


def largest(profiles: list[dict[str, Entry]], keys: list[str]) -> float:
    """The largest relative change of a ratio of two latencies from the first profile to the second."""
    changes = [profiles[1][key].latency.median_s / profiles[0][key].latency.median_s for key in keys]
    return max((max(a / b, b / a) - 1 for a, b in itertools.combinations(changes, 2)), default=0.0)


if __name__ == "__main__":
    main()
