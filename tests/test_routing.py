import pytest
import torch
from torch import nn

from paser_opt.config import Device, PipelineConfig, PolicyConfig, UNetConfig
from paser_opt.cost import runtime_for
from paser_opt.models import build_policy, build_unet
from paser_opt.patches import confusion, split, split_mask
from paser_opt.routing import (
    Decide,
    GivenRoute,
    Refine,
    RoutedPipeline,
    batch_points,
    cut_out,
    places,
    put_back,
    workloads,
)

SIZES = (
    UNetConfig(base=4, depth=1, classes=3),
    UNetConfig(base=4, depth=1, classes=3),
    UNetConfig(base=6, depth=1),
)


class Always(nn.Module):
    """Says one class everywhere."""

    config = SIZES[0]

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, x):
        logits = torch.zeros(len(x), 3, *x.shape[-2:])
        logits[:, self.label] = 1
        return logits

    coarse = forward

    def full(self, maps, images):
        return maps


class Fixed(nn.Module):
    """A policy with one route for every image."""

    def __init__(self, route) -> None:
        super().__init__()
        self.route = torch.tensor(route)

    def observe(self, images, probability):
        return images

    def forward(self, observation):
        return nn.functional.one_hot(self.route, 3).float().expand(len(observation), -1, -1, -1) * 9


def test_the_mask_of_constant_models_is_the_route():
    config = PipelineConfig(models=SIZES, grid=(2, 2))
    pipeline = RoutedPipeline(config, [Always(0), Always(1), Always(2)], Fixed([[0, 2], [1, 0]]))
    routed = pipeline.run(torch.zeros(2, 1, 5, 6))  # 5 rows: 3 and 2 after cropping
    expected = torch.tensor([[0] * 3 + [2] * 3] * 3 + [[1] * 3 + [0] * 3] * 2)
    assert torch.equal(routed.masks.long(), expected.expand(2, -1, -1))
    assert routed.route.tolist() == [[0, 2, 1, 0]] * 2
    assert set(routed.seconds) == {"screen", "policy", "f_1", "f_2"}


class Repeats(nn.Module):
    """Says what f_0 said: its probabilities are the channels behind the image's."""

    config = UNetConfig(base=4, depth=1, in_channels=4)

    def forward(self, x):
        return x[:, 1:].log()


def test_a_model_that_repeats_what_it_sees_of_the_screen_changes_nothing():
    sizes = (SIZES[0], Repeats.config)
    config = PipelineConfig(models=sizes, grid=(2, 3), halo=2, mc_samples=2, context="screen", distill_weight=0)
    pipeline = RoutedPipeline(config, [build_unet(sizes[0], seed=3).eval(), Repeats()], Fixed([[0, 1, 1], [1, 0, 1]]))
    image = torch.randn(2, 1, 17, 22, generator=torch.Generator().manual_seed(0))
    routed = pipeline.run(image)
    assert routed.route.tolist() == [[0, 1, 1, 1, 0, 1]] * 2
    assert torch.equal(routed.masks, pipeline.run(image, route=torch.zeros(2, 6, dtype=torch.long)).masks)
    assert len(routed.masks.unique()) > 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"context": "screen", "distill_weight": 0}, "must have 4 input channels"), ({}, "must have 1 input channels")],
)
def test_models_take_what_their_context_gives(fields, words):
    sizes = (SIZES[0], SIZES[1] if fields else Repeats.config)
    with pytest.raises(ValueError, match=words):
        PipelineConfig(models=sizes, **fields)


def test_no_teacher_where_patches_see_the_screen():
    with pytest.raises(ValueError, match="distill_weight must be 0"):
        PipelineConfig(models=(SIZES[0], Repeats.config), context="screen", distill_weight=0.1)


def test_a_model_nobody_is_sent_to_does_not_run():
    config = PipelineConfig(models=SIZES, grid=(2, 2))
    routed = RoutedPipeline(config, [Always(0), Always(1), Always(2)], Fixed([[0, 0], [2, 0]])).run(
        torch.zeros(1, 1, 4, 4)
    )
    assert "f_1" not in routed.seconds


