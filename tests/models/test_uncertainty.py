import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from paser_opt.config import Device, UNetConfig
from paser_opt.cost import runtime_for
from paser_opt.cost.runtimes.onnx import export_onnx
from paser_opt.models import MonteCarlo, build_unet
from paser_opt.models.uncertainty import TILE, FixedDropout, class_probability

IMAGE = torch.randn(2, 1, 40, 72, generator=torch.Generator().manual_seed(0))


def model(rate: float = 0.5):
    return build_unet(UNetConfig(base=4, depth=2, norm="batch", dropout=rate), seed=0).eval()


@torch.inference_mode()
def test_no_samples_is_one_deterministic_pass():
    net = model()
    assert torch.equal(MonteCarlo(net, 0, seed=1)(IMAGE), torch.softmax(net(IMAGE), dim=1))


class Probability(nn.Module):
    def forward(self, logits):
        return class_probability(logits)


@pytest.mark.parametrize("classes", [2, 3, 11])
def test_probabilities_are_the_same_on_onnx_runtime_however_large_the_logits(classes):
    logits = torch.randn(2, classes, 5, 6, generator=torch.Generator().manual_seed(0)).double().mul(3e4).float()
    logits[:, :, 0] /= 1e5
    run = runtime_for(Device(name="here", local=True, runtime="onnx"), torch.device("cpu"))(Probability(), [(logits,)])
    assert torch.allclose(torch.as_tensor(run(logits)), torch.softmax(logits, dim=1), atol=1e-6)


@pytest.mark.parametrize("samples", [0, 3])
@pytest.mark.parametrize(("size", "cropped"), [((40, 72), False), ((37, 72), True), ((40, 71), True)], ids=str)
def test_an_exported_pass_is_the_same_and_crops_only_where_the_scale_does_not_divide_the_image(size, cropped, samples):
    """Padding and cropping copy the whole image."""
    net = build_unet(UNetConfig(base=4, depth=1, norm="batch", dropout=0.5, scale=0.25), seed=0).eval()
    probability, image = MonteCarlo(net, samples, seed=0), IMAGE[:1, :, : size[0], : size[1]]
    content = export_onnx(probability, [(image,)])
    kinds = [one.op_type for one in onnx.load_from_string(content).graph.node]
    assert ("Pad" in kinds, kinds[-1]) == ((True, "Slice") if cropped else (False, "Resize"))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x0": image.numpy()})
    with torch.inference_mode():
        assert torch.allclose(torch.from_numpy(found), probability(image), atol=1e-5)


@torch.inference_mode()
def test_a_mean_at_the_scale_of_the_network_is_brought_to_the_size_of_the_image_once():
    net = build_unet(UNetConfig(base=4, depth=1, norm="batch", dropout=0.5, scale=0.25), seed=0).eval()
    image = IMAGE[..., :37, :70]  # neither side is a multiple of 4
    probability = MonteCarlo(net, 3, seed=1)
    coarse = torch.softmax(probability.model.coarse(image.repeat(3, 1, 1, 1)), dim=1)
    assert coarse.shape == (6, 3, 10, 18)
    mean = (coarse[:2] + coarse[2:4] + coarse[4:]) / 3
    wide = torch.nn.functional.interpolate(mean, size=(40, 72), mode="bilinear", align_corners=False)
    found = probability(image)
    assert torch.allclose(found, wide[..., :37, :70], atol=1e-6)
    assert torch.allclose(found.sum(dim=1), torch.ones(2, 37, 70), atol=1e-5)


@torch.inference_mode()
def test_samples_are_passes_of_one_batch_and_averaged():
    net = model()
    mean = MonteCarlo(net, 3, seed=1)
    passes = []
    for sample in range(3):  # the same masks, one pass at a time
        one = MonteCarlo(net, 1, seed=1)
        for alone, all_three in zip(one.model.drops, mean.model.drops, strict=True):
            alone.mask = all_three.mask[sample : sample + 1]
        passes.append(one(IMAGE))
    assert torch.allclose(mean(IMAGE), sum(passes) / 3, atol=1e-6)
    assert not torch.allclose(passes[0], passes[1])


@torch.inference_mode()
def test_masks_follow_from_the_seed_and_not_from_the_batch():
    net = model()
    both = MonteCarlo(net, 4, seed=7)(IMAGE)
    torch.manual_seed(99)
    assert torch.allclose(MonteCarlo(net, 4, seed=7)(IMAGE[1:]), both[1:], atol=1e-6)
    assert not torch.allclose(MonteCarlo(net, 4, seed=8)(IMAGE), both)


@torch.inference_mode()
def test_the_model_itself_stays_without_dropout():
    net = model()
    before = net(IMAGE)
    sampled = MonteCarlo(net, 2, seed=1)
    assert torch.equal(net(IMAGE), before)
    net.head.weight.zero_()  # the weights are shared, not copied
    assert torch.equal(sampled.model.head.weight, net.head.weight)
    assert all(type(one) is nn.Dropout for one in net.drops)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_mask_keeps_its_share_and_the_mean(rate):
    layer = FixedDropout(8, 6, rate, torch.Generator().manual_seed(0))
    x = torch.ones(8 * 3, 6, 2 * TILE + 5, TILE)
    dropped = layer(x)
    kept = 1 - rate
    # 49,152 Bernoulli draws: a standard error of 0.0023 or less
    assert (dropped != 0).float().mean().item() == pytest.approx(kept, abs=0.01)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / kept])
    assert torch.equal(dropped[0], dropped[1])  # images of one sample
    assert not torch.equal(dropped[0], dropped[3])  # samples
    assert torch.equal(dropped[:, :, :TILE], dropped[:, :, TILE : 2 * TILE])
