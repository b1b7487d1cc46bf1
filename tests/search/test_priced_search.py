"""A search with priced policies: λ and C are a price that is set, nothing that is learnt."""

from __future__ import annotations

import pytest
import torch

from paser_opt.catalog import load_device
from paser_opt.models import build_policy
from paser_opt.progress import Silent
from paser_opt.search.study import search
from paser_opt.train import ArtifactStore


class Watcher(Silent):
    def started(self, number, total, tag): ...

    def running(self, number):
        return self

    def finished(self, trial, front, volume): ...

    def note(self, text): ...


def test_a_trials_policy_charges_its_own_price(run_folder, tiny_study):
    space = tiny_study.space.model_copy(update={"policy": ("priced",)})
    run = search(
        tiny_study.model_copy(update={"space": space}), run_folder(), device=load_device("cpu"), trials=1,
        timeout_s=None, watcher=Watcher(),
    )  # fmt: skip
    (trial,) = run.trials()
    assert trial.state == "complete"
    config = trial.pipeline
    policy = build_policy(
        config.policy, models=len(config.models), grid=config.grid, classes=config.models[0].classes,
        channels=config.models[0].in_channels, seed=0,
    )  # fmt: skip
    ArtifactStore(run.artifacts).restore({"policy": policy}, trial.weights)
    price = config.cost_weight / (1 - config.cost_weight)
    assert policy.charge.tolist() == pytest.approx([0.0, *(price * c for c in trial.cost_per_patch[1:])])
    assert torch.equal(policy.weights[:, 0], torch.zeros(len(policy.weights)))
