"""How a UNet enlarges its maps in training: by products of matrices, against F.interpolate, as ratios in one run.

    python benchmarks/enlarging.py [--rounds 15]

One thread. First maps of one level, forward and gradient, then whole training steps, in the precision that training
takes here ("auto").
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from paser_opt.config import UNetConfig
from paser_opt.models import autocast, build_unet, unet
from paser_opt.train.loop import pixel_loss

MAPS = ((32, 64, 4), (32, 32, 8), (32, 16, 16), (32, 16, 32), (8, 16, 64), (4, 16, 128), (2, 16, 256))
"""(maps, channels, pixels a side), brought to twice the side."""
STEPS = ((8, 3, 0.5, 32, 64), (16, 3, 0.25, 32, 64), (12, 3, 1.0, 64, 56), (8, 4, 0.5, 4, 256))
"""(base, depth, scale, windows in a batch, pixels a side)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for precision in (torch.float32, torch.bfloat16):
        for count, channels, side in MAPS:
            maps = torch.randn(count, channels, side, side, dtype=precision, requires_grad=True)
            above = torch.randn(count, channels, 2 * side, 2 * side, dtype=precision)
            with torch.autocast("cpu", enabled=precision == torch.bfloat16):
                report(f"{str(precision).removeprefix('torch.')}, {count} x {channels} maps of {side} x {side}", {
                    "products": lambda m=maps, a=above: by_products(m, a),
                    "F.interpolate": lambda m=maps, a=above: torch.autograd.grad(interpolated(m, a.shape[-2:]), m, a),
                }, rounds)  # fmt: skip
    for base, depth, scale, count, side in STEPS:
        step = training_step(base, depth, scale, count, side)
        report(f"a step of base {base}, depth {depth}, scale {scale:g}, {count} windows of {side} x {side}", {
            "products": step, "F.interpolate": lambda s=step: without(s),
        }, rounds)  # fmt: skip


def report(name: str, ways: dict[str, Callable[[], object]], rounds: int) -> None:
    """One line: medians of both, taken in turn."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 2):
        for way, run in ways.items():
            begun = time.perf_counter()
            run()
            if number > 1:  # warm by then
                taken[way].append(time.perf_counter() - begun)
    (ours, ours_s), (rival, rival_s) = ((way, statistics.median(each)) for way, each in taken.items())
    print(f"{name}: {ours} {ours_s * 1e3:.2f} ms, {rival} {rival_s * 1e3:.2f} ms ({ours_s / rival_s:.2f} of it)")


def by_products(maps: Tensor, above: Tensor) -> object:
    with mock.patch.object(unet, "PRODUCTS", range(1, 2048)):
        return torch.autograd.grad(unet.enlarged(maps, above.shape[-2:], align_corners=True), maps, above)


def interpolated(maps: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def without(step: Callable[[], object]) -> None:
    with mock.patch.object(unet, "PRODUCTS", range(0)):
        step()


def training_step(base: int, depth: int, scale: float, count: int, side: int) -> Callable[[], None]:
    config = UNetConfig(base=base, depth=depth, scale=scale, norm="batch", dropout=0.1, classes=11)
    model = build_unet(config, seed=0).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    images, masks = torch.randn(count, 1, side, side), torch.randint(11, (count, side, side), dtype=torch.uint8)

    def step() -> None:
        with autocast("auto", images.device):
            loss = pixel_loss(model(images), masks, torch.ones(11))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


if __name__ == "__main__":
    main()
