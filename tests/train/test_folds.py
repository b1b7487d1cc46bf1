"""Cross-fitted reward: every training image is judged by UNets that have not seen it."""

import pytest
import torch

from paser_opt.config import DataConfig, PipelineConfig, PolicyConfig, TrainConfig, UNetConfig
from paser_opt.data import load
from paser_opt.evaluate import patch_confusions
from paser_opt.patches import split, split_mask
from paser_opt.progress import Silent
from paser_opt.routers.tables import labelled
from paser_opt.train import ArtifactStore, restore_pipeline, train_pipeline, train_unets, train_whole

SHORT = TrainConfig(pretrain_epochs=1, distill_epochs=1, policy_epochs=2, finetune_epochs=0, precision="fp32")
SIZES = tuple(UNetConfig(base=base, depth=1, norm="batch", dropout=0.1) for base in (4, 6))
CONFIG = PipelineConfig(models=SIZES, grid=(2, 2), distill_weight=0, cost_weight=0.01, training=SHORT)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    data = load(DataConfig(count=14, size=(32, 32), folds=3))
    store = ArtifactStore(tmp_path_factory.mktemp("store"))
    return data, store, train_pipeline(CONFIG, data, store, (0.2, 0.8), device=CPU, progress=Silent())


def test_the_folds_take_turns(made):
    data = made[0]
    folds = data.without_folds()
    assert data.pretrain.names == data.policy.names and not len(data.finetune)
    assert sum((one.policy.names for one in folds), ()) == data.policy.names
    for one in folds:
        assert sorted(one.policy.names + one.pretrain.names) == sorted(data.policy.names)
        assert 3 <= len(one.policy) <= 4  # 10 training images in 3 folds


def test_the_table_of_d_rl_is_that_of_the_folds_unets(made):
    data, _, result = made
    table = result.tables("policy")
    assert len(table.hard) == len(data.policy)
    start = 0
    for models, part in result.looked_at("policy", data.policy):
        tiles, masks = split(part.images, (2, 2)), split_mask(part.masks, (2, 2))
        hard, _ = patch_confusions(models[1], tiles, masks, data.classes, halo=0, precision="fp32")
        assert torch.equal(table.hard[start : start + len(part), :, 1].long(), hard)
        assert not torch.equal(models[1].head.weight, result.models[1].head.weight)
        start += len(part)
    assert start == len(data.policy)
    assert [models for models, _ in result.looked_at("val", data.val)] == [result.models]


def test_routers_see_what_the_folds_unets_make_of_d_rl(made):
    data, store, result = made
    seen = labelled(result, data.policy, "policy", store, [CONFIG.policy])
    assert torch.equal(seen.seen.observations["pooled"], result.tables("policy").observation)
    assert torch.equal(seen.hard, result.tables("policy").hard)


def test_f_0_is_the_single_unet_of_its_size(made):
    """Same images, same epochs: trained once."""
    data, store, result = made
    before = len(list(store.folder.glob("distill*")))
    single = train_whole(SIZES[0], data, SHORT, store, seed=0, device=CPU, progress=Silent()).model
    assert len(list(store.folder.glob("distill*"))) == before
    assert torch.equal(single.head.weight, result.models[0].head.weight)


@pytest.mark.parametrize("context", ["none", "screen"])
def test_unets_trained_alone_are_those_of_the_pipeline(made, tmp_path, context):
    """Those of the folds too, and where f_1 sees what f_0 made of the image."""
    data, store, _ = made
    channels = 1 if context == "none" else 1 + data.classes
    models = (SIZES[0], SIZES[1].model_copy(update={"in_channels": channels}))
    config = CONFIG.model_copy(update={"context": context, "models": models})
    ahead = ArtifactStore(tmp_path)
    train_unets(config, data, ahead, device=CPU, progress=Silent())
    train_pipeline(config, data, store, (0.2, 0.8), device=CPU, progress=Silent())
    kinds = [{path.name for path in one.folder.glob("[dp][ir]*")} for one in (ahead, store)]  # distill-, pretrain-
    assert len(kinds[0]) == 8 and kinds[0] <= kinds[1]  # two UNets, with all of D_PT and without each of three folds


def test_a_restored_pipeline_has_the_same_tables(made):
    data, store, result = made
    again = restore_pipeline(CONFIG, data, store, (0.2, 0.8), result.keys, device=CPU, progress=Silent())
    assert torch.equal(again.tables("policy").hard, result.tables("policy").hard)
    assert again.seconds["folds"] == 0


def test_one_fold_is_none():
    with pytest.raises(ValueError, match="folds = 1 leaves nothing to train on"):
        DataConfig(folds=1)


def test_copies_stay_with_their_image_in_folds_and_in_what_learns_from_them(tmp_path):
    data = load(DataConfig(count=14, size=(32, 32), folds=3, augment=["speckle", "blur"]))
    store = ArtifactStore(tmp_path)
    config = CONFIG.model_copy(update={"policy": PolicyConfig(kind="priced")})
    result = train_pipeline(config, data, store, (0.2, 0.8), device=CPU, progress=Silent())
    seen = [name for _, part in result.looked_at("policy", data.policy) for name in part.names]
    assert seen == list(data.policy.names) and len(seen) == 30
    learn, val = (labelled(result, part, name, store, [config.policy])
                  for name, part in (("policy", data.policy), ("val", data.val)))  # fmt: skip
    assert learn.image.tolist() == [row // 3 for row in range(30)]
    assert val.image.tolist() == list(range(len(data.val)))
