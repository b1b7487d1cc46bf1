import pytest
import torch

from paser_opt.config import PolicyConfig
from paser_opt.models import PricedPolicy, ReferencePolicy, build_policy, parameter_count


def test_the_published_head_has_its_published_size():
    assert parameter_count(ReferencePolicy(models=3, grid=(4, 4))) == 14_736


def test_the_published_head_may_read_every_other_pixel():
    head = build_policy(
        PolicyConfig(kind="reference", every=2), models=2, grid=(1, 1), classes=2, channels=1, seed=0
    ).eval()
    certain = torch.tensor([[1.0, 0.5, 0.0], [0.5, 0.5, 0.5], [0.0, 0.5, 1.0]])
    probability = torch.stack([certain, 1 - certain])[None]
    label, entropy = head.observe(torch.zeros(1, 1, 3, 3), probability)[0]
    assert label.tolist() == [[0, 1], [1, 0]]
    assert entropy.abs().max() < 1e-6  # where it is uncertain it does not look


@pytest.mark.parametrize("kind", ["pooled", "priced", "reference"])
@pytest.mark.parametrize(("grid", "models"), [((4, 4), 3), ((2, 5), 2), ((1, 1), 6)])
@pytest.mark.parametrize("size", [(64, 64), (50, 61)])
def test_any_grid_any_number_of_models_any_size(kind, grid, models, size):
    policy = build_policy(PolicyConfig(kind=kind), models=models, grid=grid, classes=3, channels=1, seed=0).eval()
    images, probability = torch.randn(2, 1, *size), torch.softmax(torch.randn(2, 3, *size), dim=1)
    assert policy(policy.observe(images, probability)).shape == (2, *grid, models)


def test_observation_by_hand():
    policy = build_policy(PolicyConfig(stride=2), models=2, grid=(1, 1), classes=2, channels=1, seed=0)
    images = torch.tensor([[[[9.0, 9.0], [1.0, 3.0]]]])  # of the image, the second row is seen
    probability = torch.tensor([0.75, 0.25]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    seen = policy.observe(images, probability).flatten().tolist()
    entropy = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log()).item()
    assert seen == pytest.approx([0.75, 0.25, entropy, 0.75, 2.0, 5.0])


def test_inner_patches_can_be_told_apart_by_the_pooled_head():
    """The published head pools globally, so swapping two patches leaves its logits where they were."""
    grid, size = (4, 4), 64
    probability = torch.full((1, 3, size, size), 1 / 3)
    here, there = torch.zeros(1, 1, size, size), torch.zeros(1, 1, size, size)
    here[..., 16:32, 16:32] = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    there[..., 32:48, 32:48] = here[..., 16:32, 16:32]
    pooled = build_policy(PolicyConfig(), models=3, grid=grid, classes=3, channels=1, seed=0).eval()
    one, other = (pooled(pooled.observe(image, probability)) for image in (here, there))
    assert torch.allclose(one[0, 1, 1], other[0, 2, 2], atol=1e-5)
    assert not torch.allclose(one[0, 1, 1], one[0, 2, 2], atol=1e-3)


def test_a_priced_policy_by_hand():
    """Two patches of two cells, 1 and 3, then 2 and 2: mean 2 both, mean square 5 and 4; gain = mean square − 4."""
    policy = PricedPolicy(PolicyConfig(kind="priced", stride=1), models=2, grid=(1, 2), classes=1, channels=1)
    observation = torch.zeros(1, 5, 1, 4)
    observation[0, 3, 0] = torch.tensor([1.0, 3.0, 2.0, 2.0])
    features = policy.features(observation)
    assert features.shape == (1, 1, 2, 10)
    assert features[0, 0, :, 3].tolist() == [2.0, 2.0] and features[0, 0, :, 8].tolist() == [5.0, 4.0]
    policy.weights.zero_()
    policy.mean[8], policy.scale[8], policy.weights[8, 1] = 4.0, 0.5, 0.5
    assert policy.gain(observation)[0, 0].tolist() == [[0.0, 1.0], [0.0, 0.0]]
    policy.ask(0.75, torch.tensor([0.2, 0.3]))  # price 3
    assert policy(observation)[0, 0].flatten().tolist() == pytest.approx([0.0, 1.0 - 0.9, 0.0, -0.9])
    policy.ask(0.75, torch.tensor([0.2, 0.3]), charge_f0=True)
    assert policy(observation)[0, 0, 1].tolist() == pytest.approx([-0.6, -0.9])
