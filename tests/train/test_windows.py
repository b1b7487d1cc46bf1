"""Windows of images: where they lie, what they hold, and that the hard ones lie where f_0 misses."""

import pytest
import torch
from torch import nn

from paser_opt.config import PipelineConfig, Study, TrainConfig, UNetConfig
from paser_opt.data import Part, load
from paser_opt.errors import DivergedError
from paser_opt.models import build_unet
from paser_opt.patches import IGNORE
from paser_opt.progress import Silent
from paser_opt.train.distill import HARD_CELLS, distill
from paser_opt.train.loop import generator
from paser_opt.train.windows import HARD_SHARE, draw_windows, missed

SIZE = UNetConfig(base=4, depth=1)
HARD = {"screen_crops": "hard", "windows": (2, 2)}


def part(height=12, width=20, count=3) -> Part:
    """Every pixel says where it is: image · 10,000 + row · 100 + column; its mask is its row."""
    at = torch.arange(height)[:, None] * 100 + torch.arange(width)
    images = torch.stack([at + 10_000 * i for i in range(count)]).float()[:, None]
    masks = torch.arange(height, dtype=torch.uint8)[None, :, None].expand(count, height, width).contiguous()
    return Part(images, masks, tuple(str(i) for i in range(count)))


def test_a_window_is_a_piece_of_one_image_with_its_mask():
    whole = part()
    windows = draw_windows(whole, (4, 6), 200, generator(0))
    images, masks = windows.of(whole.images)[:, 0], windows.of_masks(whole.masks)
    assert images.shape == masks.shape == (200, 4, 6)
    assert torch.equal(images - images[:, :1, :1], (torch.arange(4)[:, None] * 100 + torch.arange(6)).expand(200, 4, 6))
    assert torch.equal(images // 100 % 100, masks.float())
    corners = images[:, 0, 0].long()
    assert set((corners // 10_000).tolist()) == {0, 1, 2}
    assert set((corners // 100 % 100).tolist()) == set(range(9)) and set((corners % 100).tolist()) == set(range(15))


def test_beyond_the_image_its_edge_is_repeated_and_ignored():
    whole = part()
    windows = draw_windows(whole, (14, 20), 2, generator(0))
    images, masks = windows.of(whole.images)[:, 0], windows.of_masks(whole.masks)
    assert torch.equal(images[:, 12:], images[:, 11:12].expand(2, 2, 20))
    assert (masks[:, 12:] == IGNORE).all() and (masks[:, :12] != IGNORE).all()


def test_hard_windows_surround_their_cell():
    whole = part(24, 24)
    hard = torch.zeros(3, 3, 3)
    hard[1, 1, 1] = 1.0  # rows and columns 8 … 15 of image 1
    windows = draw_windows(whole, (6, 6), 1000, generator(0), hard=hard)
    corners = windows.of(whole.images)[:, 0, 0, 0].long()
    image, row, column = corners // 10_000, corners // 100 % 100, corners % 100
    # the middle, 3 px below the corner, lies in the cell
    inside = (image == 1) & (row >= 5) & (row <= 12) & (column >= 5) & (column <= 12)
    # of those that lie anywhere (19² places, 3 images), 8² places of one image do so too
    expected = HARD_SHARE + (1 - HARD_SHARE) * 64 / 361 / 3
    assert inside.double().mean().item() == pytest.approx(expected, abs=0.04)


class Says(nn.Module):
    """Class 0 with a probability of 3/4, whatever it sees."""

    config = SIZE

    def forward(self, images):
        logits = torch.zeros(len(images), 3, *images.shape[-2:])
        logits[:, 0] = torch.log(torch.tensor(6.0))  # 6 : 1 : 1
        return logits

    coarse = forward

    def full(self, maps, images):
        return maps


def test_what_is_missed_is_the_cross_entropy_of_each_cell():
    masks = torch.zeros(1, 4, 4, dtype=torch.uint8)
    masks[0, :2, 2:] = 1
    masks[0, 2:, :2] = IGNORE
    one = Part(torch.zeros(1, 1, 4, 4), masks, ("a",))
    found = missed(Says(), one, torch.tensor([1.0, 2.0, 1.0]), grid=(2, 2), precision="fp32")
    three_quarters, eighth = -torch.log(torch.tensor([0.75, 0.125])).double()
    expected = [4 * three_quarters, 4 * 2 * eighth, 0.0, 4 * three_quarters]
    assert found.flatten().tolist() == pytest.approx([float(one) for one in expected], abs=1e-4)


def test_a_single_unet_looks_for_what_it_misses_before_every_epoch_but_the_first(tiny_study, monkeypatch):
    data, asked, found = load(tiny_study.data), [], []

    def drawn(*arguments, hard=None):
        asked.append(hard)
        return draw_windows(*arguments, hard=hard)

    def looked(model, *arguments, **options):
        assert not model.training and options["grid"] == HARD_CELLS
        found.append(missed(model, *arguments, **options))
        return found[-1]

    monkeypatch.setattr("paser_opt.train.distill.draw_windows", drawn)
    monkeypatch.setattr("paser_opt.train.distill.missed", looked)
    model = build_unet(SIZE, seed=0)
    training = tiny_study.training.model_copy(update=HARD | {"distill_epochs": 3, "distill_batch": 4})
    distill(model, None, data, training, distill_weight=0, seed=0, device=torch.device("cpu"), progress=Silent())
    steps = len(data.pretrain.images)  # of 4 windows each, four of which make an image
    assert len(asked) == 3 * steps and asked[:steps] == [None] * steps
    assert all(one is found[0] for one in asked[steps : 2 * steps])
    assert all(one is found[1] for one in asked[2 * steps :])
    assert len(found) == 2 and found[0].shape == (steps, *HARD_CELLS) and not torch.equal(*found)


def test_hard_windows_need_f_0_first():
    hard = TrainConfig(crops="hard")
    with pytest.raises(ValueError, match="distill_weight must be 0"):
        PipelineConfig(models=(SIZE, SIZE), training=hard, distill_weight=0.01)
    assert PipelineConfig(models=(SIZE, SIZE), training=hard, distill_weight=0).screen_first


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_windows_and_a_norm_over_the_extent_do_not_go_together(norm):
    space = {"models": [{"base": 4, "depth": 1}, {"base": 4, "depth": 1}]}
    with pytest.raises(ValueError, match=r'choose norm = "batch", or training\.windows = "1x1"'):
        Study(name="toy", space=space, norm=norm, training={"windows": "2x2"})
    with pytest.raises(ValueError, match=r'or static\.0\.windows = "1x1"'):
        Study(name="toy", space=space, norm=norm, static=[{"base": 4, "depth": 1, "windows": "2x2"}])
    assert Study(name="toy", space=space, norm="batch", training={"windows": "2x2"}).training.windows == (2, 2)


def test_hard_windows_are_less_than_the_image():
    with pytest.raises(ValueError, match='screen_crops = "hard" chooses windows: give windows, such as "2x2"'):
        TrainConfig(screen_crops="hard")
    space = {"models": [{"base": 4, "depth": 1}, {"base": 4, "depth": 1}]}
    with pytest.raises(ValueError, match=r'static\.0\.crops = "hard" chooses windows'):
        Study(name="toy", space=space, norm="batch", static=[{"base": 4, "depth": 1, "crops": "hard"}])


def test_a_unet_that_has_no_numbers_left_is_a_diverged_training(tiny_study, monkeypatch):
    monkeypatch.setattr("paser_opt.train.distill.missed", lambda *_, **__: torch.full((1, 8, 8), float("nan")))
    training = tiny_study.training.model_copy(update=HARD | {"distill_epochs": 2})
    with pytest.raises(DivergedError, match="distill f_0 diverged: what it misses has no number; lower"):
        distill(
            build_unet(SIZE, seed=0), None, load(tiny_study.data), training, distill_weight=0, seed=0,
            device=torch.device("cpu"), progress=Silent(),
        )  # fmt: skip
