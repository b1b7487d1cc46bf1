import math

import pytest
import torch
from torch import nn

from paser_opt.config import TrainConfig
from paser_opt.errors import DivergedError
from paser_opt.patches import IGNORE
from paser_opt.progress import Silent
from paser_opt.train.loop import class_weights, fit, pixel_loss

CPU = torch.device("cpu")


def run(model, loss, *, epochs=8, score=None, keep_start=False, seed=0):
    return fit(
        model, loss, stage="toy", epochs=epochs, steps=2, learning_rate=0.1, config=TrainConfig(), device=CPU,
        seed=seed, progress=Silent(), score=score, keep_start=keep_start,
    )  # fmt: skip


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_stage_with_the_epoch(bad):
    model = nn.Linear(1, 1)
    calls = []

    def loss(draw):
        calls.append(1)
        return model.weight.sum() * (bad if len(calls) > 4 else 1.0)

    with pytest.raises(DivergedError, match="toy diverged in epoch 3"):
        run(model, loss)


def test_a_weight_that_is_not_finite_after_the_last_step_is_found():
    model = nn.Linear(1, 1, bias=False)
    calls = []

    def loss(draw):
        calls.append(1)
        if len(calls) < 2:
            return model.weight.sum()
        return (model.weight * 0).abs().sqrt().sum()  # 0, but its slope is 0 · ∞

    with pytest.raises(DivergedError, match="a weight is not finite"):
        run(model, loss, epochs=1)


def test_the_best_scored_epoch_is_kept():
    model = nn.Linear(1, 1, bias=False)
    seen = []

    def score():
        seen.append(model.weight.item())
        return -abs(model.weight.item() - seen[0])  # the first scored epoch is the best

    run(model, lambda draw: model.weight.sum(), score=score)
    assert len(seen) == 4
    assert model.weight.item() == seen[0]


def test_the_start_can_be_the_best():
    model = nn.Linear(1, 1, bias=False)
    start = model.weight.item()
    run(model, lambda draw: model.weight.sum(), score=lambda: model.weight.item(), keep_start=True)
    assert model.weight.item() == start


def test_a_stage_depends_on_its_seed_alone():
    def trained(seed):
        torch.manual_seed(99)
        model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        run(model, lambda draw: model(torch.rand(3, 4, generator=draw)).square().sum(), seed=seed)
        return torch.cat([p.flatten() for p in model.parameters()])

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_class_weights_by_hand():
    masks = torch.tensor([[0] * 16, [1] * 4 + [0] * 12], dtype=torch.uint8)
    masks[1, 4:] = IGNORE  # 16 of class 0, 4 of class 1, none of class 2
    assert class_weights(masks, 3, "none").tolist() == [1, 1, 1]
    assert class_weights(masks, 3, "balanced").tolist() == pytest.approx([0.4, 1.6, 0])
    assert class_weights(masks, 3, "sqrt").tolist() == pytest.approx([2 / 3, 4 / 3, 0])


def test_pixel_loss_is_torchs_where_something_counts_and_zero_where_nothing_does():
    logits = torch.randn(2, 3, 4, 4)
    masks = torch.randint(0, 3, (2, 4, 4), dtype=torch.uint8)
    masks[0, 0] = IGNORE
    weight = torch.tensor([1.0, 2.0, 0.5])
    expected = nn.functional.cross_entropy(logits, masks.long(), weight, ignore_index=IGNORE)
    assert pixel_loss(logits, masks, weight).item() == pytest.approx(expected.item())
    assert pixel_loss(logits, torch.full_like(masks, IGNORE), weight).item() == 0
