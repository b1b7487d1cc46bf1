"""One suite that every router passes, and each router's route and charge by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from hand import COST, ENTROPY, GAIN, tables

from paser_opt.catalog import load_device
from paser_opt.config import PolicyConfig
from paser_opt.cost.runtimes import RUNTIMES
from paser_opt.models import build_policy
from paser_opt.routers import (
    TEMPERATURES,
    AlwaysRouter,
    BudgetOracle,
    CascadeRouter,
    DeployedPolicy,
    Describe,
    EntropyRouter,
    Goal,
    Labelled,
    MarginRouter,
    OracleRouter,
    PolicyRouter,
    PricedRouter,
    RandomRouter,
    Seen,
    TopKRouter,
    best_cuts,
    budget_route,
    mean_reward,
    tempered,
)

GRID = (2, 2)


def pooled() -> DeployedPolicy:
    policy = build_policy(PolicyConfig(), models=3, grid=GRID, classes=2, channels=1, seed=3)
    return DeployedPolicy(policy.eval(), PolicyConfig())


def priced() -> PricedRouter:
    config = PolicyConfig(kind="priced")
    return PricedRouter(build_policy(config, models=3, grid=GRID, classes=2, channels=1, seed=0), config)


ROUTERS = {
    "always 0": lambda school: AlwaysRouter(0),
    "always 2": lambda school: AlwaysRouter(2),
    "random": lambda school: RandomRouter(EntropyRouter(GRID), seed=5),
    "entropy": lambda school: EntropyRouter(GRID),
    "margin": lambda school: MarginRouter(GRID),
    "top-k": lambda school: TopKRouter(GRID),
    "cascade": lambda school: CascadeRouter(GRID),
    "priced": lambda school: priced(),
    "deployed": lambda school: pooled(),
    "expected": lambda school: PolicyRouter("expected reward", PolicyConfig(), school, policy_objective="expected"),
    "reinforce": lambda school: PolicyRouter(
        "REINFORCE", PolicyConfig(kind="reference"), school, policy_objective="reinforce"
    ),
    "oracle": lambda school: OracleRouter(),
    "budget oracle": lambda school: BudgetOracle(0.0),
}
ADAPTIVE = sorted(set(ROUTERS) - {"always 0", "always 2", "deployed", "reinforce"})
"""Those that send nothing where cost is all that counts; REINFORCE gets there only with more training."""


def first_image(seen: Seen) -> Seen:
    def cut(named):
        return {name: one[:1] for name, one in named.items()}

    return Seen(cut(seen.features), seen.confidence[:1], cut(seen.observations))


@pytest.fixture(params=ROUTERS)
def router(request, schooling):
    return ROUTERS[request.param](schooling)


def test_a_route_and_its_charge_have_the_promised_shapes(router):
    data = tables()
    router.fit(data, data, Goal(0.3, COST))
    routes = router.route(data.seen)
    assert routes.route.shape == (2, 4) and routes.route.dtype == torch.long
    assert routes.charged.shape == (2, 3) and routes.charged.dtype == torch.long
    assert int(routes.route.min()) >= 0 and int(routes.route.max()) < 3
    kept = torch.stack([(routes.route == model).sum(dim=1) for model in range(3)], dim=1)
    assert (routes.charged >= kept).all(), "every patch that keeps f_i's result was run through f_i"
    assert torch.equal(routes.charged[:, 0], kept[:, 0])
    assert (routes.charged[:, 1:] <= 4).all()


def test_routing_twice_gives_the_same(router):
    data = tables()
    router.fit(data, data, Goal(0.3, COST))
    assert torch.equal(router.route(data.seen).route, router.route(data.seen).route)


def test_fitting_again_forgets_the_goal_before(router):
    data = tables()
    router.fit(data, data, Goal(0.2, COST))
    first = router.route(data.seen).route
    router.fit(data, data, Goal(0.9, COST))
    router.fit(data, data, Goal(0.2, COST))
    assert torch.equal(router.route(data.seen).route, first)


def test_an_image_is_routed_by_itself(router):
    """Only the random twin, matched over the split, and what has hindsight may look at other images."""
    data = tables()
    router.fit(data, data, Goal(0.3, COST))
    if router.hindsight or isinstance(router, RandomRouter):
        return
    alone = router.route(first_image(data.seen))
    assert torch.equal(alone.route, router.route(data.seen).route[:1])
    assert torch.equal(alone.charged, router.route(data.seen).charged[:1])


def test_labels_are_not_looked_at_when_routing(router):
    """The same images with other labels: the route stays, unless the router has hindsight and was fitted on them."""
    data, other = tables(), tables(gain=GAIN.flip(0, 1))
    router.fit(data, data, Goal(0.3, COST))
    assert torch.equal(router.route(data.seen).route, router.route(other.seen).route)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_nothing_is_sent_where_cost_is_all_that_counts(name, schooling):
    router, data = ROUTERS[name](schooling), tables()
    router.fit(data, data, Goal(0.999, COST))
    assert router.route(data.seen).route.sum() == 0


def test_the_step_that_is_timed_decides_as_the_tables_do(router):
    """From images and probabilities: the module's route is the route from the tables made of them."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(2, 1, 10, 13, generator=draw)
    probability = torch.softmax(3 * torch.randn(2, 2, 10, 13, generator=draw), dim=1)
    data = tables()
    policies = {kind: build_policy(PolicyConfig(kind=kind), models=3, grid=GRID, classes=2, channels=1, seed=0)
                for kind in ("pooled", "priced", "reference")}  # fmt: skip
    first, _ = tempered(probability.log(), torch.zeros(2, 10, 13, dtype=torch.uint8), GRID)
    confidence = torch.cat([first[:, :, None], data.seen.confidence[:, :, 1:]], dim=2)
    observations = {kind: policy.observe(images, probability) for kind, policy in policies.items()}
    seen = Seen(Describe(GRID)(images, probability), confidence, observations)
    data = Labelled(seen, data.hard, data.gain, data.surprise, key="images")
    router.fit(data, data, Goal(0.2, COST))
    step = router.step()
    if step is None:
        return
    with torch.inference_mode():
        decided = step(images, probability)
    route = router.route(seen).route
    assert torch.equal(decided, route.clamp(max=1) if isinstance(router, CascadeRouter) else route)


