"""Models that train under different corruptions: which images each is shown, and what a study may ask."""

import pytest
import torch
from pydantic import ValidationError

from paser_opt.config import DataConfig, ModelSpace, PipelineConfig, Space, Study, TrainConfig, UNetConfig
from paser_opt.data import load
from paser_opt.data.corruptions import corrupt
from paser_opt.errors import DataError
from paser_opt.progress import Silent
from paser_opt.search.space import unfit
from paser_opt.train import ArtifactStore, train_pipeline
from paser_opt.train import pipeline as pipeline_module

MIXED = DataConfig(count=30, size=(32, 32), corruption=("none", "gaussian", "blur"), parts=(0.8, 0.2, 0.0))
SHORT = TrainConfig(pretrain_epochs=1, distill_epochs=1, policy_epochs=2, finetune_epochs=0, precision="fp32")


@pytest.fixture(scope="module")
def mixed():
    return load(MIXED)


def test_images_have_their_corruptions_in_turn(mixed):
    clean = load(MIXED.model_copy(update={"corruption": ()}))
    order = [clean.test.names.index(name) for name in mixed.test.names]
    assert [mixed.test.corruptions[i] for i in range(len(order))] == ["none", "gaussian", "blur", "none"][: len(order)]
    seen, pixels = mixed.display(mixed.test.images), clean.display(clean.test.images)
    for at, kind in enumerate(mixed.test.corruptions):
        close = (seen[at].int() - pixels[at].int()).abs().max() <= 1
        assert bool(close) is (kind == "none")
    blurred = [at for at, kind in enumerate(mixed.test.corruptions) if kind == "blur"]
    expected = corrupt(pixels[blurred].float() / 255, "blur", MIXED.severity, torch.Generator())
    assert torch.allclose(seen[blurred].float() / 255, expected, atol=0.01)


def test_one_corruption_is_that_of_every_image():
    one = load(MIXED.model_copy(update={"corruption": ("gaussian",)}))
    assert set(one.pretrain.corruptions) == {"gaussian"}
    assert DataConfig(corruption="gaussian").corruption == ("gaussian",)
    assert DataConfig(corruption=None).corruption == ()


def test_what_is_under_one_corruption(mixed):
    shown = mixed.under("blur")
    assert set(shown.pretrain.corruptions) == set(shown.val.corruptions) == {"blur"}
    assert shown.pretrain.names == tuple(
        name for name, kind in zip(mixed.pretrain.names, mixed.pretrain.corruptions, strict=True) if kind == "blur"
    )
    assert shown.policy is mixed.policy and shown.test is mixed.test
    with pytest.raises(DataError, match="no image of D_PT or of val is under speckle"):
        mixed.under("speckle")


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_each_model_trains_on_its_own(mixed, tmp_path, monkeypatch, beta):
    shown = {}

    def watch(name, real):
        def call(*arguments, **options):
            data = next(one for one in arguments if hasattr(one, "pretrain"))
            if name == "distill":
                assert (arguments[1] is not None) == (beta > 0)
                assert arguments[1] is None or len(arguments[1]) == len(data.pretrain)  # logits of the same images
            shown[options.get("name", "f_0")] = (set(data.pretrain.corruptions), set(data.val.corruptions))
            return real(*arguments, **options)

        monkeypatch.setattr(pipeline_module, name, call)

    watch("pretrain", pipeline_module.pretrain)
    watch("distill", pipeline_module.distill)
    models = tuple(
        UNetConfig(base=2, depth=1, norm="batch", corruption=kind) for kind in ("none", "gaussian", "blur", None)
    )
    config = PipelineConfig(models=models, grid=(2, 2), distill_weight=beta, training=SHORT)
    trained = train_pipeline(
        config, mixed, ArtifactStore(tmp_path), (0.1, 0.3, 0.3, 0.3), device=torch.device("cpu"), progress=Silent()
    )
    everything = set(MIXED.corruption)
    assert shown == {
        "f_0": ({"none"}, {"none"}),
        "f_1": ({"gaussian"}, {"gaussian"}),
        "f_2": ({"blur"}, {"blur"}),
        "f_3": (everything, everything),
    }
    assert len(trained.tables("test").hard) == len(mixed.test)  # judged on all


@pytest.mark.parametrize(("changed", "anew"), [(0, {"f_0"}), (1, {"f_0", "f_1"})])
def test_another_corruption_is_another_model_in_one_store(mixed, tmp_path, changed, anew):
    """With a teacher: an f_0 of other images needs other logits, and other logits make another f_0."""
    store = ArtifactStore(tmp_path)

    def keys(corruptions):
        models = tuple(UNetConfig(base=2, depth=1, norm="batch", corruption=kind) for kind in corruptions)
        config = PipelineConfig(models=models, grid=(2, 2), distill_weight=0.1, training=SHORT)
        cpu = torch.device("cpu")
        return train_pipeline(config, mixed, store, (0.1, 0.9), device=cpu, progress=Silent()).keys

    before, corruptions = keys(["none", "gaussian"]), ["none", "gaussian"]
    teachers = len(list(tmp_path.glob("teacher-*")))
    corruptions[changed] = "blur"
    after = keys(corruptions)
    assert {name for name in ("f_0", "f_1") if before[name] != after[name]} == anew
    assert len(list(tmp_path.glob("teacher-*"))) == teachers + 1


def test_a_model_cannot_train_under_what_no_image_is_under():
    size = {"base": (2,), "depth": (1,)}
    space = Space(models=(ModelSpace(**size), ModelSpace(**size, corruption="blur")))
    with pytest.raises(ValidationError, match=r'f_1 is to train under "blur": data.corruption names gaussian; add it'):
        Study(name="toy", data=DataConfig(corruption=("gaussian",)), space=space)
    with pytest.raises(ValidationError, match=r"data.augment gives every UNet copies under others: leave out one"):
        Study(name="toy", data=MIXED.model_copy(update={"augment": ("speckle",)}), space=space)
    study = Study(name="toy", data=MIXED, space=space)
    config = PipelineConfig(
        models=(UNetConfig(base=2, depth=1), UNetConfig(base=2, depth=1, corruption="blur")), grid=(2, 2)
    )
    assert unfit(config, load(study.data)) is None
    few = load(study.data.model_copy(update={"count": 8}))  # one image for val, which is as it is
    assert unfit(config, few) == "f_1 trains under blur, which no image of D_PT or of val is under; bring more"
