import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from paser_opt.config import Device
from paser_opt.cost import runtime_for
from paser_opt.patches import (
    IGNORE,
    cell_size,
    confusion,
    hard_labels,
    pad_to_grid,
    patch_size,
    row_moments,
    sampled,
    split,
    split_mask,
    stitch,
)

SIZES = [(8, 8, (4, 4)), (10, 14, (4, 4)), (7, 5, (3, 5)), (5, 9, (1, 1)), (224, 256, (4, 4))]


@pytest.mark.parametrize(("height", "width", "grid"), SIZES)
@pytest.mark.parametrize("halo", [0, 3])
def test_stitch_undoes_split_at_any_size(height, width, grid, halo):
    images = torch.arange(2.0 * 3 * height * width).reshape(2, 3, height, width)
    patches = split(images, grid, halo)
    h, w = patch_size(height, width, grid)
    assert patches.shape == (2, grid[0] * grid[1], 3, h + 2 * halo, w + 2 * halo)
    inner = patches[..., halo : halo + h, halo : halo + w]
    assert torch.equal(stitch(inner, grid, height, width), images)


def test_patches_run_row_by_row_and_the_halo_is_the_neighbour():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert split(image, (2, 2))[0, 1, 0].tolist() == [[2, 3], [6, 7]]
    assert split(image, (2, 2), halo=1)[0, 0, 0].tolist() == [
        [0, 0, 1, 2],
        [0, 0, 1, 2],
        [4, 4, 5, 6],
        [8, 8, 9, 10],
    ]


def test_padding_repeats_the_edge_of_images_and_is_ignored_in_masks():
    image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    assert pad_to_grid(image, (1, 2)).tolist() == [[[[1, 2, 3, 3]]]]
    masks = split_mask(torch.tensor([[[0, 1, 2]]], dtype=torch.uint8), (1, 2))
    assert masks.tolist() == [[[[0, 1]], [[2, IGNORE]]]]


def test_confusion_by_hand():
    truth = torch.tensor([[[0, 0, 1], [1, 2, IGNORE]]])
    predicted = torch.tensor([[[0, 1, 1], [0, 2, 2]]])
    assert confusion(predicted, truth, 3).tolist() == [[[1, 1, 0], [1, 1, 0], [0, 0, 1]]]


def test_confusion_keeps_leading_dimensions_apart():
    truth = torch.randint(0, 3, (4, 5, 6, 7))
    predicted = torch.randint(0, 3, (4, 5, 6, 7))
    together = confusion(predicted, truth, 3)
    assert together.shape == (4, 5, 3, 3)
    assert torch.equal(together[2, 3], confusion(predicted[2, 3], truth[2, 3], 3))


def test_hard_labels_are_the_argmax_and_the_first_of_equals():
    scores = torch.randn(2, 5, 7, 8)
    assert torch.equal(hard_labels(scores).long(), scores.argmax(dim=1))
    assert hard_labels(torch.zeros(1, 3, 2, 2)).tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_hard_labels_are_the_same_on_onnx_runtime(classes):
    class Labels(torch.nn.Module):
        def forward(self, scores):
            return hard_labels(scores)

    scores = torch.randint(0, 3, (2, classes, 7, 8)).float()  # many are equal
    run = runtime_for(Device(name="here", local=True, runtime="onnx"), torch.device("cpu"))(Labels(), [(scores,)])
    found = torch.as_tensor(run(scores))
    assert found.dtype == torch.uint8 and torch.equal(found, hard_labels(scores))


