"""Patch models that see f_0's result: trained in that order, and the table says what a run then gives."""

from dataclasses import replace

import torch
from torch import nn

from paser_opt.config import DataConfig, PipelineConfig, TrainConfig, UNetConfig
from paser_opt.data import load
from paser_opt.patches import confusion
from paser_opt.progress import Silent
from paser_opt.routers.tables import labelled
from paser_opt.routing import RoutedPipeline
from paser_opt.train import ArtifactStore, train_pipeline

SIZES = (UNetConfig(base=4, depth=1, norm="batch", dropout=0.2), *(
    UNetConfig(base=base, depth=1, norm="batch", dropout=0.2, in_channels=4) for base in (4, 6)
))  # fmt: skip
SHORT = TrainConfig(pretrain_epochs=1, distill_epochs=1, policy_epochs=2, finetune_epochs=1, precision="fp32")


def trained(tmp_path, **fields):
    config = PipelineConfig(
        models=SIZES,
        grid=(2, 2),
        halo=2,
        context="screen",
        distill_weight=0,
        cost_weight=0.01,
        training=SHORT,
        **fields,
    )
    data = load(DataConfig(count=14, size=(32, 32)))
    store = ArtifactStore(tmp_path)
    cost = (0.1, 0.3, 0.6)
    return data, train_pipeline(config, data, store, cost, device=torch.device("cpu"), progress=Silent())


def test_tables_hold_what_the_routed_pipeline_gives(tmp_path):
    data, result = trained(tmp_path, mc_samples=2)
    table = result.tables("test")
    route = torch.arange(4).remainder(3).expand(len(data.test), 4)
    pipeline = RoutedPipeline(result.config, result.models, result.policy)
    masks = pipeline.run(data.test.images, route=route).masks
    assert torch.equal(table.routed(route).long(), confusion(masks, data.test.masks, data.classes))


def test_trials_that_differ_in_s_share_the_models(tmp_path):
    (_, two), (_, none) = trained(tmp_path, mc_samples=2), trained(tmp_path, mc_samples=0)
    assert none.seconds["pretrain f_1"] == none.seconds["pretrain f_2"] == none.seconds["distill f_0"] == 0
    assert two.keys["f_0"] == none.keys["f_0"]
    assert none.seconds["table f_1 val"] > 0  # what it is shown at run time differs


class Repeats(nn.Module):
    """Says what f_0 said: its probabilities are the channels behind the image's."""

    def forward(self, x):
        return x[:, 1:].log()


def test_routers_see_models_in_context(tmp_path):
    data, result = trained(tmp_path)
    repeating = replace(result, models=[result.models[0], Repeats(), Repeats()])
    seen = labelled(repeating, data.val, "val", ArtifactStore(tmp_path), [result.config.policy]).seen
    first = seen.confidence[:, :, :1]  # (N, P, 1, T)
    torch.testing.assert_close(
        seen.confidence, first.expand_as(seen.confidence), atol=1e-3, rtol=0
    )  # logits of 16 bits
