"""Gains in closed form: what is linear is found, noise is held back."""

import pytest
import torch

from paser_opt.config import PolicyConfig
from paser_opt.models import PricedPolicy
from paser_opt.train.priced import STRENGTHS, fit_priced

GRID = (2, 2)


def policy() -> PricedPolicy:
    return PricedPolicy(PolicyConfig(kind="priced", stride=1), models=2, grid=GRID, classes=2, channels=1)


def bandit(images: int, seed: int, *, told: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Observations of one pixel a patch, confusion matrices, and how many of 50 pixels f_1 adds to f_0's 30."""
    draw = torch.Generator().manual_seed(seed)
    observation = torch.rand(images, 6, *GRID, generator=draw)
    told_by = observation[:, 3] if told else torch.rand(images, *GRID, generator=draw)
    right = torch.stack([torch.full((images, 4), 30), 30 + (20 * told_by.flatten(1)).round().long()], dim=-1)
    rows = [torch.stack([right, 50 - right], dim=-1), torch.stack([50 - right, right], dim=-1)]
    return observation, torch.stack(rows, dim=-2), right[..., 1] - 30


def test_a_gain_that_is_linear_in_the_observation_is_found():
    """IoU 30/70 rises by 100/70² a pixel of each class."""
    one = policy()
    observation, hard, _ = bandit(30, 0, told=True)
    fit_priced(one, observation, hard)
    fresh, _, added = bandit(20, 1, told=True)
    gain = one.gain(fresh).flatten(1, 2)
    assert gain[..., 1].flatten().tolist() == pytest.approx((added * 100 / 70**2).flatten().tolist(), abs=0.03)
    assert (gain[..., 0] == 0).all()
    assert one.spread < 0.02


def test_noise_is_held_back():
    """Where nothing tells the gain, it is nearly the same everywhere: the strongest penalty, the mean."""
    one = policy()
    observation, hard, added = bandit(12, 0, told=False)
    history = fit_priced(one, observation, hard)
    assert history[0]["strength"] == STRENGTHS[-1]
    gain = one.gain(observation)[..., 1]
    assert gain.mean().item() == pytest.approx((added * 100 / 70**2).float().mean().item(), rel=0.1)
    assert gain.std() < (added * 100 / 70**2).float().std() / 2


def test_one_image_is_enough_to_run():
    one = policy()
    observation, hard, _ = bandit(1, 0, told=True)
    fit_priced(one, observation, hard)
    assert one.gain(observation).isfinite().all()


def test_copies_of_an_image_do_not_tell_the_gain_of_another():
    """An image left out with its copies on the other side would be told by them, and noise be taken for news."""
    observation, hard, _ = bandit(8, 0, told=False)
    alone, copied = policy(), policy()
    without = fit_priced(alone, observation, hard)
    rows = [one.repeat_interleave(3, dim=0) for one in (observation, hard)]
    history = fit_priced(copied, *rows, image=torch.arange(24) // 3)
    assert history[0]["strength"] == without[0]["strength"] == STRENGTHS[-1]
    assert copied.spread.item() == pytest.approx(alone.spread.item(), rel=0.02)
    assert fit_priced(policy(), *rows)[0]["strength"] == STRENGTHS[0]
