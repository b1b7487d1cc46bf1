"""Patch models that begin with f_0's weights."""

import pytest
import torch

from paser_opt.config import DataConfig, ModelSpace, PipelineConfig, Space, Study, TrainConfig, UNetConfig
from paser_opt.data import load
from paser_opt.models import build_unet
from paser_opt.progress import Silent
from paser_opt.train import ArtifactStore, train_pipeline
from paser_opt.train.pretrain import begin_as


def test_it_says_what_the_screen_says_whatever_else_it_sees():
    screen = build_unet(UNetConfig(base=4, depth=1, norm="batch"), seed=0).eval()
    model = build_unet(UNetConfig(base=4, depth=1, norm="batch", in_channels=4), seed=1).eval()
    images, further = torch.randn(2, 1, 16, 16), torch.randn(2, 3, 16, 16)
    assert begin_as(model, screen)
    assert torch.allclose(model(torch.cat([images, further], dim=1)), screen(images), atol=1e-6)


@pytest.mark.parametrize("size", [{"base": 6, "depth": 1}, {"base": 4, "depth": 2}])
def test_another_size_stays_as_it_was_drawn(size):
    screen = build_unet(UNetConfig(base=4, depth=1, norm="batch"), seed=0)
    model = build_unet(UNetConfig(norm="batch", **size), seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not begin_as(model, screen)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_goes_on_from_there_at_another_scale(tmp_path):
    """At a rate that moves nothing, f_1 is f_0 at its own scale."""
    still = TrainConfig(
        pretrain_epochs=1, distill_epochs=1, policy_epochs=1, finetune_epochs=0, learning_rate=1e-12, weight_decay=0.0,
        start="screen", precision="fp32",
    )  # fmt: skip
    sizes = tuple(UNetConfig(base=4, depth=1, scale=scale, norm="none") for scale in (0.5, 1.0))
    config = PipelineConfig(models=sizes, grid=(2, 2), distill_weight=0, cost_weight=0.01, training=still)
    data = load(DataConfig(count=14, size=(32, 32)))
    made = train_pipeline(config, data, ArtifactStore(tmp_path), (0.2, 0.8), device=torch.device("cpu"),
                          progress=Silent())  # fmt: skip
    first, second = (model.state_dict() for model in made.models)
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
    drawn = build_unet(sizes[1], seed=1).state_dict()
    assert not torch.allclose(drawn["head.weight"], second["head.weight"], atol=1e-3)


def test_no_model_of_that_size_is_told():
    models = tuple(ModelSpace(base=(base,), depth=(1,)) for base in (4, 6))
    with pytest.raises(ValueError, match=r'start = "screen": no f_1 … has f_0\'s base and depth'):
        Study(name="s", space=Space(models=models, distill_weight=(0.0,)), training=TrainConfig(start="screen"))
    with pytest.raises(ValueError, match='start = "screen" trains f_0 first, without a teacher'):
        Study(name="s", space=Space(models=models), training=TrainConfig(start="screen"))
