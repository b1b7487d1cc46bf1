import pytest
import torch

from paser_opt.train.reward import gains, rewards

# One image, two patches, two models, two classes. Row = truth.
F0 = [[[2, 2], [0, 4]], [[4, 0], [2, 2]]]
F1 = [[[4, 0], [0, 4]], [[4, 0], [2, 2]]]
TABLE = torch.tensor([[[F0[0], F1[0]], [F0[1], F1[1]]]])


def test_patch_iou_gain_by_hand():
    # f_0 on patch 0: class 0 2/4, class 1 4/6; f_1: both 1.
    expected = 1 - (2 / 4 + 4 / 6) / 2
    assert gains(TABLE, TABLE, "iou").tolist() == [[[0, pytest.approx(expected)], [0, 0]]]


def test_accuracy_and_dice_gain_by_hand():
    assert gains(TABLE, TABLE, "accuracy")[0, 0, 1].item() == pytest.approx(1 - 6 / 8)
    dice = (2 * 2 / (4 + 2) + 2 * 4 / (4 + 6)) / 2  # 2·hit / (truth + prediction)
    assert gains(TABLE, TABLE, "dice")[0, 0, 1].item() == pytest.approx(1 - dice)


@pytest.mark.parametrize("kind", ["image_iou", "data_iou"])
def test_image_gain_by_hand(kind):
    # Whole image under f_0: [[6, 2], [2, 6]], IoU 6/10 twice; with patch 0 from f_1: [[8, 0], [2, 6]].
    before, after = 0.6, (8 / 10 + 6 / 8) / 2
    assert gains(TABLE, TABLE, kind)[0].tolist() == [[0, pytest.approx(2 * (after - before))], [0, 0]]


def test_the_steady_gain_by_hand():
    """Two patches of one image of two classes; accuracy gains 2/8 and −1/8 are 1 unit·(2, −1)/8 of IoU."""
    other = torch.tensor([[[F0[0], F1[0]], [F0[1], [[3, 1], [2, 2]]]]])
    iou, accuracy = gains(other, other, "data_iou")[0, :, 1], torch.tensor([2 / 8, -1 / 8])
    unit = (iou[0] * 2 / 8 - iou[1] / 8) / (4 / 64 + 1 / 64)
    expected = (iou + unit * accuracy) / 2
    assert gains(other, other, "steady_iou")[0, :, 1].tolist() == pytest.approx(expected.tolist())
    assert (gains(other, other, "steady_iou")[..., 0] == 0).all()


def test_soft_iou_reads_the_soft_table():
    soft = TABLE.float() / 2
    assert torch.allclose(gains(TABLE * 0 + 1, soft, "soft_iou"), gains(TABLE, TABLE, "iou"))


def test_equation_two():
    gain = torch.tensor([[[0.0, 0.4, 0.5]]])
    cost = torch.tensor([0.1, 0.3, 0.6])
    assert rewards(gain, cost, 0.5, charge_f0=False)[0, 0].tolist() == pytest.approx([0, 0.05, -0.05])
    assert rewards(gain, cost, 0.25, charge_f0=True)[0, 0].tolist() == pytest.approx([-0.025, 0.225, 0.225])
    assert cost[0] == pytest.approx(0.1)


def test_the_papers_break_even():
    """Parameter cost, λ = 0.5: f_1 pays from a gain of 0.0588, f_2 against f_1 only from 0.88 (spec)."""
    params = torch.tensor([16_571.0, 1_080_595.0, 17_275_459.0])
    cost = params / params.sum()
    assert cost[1].item() == pytest.approx(0.0588, abs=1e-4)
    assert (cost[2] - cost[1]).item() == pytest.approx(0.88, abs=2e-3)