def test_a_patch_has_cells_of_the_stride_and_at_most_sixteen():
    assert cell_size(224, 256, (4, 4), 4) == (4, 4)  # 56 x 64
    assert cell_size(180, 244, (4, 4), 4) == (4, 4)  # 45 x 61
    assert cell_size(1024, 1016, (8, 8), 4) == (8, 8)  # 128 x 127: 16 x 16
    assert cell_size(47, 2, (1, 1), 4) == (4, 2)
    for side in range(1, 300):
        assert -(-side // cell_size(side, side, (1, 1), 4)[0]) <= 16


def test_one_pixel_of_every_cell_is_sampled():
    maps = torch.arange(6 * 8.0).reshape(1, 1, 6, 8)  # 2 x 2 patches of 3 x 4, cells of 3 x 4: rows 1 and 4
    assert sampled(maps, (2, 2), 4)[0, 0].tolist() == [[10.0, 14.0], [34.0, 38.0]]
    assert sampled(maps[..., :5, :], (2, 2), 4)[0, 0].tolist() == [[10.0, 14.0], [34.0, 38.0]]  # the last row again
    assert torch.equal(sampled(maps, (2, 2), 1), maps)
    several = torch.arange(2 * 3 * 6 * 8.0).reshape(2, 3, 6, 8)
    assert torch.equal(sampled(several, (2, 2), 4), several[:, :, [1, 4]][..., [2, 6]])
    stripes = torch.arange(16.0).reshape(1, 1, 16, 1) % 2
    assert sampled(stripes, (1, 1), 4).flatten().tolist() == [0.0, 1.0, 0.0, 1.0]  # rows 2, 5, 10, 13
    # Two patches of 3, cells of 2: pixels 1 and, at its edge, 2 of each.
    assert sampled(maps[..., :1, :6], (1, 2), 2)[0, 0].tolist() == [[1.0, 2.0, 4.0, 5.0]]


def test_the_moments_of_a_cell_are_of_its_middle_row_inside_its_patch():
    maps = torch.arange(6 * 8.0).reshape(1, 1, 6, 8)  # rows 1 and 4
    mean, square = row_moments(maps, (2, 2), 4)
    assert mean[0, 0].tolist() == [[9.5, 13.5], [33.5, 37.5]]
    assert square[0, 0, 0].tolist() == [(64 + 81 + 100 + 121) / 4, (144 + 169 + 196 + 225) / 4]
    assert torch.equal(row_moments(maps, (2, 2), 1)[0], maps)
    # Every image and channel for itself, but one mean square for all channels.
    colours = torch.cat([maps, 2 * maps], dim=1)
    means, squares = row_moments(torch.cat([colours, -colours]), (2, 2), 4)
    assert torch.equal(means, torch.stack([mean[0, 0], 2 * mean[0, 0], -mean[0, 0], -2 * mean[0, 0]]).view(2, 2, 2, 2))
    assert torch.equal(squares, (square * 5 / 2).expand(2, 1, 2, 2))
    # Two patches of 3, cells of 2: 0 and 1, then 2 twice; 3 and 4, then 5 twice.
    mean, square = row_moments(maps[..., :1, :6], (1, 2), 2)
    assert mean[0, 0].tolist() == [[0.5, 2.0, 3.5, 5.0]]
    assert square[0, 0].tolist() == [[0.5, 4.0, 12.5, 25.0]]


def test_the_moments_are_exact_under_autocast():
    """bf16 has eight bits: the mean of 1008 … 1011 would be 1008."""
    maps = 1000 + torch.arange(6 * 8.0).reshape(1, 1, 6, 8)  # rows 1 and 4
    with torch.autocast("cpu", torch.bfloat16):
        mean, square = row_moments(maps, (2, 2), 4)
        assert (maps[:, :, 1:2, :4] @ torch.full((4, 1), 0.25)).item() == 1008
    assert (mean.dtype, square.dtype) == (torch.float32, torch.float32)
    assert mean[0, 0].tolist() == [[1009.5, 1013.5], [1033.5, 1037.5]]
    assert square[0, 0, 0, 0].item() == (1008**2 + 1009**2 + 1010**2 + 1011**2) / 4


def test_what_only_stands_for_a_tensor_leaves_nothing_behind():
    maps = torch.arange(6 * 10.0).reshape(1, 1, 6, 10)  # 2 x 2 patches of 3 x 5: a size that no other test has
    with FakeTensorMode():
        assert sampled(torch.empty(1, 1, 6, 10), (2, 2), 5).shape == (1, 1, 2, 2)
    assert sampled(maps, (2, 2), 5)[0, 0].tolist() == [[12.0, 17.0], [42.0, 47.0]]
