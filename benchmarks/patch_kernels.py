"""What every image goes through besides convolutions, against the plain way to write it: ratios of medians in one run.

    python benchmarks/patch_kernels.py [--rounds 200]

One thread, in torch and, where it says so, on ONNX Runtime. Rivals: labels by ``argmax`` and by a masked fill;
probabilities, of a quarter of the pixels a side, by ``softmax``; cells by two gathers, their places made each time;
means of rows by pooling.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paser_opt.config import Device, PolicyConfig
from paser_opt.cost import runtime_for
from paser_opt.models.uncertainty import class_probability
from paser_opt.patches import cell_size, hard_labels, row_moments, sampled

SIZES = ((2, 512, 16), (3, 1024, 16), (10, 256, 8))
"""(classes, pixels a side, patches a side)"""
STRIDE = PolicyConfig().stride


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    with torch.inference_mode():
        for classes, side, across in SIZES:
            scores, image, grid = torch.rand(1, classes, side, side), torch.rand(1, 1, side, side), (across, across)
            print(f"{classes} classes, {side} x {side} pixels, {across} x {across} patches")
            report("labels", {
                "hard_labels": lambda s=scores: hard_labels(s),
                "masked fill": lambda s=scores: filled(s),
                "argmax": lambda s=scores: s.argmax(dim=1).to(torch.uint8),
            }, rounds)  # fmt: skip
            deployed = {
                "hard_labels": session(hard_labels, scores),
                "masked fill": session(filled, scores),
                "argmax": session(lambda s: s.argmax(dim=1).to(torch.uint8), scores),
            }
            report("labels on ONNX Runtime", deployed, rounds)
            coarse = scores[..., ::4, ::4].contiguous()
            deployed = {
                "class_probability": session(class_probability, coarse),
                "softmax": session(lambda s: torch.softmax(s, dim=1), coarse),
            }
            report("probabilities on ONNX Runtime", deployed, rounds)
            report("one pixel a cell", {
                "sampled": lambda s=scores, g=grid: sampled(s, g, STRIDE),
                "two gathers": lambda s=scores, g=grid: gathered(s, g),
            }, rounds)  # fmt: skip
            report("moments of rows", {
                "row_moments": lambda i=image, g=grid: row_moments(i, g, STRIDE),
                "pooling": lambda i=image, g=grid: pooled(i, g),
            }, rounds)  # fmt: skip


def report(name: str, ways: dict[str, Callable[[], object]], rounds: int) -> None:
    """One line: the first of ``ways`` and its rivals, taken in turn."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            begun = time.perf_counter()
            run()
            taken[way].append(time.perf_counter() - begun)
    median_s = {way: statistics.median(each) for way, each in taken.items()}
    (ours, ours_s), *rivals = median_s.items()
    against = ", ".join(f"{way} {one_s * 1e3:.2f} ms ({one_s / ours_s:.1f} times)" for way, one_s in rivals)
    print(f"  {name}: {ours} {ours_s * 1e3:.2f} ms; {against}")


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, scores: Tensor) -> Tensor:
        return self.function(scores)


def session(function: Callable[[Tensor], Tensor], scores: Tensor) -> Callable[[], object]:
    """``function`` of ``scores`` as ONNX Runtime computes it, with one thread."""
    one_thread = Device(name="here", local=True, runtime="onnx", threads=1)
    run = runtime_for(one_thread, torch.device("cpu"))(Function(function), [(scores,)])
    return lambda: run(scores)


def filled(scores: Tensor) -> Tensor:
    best, labels = scores[:, 0], torch.zeros_like(scores[:, 0], dtype=torch.uint8)
    for label in range(1, scores.shape[1]):
        labels = labels.masked_fill(scores[:, label] > best, label)
        best = torch.maximum(best, scores[:, label])
    return labels


def middles(side: int, grid: tuple[int, int]) -> tuple[Tensor, int]:
    """Rows or columns in the middle of the cells, whose size divides the patches here, and that size."""
    cell = cell_size(side, side, grid, STRIDE)[0]
    number = torch.arange(side // cell)
    return number * cell + cell // 2 - number % 2 * (cell % 2 == 0), cell


def gathered(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    places = middles(maps.shape[-1], grid)[0]
    return maps.index_select(2, places).index_select(3, places)


def pooled(maps: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    places, cell = middles(maps.shape[-1], grid)
    rows = maps.index_select(2, places)
    return F.avg_pool2d(rows, (1, cell)), F.avg_pool2d(rows.square(), (1, cell)).mean(dim=1, keepdim=True)


if __name__ == "__main__":
    main()