# --- each by hand -------------------------------------------------------------------------------------


def test_best_cuts_by_hand_and_against_every_other_choice():
    """λ = 0.3 on the table: by rising entropy the rewards are (0, .7·g1 − .06, .7·g2 − .21)."""
    reward = Goal(0.3, COST).reward(GAIN).flatten(0, 1)
    score = ENTROPY.flatten()
    cuts = best_cuts(score, reward)
    # f_2 pays from entropy 0.5 on, f_1 for 0.2 … 0.4: 0.01, 0.115, 0.15 beat 0 and f_2's −0.14, −0.07, 0.014.
    assert cuts.tolist() == pytest.approx([0.15, 0.45])
    levels = [-1.0, *((score.sort().values[1:] + score.sort().values[:-1]) / 2).tolist(), 2.0]
    best = max(
        reward.gather(1, (score[:, None] > torch.tensor(pair)).sum(1, keepdim=True)).sum().item()
        for pair in itertools.combinations_with_replacement(levels, 2)
    )
    chosen = reward.gather(1, (score[:, None] > cuts).sum(1, keepdim=True)).sum().item()
    assert chosen == pytest.approx(best)


def test_equal_scores_are_never_parted():
    reward = torch.tensor([[0.0, 1.0], [0.0, -0.4], [0.0, -0.5]])
    cuts = best_cuts(torch.tensor([0.5, 0.5, 0.5]), reward)
    assert cuts.tolist() == [-torch.inf]  # all three together gain 0.1


def test_entropy_and_margin_route_by_hand():
    data = tables()
    wanted = [[0, 1, 1, 2], [2, 1, 2, 0]]
    for router in (EntropyRouter(GRID), MarginRouter(GRID)):
        router.fit(data, data, Goal(0.3, COST))
        routes = router.route(data.seen)
        assert routes.route.tolist() == wanted
        assert routes.charged.tolist() == [[1, 2, 1], [1, 1, 2]]


def test_top_k_sends_as_many_of_every_image():
    """Ranks 0 … 3 earn together: f_1 0, -.13, ... so the two surest stay and the rest goes on."""
    data = tables()
    router = TopKRouter(GRID)
    router.fit(data, data, Goal(0.3, COST))
    # rank 3 (0.6, 0.7): f_2 0.14 + 0.21 = 0.35 · rank 2 (0.4, 0.5): f_2 0.014 + 0.105 = 0.119, f_1 0.15 + 0.08 = 0.23
    # rank 1 (0.2, 0.3): f_1 0.01 + 0.115 · rank 0 (0.1, 0.0): f_1 -0.13 - 0.06, so f_0.
    assert router.route(data.seen).route.tolist() == [[0, 1, 1, 2], [1, 1, 2, 0]]
    assert router.route(data.seen).charged.tolist() == [[1, 2, 1], [1, 2, 1]]


