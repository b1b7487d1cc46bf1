"""A training that stops on its way and goes on elsewhere ends where one without a stop does, bit for bit."""

import pytest
import torch

from paser_opt.config import DataConfig, PipelineConfig, TrainConfig, UNetConfig
from paser_opt.data import load
from paser_opt.progress import Silent
from paser_opt.train import ArtifactStore, train_pipeline
from paser_opt.train.loop import Span

SIZES = tuple(UNetConfig(base=base, depth=1, norm="batch", dropout=0.2) for base in (4, 4, 6))
TRAINING = TrainConfig(pretrain_epochs=5, distill_epochs=7, policy_epochs=2, finetune_epochs=1, precision="fp32")


class Epochs(Silent):
    """Of each stage the epochs that were trained."""

    def __init__(self):
        self.trained = {}

    def stage(self, name, total):
        self.now = self.trained.setdefault(name, [])

    def advance(self, done, note=""):
        self.now.append(done)


def train(folder, shares, **fields):
    epochs = Epochs()
    result = train_pipeline(
        PipelineConfig(**{"models": SIZES, "training": TRAINING, **fields}, grid=(2, 2), cost_weight=0.01),
        load(DataConfig(count=14, size=(32, 32))), ArtifactStore(folder), (0.1, 0.3, 0.6),
        device=torch.device("cpu"), progress=epochs, shares=shares, tuned=shares[-1] == 1,
    )  # fmt: skip
    return result, epochs.trained


def weights(result):
    parts = {f"f_{index}": model for index, model in enumerate(result.models)} | {"policy": result.policy}
    return {(part, name): value for part, module in parts.items() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("context", ["none", "screen"])
@pytest.mark.parametrize("shares", [(0.3, 1.0), (0.3, 0.8, 1.0)])
def test_a_stop_changes_nothing(tmp_path, shares, context):
    fields = {"context": context, "distill_weight": 0.0}
    if context == "screen":
        sizes = (SIZES[0], *(size.model_copy(update={"in_channels": 4}) for size in SIZES[1:]))
        fields["models"] = sizes
        fields["training"] = TRAINING.model_copy(update={"windows": (2, 2), "screen_crops": "hard"})
    whole, _ = train(tmp_path / "whole", (1.0,), **fields)
    for reached in range(1, len(shares) + 1):
        stopped, _ = train(tmp_path / "rungs", shares[:reached], **fields)
        if reached < len(shares):
            assert stopped.keys["f_1"] != whole.keys["f_1"]
    assert stopped.keys == whole.keys
    assert stopped.histories == whole.histories
    expected, found = weights(whole), weights(stopped)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_it_goes_on_from_the_nearest_stop_and_from_nothing_where_there_is_none(tmp_path):
    fields = {"distill_weight": 0.0}
    _, first = train(tmp_path, (0.3,), **fields)
    assert first["pretrain f_1"] == [1, 2] and first["distill f_0"] == [1, 2]  # 0.3 of 5 and of 7 epochs
    assert not any(name.startswith("fine-tune") for name in first)
    _, second = train(tmp_path, (0.3, 0.8), **fields)
    assert second["pretrain f_1"] == [3, 4] and second["distill f_0"] == [3, 4, 5, 6]
    for path in tmp_path.glob("*of*.safetensors"):
        if "4of5" in path.name or "6of7" in path.name:
            path.write_bytes(b"damaged")
    _, third = train(tmp_path, (0.3, 0.8, 1.0), **fields)
    assert third["pretrain f_1"] == [3, 4, 5] and third["distill f_0"] == [3, 4, 5, 6, 7]
    for path in tmp_path.iterdir():
        path.unlink()
    _, anew = train(tmp_path, (0.3, 0.8, 1.0), **fields)
    assert anew["pretrain f_1"] == [1, 2, 3, 4, 5]


def test_a_teacher_that_has_learnt_on_teaches_anew(tmp_path):
    fields = {"distill_weight": 0.1}
    train(tmp_path, (0.3,), **fields)
    _, epochs = train(tmp_path, (0.3, 1.0), **fields)
    assert epochs["pretrain f_1"] == [3, 4, 5] and epochs["distill f_0"] == [1, 2, 3, 4, 5, 6, 7]


def test_a_stage_of_one_epoch_has_no_rung(tmp_path):
    assert [Span(0.3).last(epochs) for epochs in (1, 2, 3, 10)] == [1, 1, 1, 3]
    assert Span().last(10) == 10
