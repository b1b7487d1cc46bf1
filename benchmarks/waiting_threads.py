"""A small UNet's training step with OpenMP's threads spinning and waiting, alone and beside another such process.

paser-opt sets GOMP_SPINCOUNT=1000, short spins, unless the environment says otherwise; the rivals are OpenMP's default
and threads that never spin.

    python benchmarks/waiting_threads.py [--seconds 6]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(step_s(options.seconds))
        return
    rivals: dict[str, dict[str, str]] = {
        "default": {},
        "short spins": {"GOMP_SPINCOUNT": "1000"},
        "never spinning": {"OMP_WAIT_POLICY": "PASSIVE"},
    }
    for processes in (1, 2):
        rounds = [{name: run(processes, options.seconds, policy) for name, policy in rivals.items()} for _ in range(3)]
        taken = {name: statistics.median(one[name] for one in rounds) for name in rivals}
        print(f"{processes} at once, a step: " + ", ".join(
            f"{name} {one_s * 1e3:.1f} ms ({one_s / taken['default']:.2f} times the default)"
            for name, one_s in taken.items()
        ))  # fmt: skip


def run(processes: int, seconds: float, policy: dict[str, str]) -> float:
    """Median seconds a step of as many processes at once."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment |= policy
    command = [sys.executable, __file__, "--step", "--seconds", str(seconds)]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(processes)]
    return statistics.median(float(one.communicate()[0]) for one in started)


def step_s(seconds: float) -> float:
    import torch

    from paser_opt.config import UNetConfig
    from paser_opt.models import build_unet

    model = build_unet(UNetConfig(base=6, depth=3, scale=0.5, norm="batch", dropout=0.1), seed=0).train()
    images, masks = torch.randn(2, 1, 128, 128), torch.randint(0, 3, (2, 128, 128))
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    steps, begun = -5, time.perf_counter()
    while steps < 1 or time.perf_counter() - begun < seconds:
        if steps == 0:  # the first ones warm up
            begun = time.perf_counter()
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images), masks).backward()
        optimiser.step()
        steps += 1
    return (time.perf_counter() - begun) / steps


if __name__ == "__main__":
    main()