@pytest.mark.parametrize("halo", [0, 2])
def test_running_equals_looking_up_in_confusion_matrices(halo):
    """What a trial reports from its tables is what the deployed pipeline does."""
    config = PipelineConfig(models=SIZES, grid=(3, 3), halo=halo)
    models = [build_unet(size, seed=i).eval() for i, size in enumerate(SIZES)]
    policy = build_policy(PolicyConfig(stride=2), models=3, grid=(3, 3), classes=3, channels=1, seed=3).eval()
    images = torch.randn(4, 1, 25, 31, generator=torch.Generator().manual_seed(0))
    truth = torch.randint(0, 3, (4, 25, 31), dtype=torch.uint8)
    routed = RoutedPipeline(config, models, policy).run(images)
    tiles, masks = split(images, (3, 3), halo), split_mask(truth, (3, 3))
    with torch.inference_mode():
        by_model = [split_mask(models[0](images).argmax(dim=1), (3, 3)).clamp(max=2)]
        for model in models[1:]:
            labels = model(tiles.flatten(0, 1)).argmax(dim=1).unflatten(0, (4, 9))
            by_model.append(labels[..., halo : labels.shape[-2] - halo, halo : labels.shape[-1] - halo])
    table = torch.stack([confusion(labels, masks, 3) for labels in by_model], dim=2)
    looked_up = table.gather(2, routed.route[:, :, None, None, None].expand(-1, -1, 1, 3, 3)).sum(dim=(1, 2))
    assert torch.equal(looked_up, confusion(routed.masks, truth, 3))


@pytest.mark.parametrize("halo", [0, 3])
def test_patches_that_are_cut_out_are_those_of_the_grid(halo):
    maps = torch.randn(3, 2, 17, 22, generator=torch.Generator().manual_seed(0))  # no side is a multiple
    every = split(maps, (2, 3), halo).flatten(0, 1)
    for index in ([4], [0, 5, 17, 11, 6], [], list(range(18))):
        chosen = torch.tensor(index, dtype=torch.long)
        assert torch.equal(cut_out(maps, places(chosen, (17, 22), (2, 3), halo)), every[chosen])
        first = chosen[chosen < 6]
        assert torch.equal(cut_out(maps[:1], places(first, (17, 22), (2, 3), halo)), every[first])


def test_the_route_is_the_argmax():
    policy = Fixed([[1, 2], [0, 1]])
    action, confidence = Decide(policy)(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4))
    assert action.tolist() == [[1, 2, 0, 1]]
    assert confidence.min() > 0.99


def test_batch_points():
    assert batch_points(16) == (1, 2, 4, 8, 16)
    assert batch_points(9) == (1, 2, 4, 8, 9)
    assert batch_points(1) == (1,)


def test_every_step_of_the_plan_is_a_workload_that_runs():
    config = PipelineConfig(models=SIZES, grid=(2, 3), mc_samples=2, halo=1)
    steps, plan = workloads(config, height=20, width=30, device=torch.device("cpu"))
    keys = [step.key for step in steps]
    assert len(set(keys)) == len(keys)
    named = {plan.screen, plan.screen_once, plan.policy}
    named |= {key for points in plan.models for key in points.values()}
    assert named == set(keys)
    assert [sorted(points) for points in plan.models] == [[1, 2, 4, 6]] * 2
    for step in steps:
        step.module(*step.inputs)


def test_grey_patches_with_the_screen_in_sight_are_not_taken_for_colour_ones():
    colour = tuple(size.model_copy(update={"in_channels": 4}) for size in SIZES)
    grey = PipelineConfig(models=(SIZES[0], *colour[1:]), context="screen", distill_weight=0)
    plans = [
        workloads(one, height=20, width=30, device=torch.device("cpu"))[1]
        for one in (grey, PipelineConfig(models=colour))
    ]
    assert not set(plans[0].models[0].values()) & set(plans[1].models[0].values())


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("context", ["none", "screen"])
def test_no_traced_step_is_tied_to_the_device_it_was_traced_on(context):
    seen = SIZES[1].model_copy(update={"in_channels": 4}) if context == "screen" else SIZES[1]
    config = PipelineConfig(
        models=(SIZES[0], seen), grid=(2, 3), mc_samples=2, halo=1, context=context, distill_weight=0
    )
    steps, _ = workloads(config, height=20, width=30, device=torch.device("cpu"))
    for step in steps:
        traced = torch.jit.trace(step.module.eval(), step.inputs, check_trace=False)
        assert 'prim::Constant[value="cpu"]' not in str(traced.inlined_graph), step.key


