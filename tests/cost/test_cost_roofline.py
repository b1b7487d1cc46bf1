"""Estimates from a data sheet: the arithmetic by hand, and that nothing passes for measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from paser_opt.config import Device, Figure
from paser_opt.cost import LocalBench, RooflineBench, open_profile
from paser_opt.cost.workload import Workload
from paser_opt.errors import DeviceError
from paser_opt.progress import Silent

BOARD = Device(
    name="board",
    description="a board",
    peak_flops_per_s=Figure(value=1e6, source="sheet A"),
    memory_bytes_per_s=Figure(value=1e5, source="sheet B"),
    max_power_w=Figure(value=10, source="sheet C"),
)
CONVOLUTION = nn.Conv2d(8, 8, 3, padding=1)


def test_the_slower_of_arithmetic_and_memory(tmp_path: Path) -> None:
    large = Workload("conv", CONVOLUTION, (torch.zeros(1, 8, 10, 10),), 1)
    entry = open_profile(tmp_path / "a.json", RooflineBench(BOARD)).ensure([large], progress=Silent())["conv"]
    # 2 · 100 · 8 · 8 · 9 = 115,200 FLOPs: 0.1152 s; 4 · (1600 + 576) = 8,704 bytes: 0.08704 s
    assert entry.latency.median_s == pytest.approx(0.1152)
    assert (entry.latency.how, entry.latency.samples, entry.latency.stable) == ("estimated", 0, False)
    assert (entry.energy.gross_j, entry.energy.how, entry.energy.net_j) == (pytest.approx(1.152), "estimated", None)
    assert (entry.memory.peak_bytes, entry.memory.reason) == (None, "a roofline says nothing of memory")
    pointwise = Workload("pointwise", nn.Conv2d(1, 1, 1), (torch.zeros(1, 1, 10, 10),), 1)
    entry = open_profile(tmp_path / "b.json", RooflineBench(BOARD)).ensure([pointwise], progress=Silent())["pointwise"]
    assert entry.latency.median_s == pytest.approx(4 * 201 / 1e5)  # 200 FLOPs are nothing
    moved = Workload("moved", nn.Identity(), (torch.zeros(1, 1, 10, 10),), 1)
    entry = open_profile(tmp_path / "c.json", RooflineBench(BOARD)).ensure([moved], progress=Silent())["moved"]
    assert entry.latency.median_s == pytest.approx(400 / 1e5)  # what it writes


def test_estimates_and_measurements_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    load = Workload("conv", CONVOLUTION, (torch.zeros(1, 8, 4, 4),), 1)
    open_profile(path, RooflineBench(BOARD)).ensure([load], progress=Silent())
    with pytest.raises(DeviceError, match="runtime roofline there, eager here"):
        open_profile(path, LocalBench(Device(name="board", local=True)))


def test_a_sheet_without_figures_is_named() -> None:
    with pytest.raises(DeviceError, match="device bare: an estimate needs peak_flops_per_s and memory_bytes_per_s"):
        RooflineBench(Device(name="bare"))
    powerless = BOARD.model_copy(update={"max_power_w": None})
    bench = RooflineBench(powerless)
    entry = next(
        iter(
            bench.measure(
                [Workload("conv", CONVOLUTION, (torch.zeros(1, 8, 4, 4),), 1)], known={}, progress=Silent(), energy=True
            )
        )
    )
    assert "no max_power_w" in (entry.energy.reason or "")