def test_the_cascade_pays_for_every_pass():
    """f_0 unsure on three patches, f_1 unsure on one of them: it is charged with f_1 and f_2."""
    confidence = torch.tensor([[[0.9, 0.9, 0.9], [0.5, 0.9, 0.9], [0.4, 0.8, 0.9], [0.3, 0.2, 0.9]]]).repeat(2, 1, 1)
    gain = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.4, 0.4], [0.0, 0.4, 0.4], [0.0, 0.0, 0.9]]]).repeat(2, 1, 1)
    data = tables(torch.zeros(2, 4), gain, confidence)
    router = CascadeRouter(GRID)
    goal = Goal(0.3, COST)
    router.fit(data, data, goal)
    routes = router.route(data.seen)
    assert routes.route.tolist() == [[0, 1, 1, 2]] * 2
    assert routes.charged.tolist() == [[1, 3, 1]] * 2
    # (0.7·0.4 − 0.3·0.2) twice, then 0.7·0.9 − 0.3·(0.2 + 0.7)
    assert mean_reward(gain, routes, goal) == pytest.approx((2 * 0.22 + 0.36) / 4)


def test_the_cascade_calibrates_by_likelihood():
    data = tables()
    surprise = torch.ones(3, len(TEMPERATURES))
    surprise[0, 6] = surprise[1, 2] = surprise[2, 3] = 0.5
    router = CascadeRouter(GRID)
    router.fit(data, Labelled(data.seen, data.hard, data.gain, surprise), Goal(0.3, COST))
    assert [TEMPERATURES[i] for i in router.temperature.tolist()] == [2.0, 0.85, 1.0]


def test_tempering_by_hand():
    """Two pixels of logits (2, 0) and (0, 0), both of class 0: at T = 2 the first is right with σ(1)."""
    logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])
    confidence, surprise = tempered(logits, torch.zeros(1, 1, 2, dtype=torch.uint8), (1, 2))
    at = TEMPERATURES.index(2.0)
    sigmoid = 1 / (1 + torch.e**-1)
    assert confidence[0, :, at].tolist() == pytest.approx([sigmoid, 0.5])
    expected = -(torch.tensor(sigmoid).log() + torch.tensor(0.5).log()) / 2
    assert surprise[0, at].item() == pytest.approx(expected.item())


def test_gains_that_the_observation_tells_are_learnt_and_paid_for():
    """f_1 gets 60 + 30·entropy of 100 pixels right, f_2 60 + 50·entropy: fitted once on 40 images, for any λ and C.

    Of each class f_0 gets 30 of 50: IoU 30/70, which rises by 100/70² a pixel, so f_2's gain is 25/49·entropy.
    """
    draw = torch.Generator().manual_seed(0)

    def made(count: int) -> Labelled:
        entropy = (50 * torch.rand(count, 4, generator=draw)).round() / 50
        return tables(entropy, torch.stack([torch.zeros(count, 4), 0.6 * entropy, entropy], dim=-1))

    learn, fresh = made(40), made(50)
    router = priced()
    cost = torch.tensor([0.0, 0.1, 0.4]) * 25 / 49
    router.fit(learn, learn, Goal(0.5, cost))
    weights = router.priced.weights.clone()
    # f_1 pays from 0.6·e > 0.1 on, f_2 over it from 0.4·e > 0.3 on; at twice the price from 1/3 on, and never.
    for cost_weight, first, second in ((0.5, 1 / 6, 0.75), (2 / 3, 1 / 3, 9.0)):
        router.fit(learn, learn, Goal(cost_weight, cost))
        entropy = fresh.seen.features["entropy"][..., 0]
        wanted = (entropy > first).long() + (entropy > second).long()
        assert (router.route(fresh.seen).route == wanted).float().mean() > 0.95
    assert torch.equal(router.priced.weights, weights), "another λ takes no fitting"


@pytest.mark.parametrize("budget", [0.0, 0.05, 0.2, 0.6])
def test_a_budget_is_met_on_the_images_routed(budget):
    data, router = tables(), priced()
    router.fit(data, data, Goal(0.3, COST))
    routes = router.within(data.seen, budget)
    spent = (COST[1:] * routes.charged[:, 1:]).sum().item() / 8
    assert spent <= budget + 1e-6
    assert spent >= min(budget, 0.2) - 0.7 / 8, "no more stays over than one climb of one patch"


