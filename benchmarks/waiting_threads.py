"""A small UNet's training step with OpenMP's threads spinning and waiting, alone and beside another such process.

paser-opt sets OMP_WAIT_POLICY=PASSIVE unless the environment says otherwise; the rival is OpenMP's default.

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
    for processes in (1, 2):
        default, passive = (run(processes, options.seconds, policy) for policy in (None, "PASSIVE"))
        print(f"{processes} at once: default {default * 1e3:.1f} ms a step, waiting {passive * 1e3:.1f} ms, "
              f"default / waiting {default / passive:.2f}")  # fmt: skip


def run(processes: int, seconds: float, policy: str | None) -> float:
    """Median seconds a step of as many processes at once."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    if policy:
        environment["OMP_WAIT_POLICY"] = policy
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
