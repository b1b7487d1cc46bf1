import torch

from paser_opt.config import UNetConfig
from paser_opt.models import build_unet, mc_dropout, mean_probability

IMAGE = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def model():
    return build_unet(UNetConfig(base=4, depth=2, norm="batch"), seed=0).eval()


def test_no_samples_is_one_deterministic_pass():
    net = model()
    assert torch.equal(mean_probability(net, IMAGE, 0), torch.softmax(net(IMAGE), dim=1))


def test_samples_are_drawn_in_one_batch_and_averaged():
    net = model()
    torch.manual_seed(3)
    batched = mean_probability(net, IMAGE, 4)
    torch.manual_seed(3)
    with mc_dropout(net):
        passes = torch.softmax(net(IMAGE.repeat(4, 1, 1, 1)), dim=1).chunk(4)
    assert torch.allclose(batched, sum(passes) / 4, atol=1e-6)
    assert not torch.allclose(passes[0], passes[1])


def test_the_context_touches_dropout_only_and_puts_it_back():
    net = model()
    with mc_dropout(net):
        assert net.drop.training
        assert not net.entry[1].training  # batch norm
    assert not net.drop.training
    assert torch.equal(net(IMAGE), net(IMAGE))
