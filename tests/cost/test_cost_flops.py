"""Counts against formulas and torch's own counter."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from paser_opt.cost.flops import count
from paser_opt.models import PUBLISHED, build_unet


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        # out positions × out channels × in channels per group × kernel
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 12), 10 * 12 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, 3, padding=1, bias=False), (2, 3, 10, 12), 2 * 10 * 12 * 8 * 3 * 9),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1), (1, 4, 10, 12), 5 * 6 * 8 * 4 * 9),
        (nn.Conv2d(4, 8, 3, groups=4), (1, 4, 10, 12), 8 * 10 * 8 * 1 * 9),
        (nn.Conv2d(4, 8, 3, dilation=2), (1, 4, 10, 12), 6 * 8 * 8 * 4 * 9),
        (nn.ConvTranspose2d(4, 8, 2, stride=2), (1, 4, 5, 6), 5 * 6 * 4 * 8 * 4),
        (nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
    ],
)
def test_macs_equal_the_formula_and_half_of_torch_flops(layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    inputs = torch.randn(shape)
    counted = count(layer, (inputs,))
    assert counted.macs == macs
    assert counted.uncounted == {}
    assert counted.params == sum(p.numel() for p in layer.parameters())
    with FlopCounterMode(display=False) as counter:
        layer(inputs)
    assert counter.get_total_flops() == 2 * macs


def test_matrix_products_are_counted() -> None:
    class Product(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a @ b

    assert count(Product(), (torch.ones(2, 3, 4), torch.ones(2, 4, 5))).macs == 2 * 3 * 4 * 5


def test_norms_and_upsampling_are_shown_and_not_added() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1),
        nn.InstanceNorm2d(2),
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    )
    counted = count(model, (torch.randn(1, 1, 4, 4),))
    assert counted.macs == 16 * 2
    assert counted.uncounted == {
        "aten::instance_norm": 1,
        "aten::max_pool2d": 1,
        "aten::upsample_bilinear2d": 1,
    }


def test_unet_is_half_of_torch_flops_and_quiet(caplog: pytest.LogCaptureFixture) -> None:
    model, inputs = build_unet(PUBLISHED[1], seed=0).eval(), torch.randn(1, 1, 32, 48)
    with caplog.at_level(logging.DEBUG):
        counted = count(model, (inputs,))
    assert not caplog.records
    assert counted.params == 1_080_595
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    assert counter.get_total_flops() == 2 * counted.macs
