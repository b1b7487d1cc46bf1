"""Policies to train in a test."""

import pytest
import torch

from paser_opt.config import TrainConfig
from paser_opt.progress import Silent
from paser_opt.routers import Schooling
from paser_opt.train import ArtifactStore


@pytest.fixture
def schooling(tmp_path):
    return Schooling(
        training=TrainConfig(policy_epochs=60, precision="fp32", policy_learning_rate=0.02),
        grid=(2, 2), models=3, classes=2, channels=1, flips="none", seed=0, device=torch.device("cpu"),
        store=ArtifactStore(tmp_path), progress=Silent(),
    )  # fmt: skip
