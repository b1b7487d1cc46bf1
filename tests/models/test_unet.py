import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from paser_opt.config import UNetConfig
from paser_opt.models import PUBLISHED, UNet, build_unet, parameter_count, smallest_extent
from paser_opt.models.unet import PRODUCTS, enlarged


@pytest.mark.parametrize(("config", "count"), zip(PUBLISHED, (16_571, 1_080_595, 17_275_459), strict=True))
def test_published_parameter_counts(config, count):
    assert parameter_count(build_unet(config, seed=0)) == count


def unet_macs(config: UNetConfig, height: int, width: int) -> int:
    """By hand: k²·c_in·c_out·pixels of every convolution."""
    base, depth = config.base, config.depth
    area = [(height >> level) * (width >> level) for level in range(depth + 1)]
    widths = [base * 2**level for level in range(depth)] + [base * 2 ** (depth - 1)]
    total = config.in_channels * (base // 2) * area[0]
    total += 9 * (base // 2 * base + base * base) * area[0]
    for level in range(1, depth + 1):
        total += 9 * (widths[level - 1] * widths[level] + widths[level] ** 2) * area[level]
    for level in range(depth):
        out = widths[max(level - 1, 0)]
        total += 9 * (2 * widths[level] * widths[level] + widths[level] * out) * area[level]
    return total + base * config.classes * area[0]


@pytest.mark.parametrize(
    ("config", "height", "width"),
    [(PUBLISHED[0], 224, 256), (UNetConfig(base=6, depth=3, in_channels=3, classes=11), 64, 96)],
)
def test_macs_equal_the_hand_formula(config, height, width):
    with FlopCounterMode(display=False) as counter:
        build_unet(config, seed=0).eval()(torch.zeros(1, config.in_channels, height, width))
    assert counter.get_total_flops() == 2 * unet_macs(config, height, width)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25, 0.125])
@pytest.mark.parametrize("norm", ["instance", "group", "batch", "none"])
@pytest.mark.parametrize("size", [(64, 64), (65, 77)])
def test_logits_have_the_size_of_the_image(scale, norm, size):
    model = build_unet(UNetConfig(base=4, depth=2, scale=scale, norm=norm, classes=5), seed=0)
    assert model(torch.randn(2, 1, *size)).shape == (2, 5, *size)


def test_smallest_extent_runs_in_training_and_one_level_less_does_not():
    config = UNetConfig(base=4, depth=3, scale=0.5)
    side = smallest_extent(config)
    assert side == 32
    model = UNet(config).train()
    model(torch.randn(1, 1, side, side))
    with pytest.raises(ValueError, match="spatial"):
        model(torch.randn(1, 1, side // 2, side // 2))


@pytest.mark.parametrize("size", [(8, 11), (17, 16), (9, 40)])
@pytest.mark.parametrize("align_corners", [True, False])
def test_products_enlarge_as_interpolation_does_gradient_included(size, align_corners):
    maps = torch.randn(2, 3, *size, dtype=torch.float32, requires_grad=True)
    larger = (2 * size[0], 3 * size[1] - 1)
    assert {*size, *larger} <= set(PRODUCTS)
    ours = enlarged(maps, larger, align_corners=align_corners)
    theirs = F.interpolate(maps, size=larger, mode="bilinear", align_corners=align_corners)
    assert torch.allclose(ours, theirs, atol=1e-5)
    above = torch.randn_like(ours)
    gradients = [torch.autograd.grad(made, maps, above)[0] for made in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-4)


def test_in_bf16_products_are_as_near_as_its_rounding():
    maps, larger = torch.rand(2, 3, 16, 16), (32, 32)
    exact = F.interpolate(maps, size=larger, mode="bilinear", align_corners=True)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = enlarged(maps.bfloat16(), larger, align_corners=True)
    assert (rounded.float() - exact).abs().max() < 3 * 2**-8  # of the weights, of the maps, and of what is between


def test_maps_of_any_precision_are_enlarged():
    maps = torch.rand(1, 2, 16, 16, dtype=torch.float64)
    ours = enlarged(maps, (32, 32), align_corners=False)
    assert torch.allclose(ours, F.interpolate(maps, size=(32, 32), mode="bilinear", align_corners=False))


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_training_computes_what_evaluation_does(scale):
    """Without norm and dropout; bf16 is left out."""
    model = build_unet(UNetConfig(base=4, depth=2, scale=scale, norm="none", dropout=0.0), seed=0)
    images = torch.randn(2, 1, 66, 80)
    with torch.inference_mode():
        kept = model.train()(images)
    assert torch.allclose(model(images), model.eval()(images), atol=1e-5)
    assert torch.allclose(kept, model(images), atol=1e-5)


def test_evaluation_is_deterministic_and_training_is_not():
    model = build_unet(UNetConfig(base=4, depth=2), seed=0)
    image = torch.randn(1, 1, 16, 16)
    model.eval()
    assert torch.equal(model(image), model(image))
    model.train()
    assert not torch.equal(model(image), model(image))


def test_the_seed_decides_the_weights_and_the_global_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = build_unet(UNetConfig(base=4, depth=2), seed=1).stem.weight
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, build_unet(UNetConfig(base=4, depth=2), seed=1).stem.weight)
    assert not torch.equal(first, build_unet(UNetConfig(base=4, depth=2), seed=2).stem.weight)
