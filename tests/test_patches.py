import pytest
import torch

from paser_opt.patches import IGNORE, confusion, hard_labels, pad_to_grid, patch_size, split, split_mask, stitch

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