def test_the_random_twin_sends_as_many_of_each():
    data = tables()
    like = EntropyRouter(GRID)
    twin = RandomRouter(like, seed=1)
    twin.fit(data, data, Goal(0.3, COST))
    routes = [RandomRouter(like, seed=seed).route(data.seen).route for seed in range(4)]
    assert all(route.flatten().bincount().tolist() == [2, 3, 3] for route in routes)
    assert len({tuple(route.flatten().tolist()) for route in routes}) > 1


def test_expected_reward_learns_what_the_observation_tells(schooling):
    """The observation is the entropy map, so most of what these 8 patches earn can be learnt by heart."""
    data, goal = tables(), Goal(0.3, COST)
    router = PolicyRouter("expected reward", PolicyConfig(stride=1), schooling, policy_epochs=300)
    router.fit(data, data, goal)
    oracle = OracleRouter()
    oracle.fit(data, data, goal)
    best = mean_reward(GAIN, oracle.route(data.seen), goal)
    assert mean_reward(GAIN, router.route(data.seen), goal) > 0.75 * best
    stored = list(schooling.store.folder.glob("router-*"))
    router.fit(data, data, goal)
    assert list(schooling.store.folder.glob("router-*")) == stored, "trained once"


# --- the oracle ---------------------------------------------------------------------------------------


def every_route(patches: int, models: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product(range(models), repeat=patches)))


def test_the_oracle_beats_every_route():
    goal = Goal(0.3, COST)
    oracle, data = OracleRouter(), tables()
    oracle.fit(data, data, goal)
    routes = every_route(8, 3)
    earned = goal.reward(GAIN).flatten(0, 1).expand(len(routes), -1, -1).gather(2, routes[..., None]).mean(dim=(1, 2))
    assert mean_reward(GAIN, oracle.route(data.seen), goal) == pytest.approx(earned.max().item())


def test_the_oracle_does_not_route_what_it_has_not_seen():
    oracle = OracleRouter()
    data = tables()
    oracle.fit(data, data, Goal(0.3, COST))
    with pytest.raises(ValueError, match="fitted on"):
        oracle.route(first_image(data.seen))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("models", [2, 3, 4])
def test_the_budget_oracle_against_every_route_within_the_budget(seed, models):
    """At what it spends no route gains more; what it leaves unspent is less than one patch's dearest climb."""
    draw = torch.Generator().manual_seed(seed)
    gain = torch.randn(2, 3, models, generator=draw, dtype=torch.float64)
    gain[..., 0] = 0.0
    cost = torch.rand(models, generator=draw, dtype=torch.float64).sort().values
    cost[0] = 0.0
    routes = every_route(6, models)
    gains = gain.flatten(0, 1).expand(len(routes), -1, -1).gather(2, routes[..., None]).sum(dim=(1, 2))
    costs = cost[routes].mean(dim=1)
    for budget in (0.0, 0.1, 0.3, 0.6, 1.0):
        route = budget_route(gain, cost, budget).flatten()
        spent, gained = cost[route].mean(), gain.flatten(0, 1).gather(1, route[:, None]).sum()
        assert spent <= budget + 1e-9
        assert gained == pytest.approx(gains[costs <= spent + 1e-9].max().item())
        within = gains[costs <= budget + 1e-9].max().item()
        steepest = (gain[..., 1:] / cost[1:]).max().clamp_min(0).item()
        assert within <= gained + steepest * (budget - spent) * 6 + 1e-6


def test_the_budget_oracle_spends_on_the_steepest_climb_first():
    """A budget of four f_1: 0.2 / 0.2 and steeper come before f_2 at 0.6 / 0.7 on the second image's third patch."""
    route = budget_route(GAIN, torch.tensor([0.0, 0.2, 0.7], dtype=torch.float64), 0.8 / 8)
    assert route.tolist() == [[0, 1, 0, 0], [1, 1, 1, 0]]


# --- every runtime ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["entropy", "margin", "top-k", "cascade", "priced"])
def test_a_step_runs_through_onnx(name, schooling):
    """Devices may measure through ONNX Runtime, which has fewer operations than torch."""
    pytest.importorskip("onnx")
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(1, 1, 12, 16, generator=draw)
    probability = torch.softmax(3 * torch.randn(1, 2, 12, 16, generator=draw), dim=1)
    router, data = ROUTERS[name](schooling), tables()
    router.fit(data, data, Goal(0.2, COST))
    step = router.step().eval()
    runtime = RUNTIMES["onnx"](load_device("cpu"), torch.device("cpu"))
    with torch.inference_mode():
        decided = runtime(step, [(images, probability)])(images, probability)
        assert torch.equal(torch.as_tensor(decided), step(images, probability))