@pytest.mark.parametrize("runtime", ["eager", "onnx"])
def test_a_pipeline_through_a_runtime_gives_the_same_masks(runtime):
    config = PipelineConfig(models=SIZES, grid=(2, 3), halo=2)
    models = [build_unet(size, seed=i).eval() for i, size in enumerate(SIZES)]
    policy = build_policy(PolicyConfig(stride=2), models=3, grid=(2, 3), classes=3, channels=1, seed=3).eval()
    image = torch.randn(1, 1, 25, 31, generator=torch.Generator().manual_seed(0))
    pipeline = RoutedPipeline(config, models, policy)
    device = Device(name="here", local=True, runtime=runtime)
    prepared = pipeline.through(runtime_for(device, torch.device("cpu")), image)
    ours, theirs = pipeline.run(image), prepared.run(image)
    assert torch.equal(ours.route, theirs.route)
    assert (ours.masks == theirs.masks).float().mean() > 0.999
    for route in ([[0] * 6], [[2] * 6], [[0, 1, 2, 1, 0, 2]]):
        given = torch.tensor(route)
        with torch.inference_mode():
            masks, taken, _ = prepared(image, given)
            expected, _ = GivenRoute(pipeline)(image, given)
        assert torch.equal(taken, given)
        assert (masks == expected).float().mean() > 0.999


def test_a_given_route_is_taken():
    config = PipelineConfig(models=SIZES, grid=(2, 2))
    pipeline = RoutedPipeline(config, [Always(0), Always(1), Always(2)], Fixed([[0, 0], [0, 0]]))
    masks, confidence = GivenRoute(pipeline)(torch.zeros(1, 1, 2, 2), torch.tensor([[2, 1, 1, 0]]))
    assert masks.tolist() == [[[2, 1], [1, 0]]]
    assert confidence.shape == (1, 4)  # the policy has run all the same


@pytest.mark.parametrize(("height", "width"), [(6, 9), (5, 7)], ids=["divides", "does not"])
def test_patches_are_put_back_where_they_lie(height, width):
    """Two images on 2 x 3 patches of 3 x 3, the last row and columns of them reaching beyond the smaller image."""
    labels = torch.zeros(2, height, width, dtype=torch.uint8)
    patches = torch.arange(1, 4, dtype=torch.uint8)[:, None, None].expand(3, 3, 3).clone()
    patches[0, 0, 1] = 9
    before = labels.clone()
    found = put_back(labels, patches, torch.tensor([0, 5, 6 + 4]), (2, 3))
    expected = torch.zeros(2, 6, 9, dtype=torch.uint8)
    expected[0, :3, :3], expected[0, 3:, 6:], expected[1, 3:, 3:6] = 1, 2, 3
    expected[0, 0, 1] = 9
    assert torch.equal(found, expected[:, :height, :width])
    assert torch.equal(labels, before)
    assert torch.equal(put_back(labels, patches[:0], torch.tensor([], dtype=torch.long), (2, 3)), labels)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("height", "width"), [(24, 30), (23, 29)], ids=["divides", "does not"])
def test_a_model_on_some_patches_is_the_same_on_onnx_runtime(classes, height, width):
    draw = torch.Generator().manual_seed(0)
    size = UNetConfig(base=4, depth=1, norm="batch", in_channels=1 + classes, classes=classes)
    refine = Refine(build_unet(size, seed=0).eval(), (2, 3), 2, "screen")
    image = torch.randn(1, 1, height, width, generator=draw)
    probability = torch.softmax(torch.randn(1, classes, height, width, generator=draw), dim=1)
    labels = torch.randint(0, classes, (1, height, width), dtype=torch.uint8, generator=draw)
    sent = [(image, probability, labels, torch.arange(n)) for n in batch_points(6)]
    run = runtime_for(Device(name="here", local=True, runtime="onnx"), torch.device("cpu"))(refine, sent)
    for index in ([4], [5, 0, 2], [0, 1, 2, 3, 4, 5]):
        given = (image, probability, labels, torch.tensor(index))
        with torch.inference_mode():
            here, there = refine(*given), torch.as_tensor(run(*given))
        assert there.shape == here.shape == labels.shape
        assert (there == here).float().mean() > 0.99  # a tie may fall either way
        assert torch.equal(there[0, :12, 20:], labels[0, :12, 20:]) or 2 in index
