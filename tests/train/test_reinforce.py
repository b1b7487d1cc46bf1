"""Toy bandits whose best route is known."""

import pytest
import torch

from paser_opt.config import PolicyConfig, TrainConfig
from paser_opt.models import build_policy
from paser_opt.progress import Silent
from paser_opt.train.reinforce import Bandit, choose, train_policy

GRID = (4, 4)


def bandit(images: int, seed: int, policy) -> Bandit:
    """Bright patches, inner ones included, earn from model 1, striped ones from model 2, the rest from f_0."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 3, (images, *GRID), generator=generator)
    texture = torch.zeros(8, 8)
    texture[::2] = 1
    tile = torch.stack([torch.zeros(8, 8), torch.ones(8, 8), texture])
    picture = tile[kind].permute(0, 1, 3, 2, 4).reshape(images, 1, 32, 32)
    picture = picture + 0.1 * torch.randn(picture.shape, generator=generator)
    reward = torch.full((images, 16, 3), -0.2)
    reward[..., 0] = 0
    reward.scatter_(2, kind.flatten(1)[..., None], 0.5)
    probability = torch.full((images, 3, 32, 32), 1 / 3)
    return Bandit(policy.observe(picture, probability), reward)


def accuracy(objective: str, kind: str, seed: int = 0) -> float:
    policy = build_policy(PolicyConfig(kind=kind, stride=4), models=3, grid=GRID, classes=3, channels=1, seed=seed)
    config = TrainConfig(policy_objective=objective)
    train_policy(
        policy, bandit(48, 1, policy), bandit(16, 2, policy), config, grid=GRID, flips="hv", epochs=60, seed=seed,
        device=torch.device("cpu"), progress=Silent(),
    )  # fmt: skip
    test = bandit(24, 3, policy)
    best = test.reward.argmax(dim=-1)
    return (choose(policy, test.observation).flatten(1) == best).float().mean().item()


def test_expected_reward_finds_the_best_route():
    assert accuracy("expected", "pooled") > 0.97


def test_reinforce_learns_too():
    assert accuracy("reinforce", "pooled") > 0.5  # chance is 0.33


def test_a_worthless_upgrade_is_never_bought():
    policy = build_policy(PolicyConfig(), models=3, grid=GRID, classes=3, channels=1, seed=0)
    one = bandit(16, 1, policy)
    priced = Bandit(one.observation, one.reward - torch.tensor([0.0, 2.0, 2.0]))
    train_policy(
        policy, priced, priced, TrainConfig(), grid=GRID, flips="none", epochs=20, seed=0, device=torch.device("cpu"),
        progress=Silent(),
    )  # fmt: skip
    assert choose(policy, one.observation).eq(0).all()


def test_reference_head_runs_under_both_objectives():
    for objective in ("expected", "reinforce"):
        policy = build_policy(PolicyConfig(kind="reference"), models=3, grid=GRID, classes=3, channels=1, seed=0)
        one = bandit(4, 1, policy)
        history = train_policy(
            policy, one, one, TrainConfig(policy_objective=objective), grid=GRID, flips="hv", epochs=2, seed=0,
            device=torch.device("cpu"), progress=Silent(),
        )  # fmt: skip
        assert len(history) == 2
        assert history[-1]["score"] == pytest.approx(history[-1]["score"])
