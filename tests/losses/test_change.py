import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F

from mapmend.losses.change import change_cross_entropy, change_dice


def case(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logit = torch.randn(2, 5, 6, generator=generator)
    change = torch.randint(2, (2, 5, 6), generator=generator)
    change[torch.rand(change.shape, generator=generator) < 0.3] = 255
    return logit, change


@pytest.mark.parametrize("seed", range(3))
def test_they_are_torchs_and_another_librarys_over_the_labelled_pixels(seed):
    logit, change = case(seed)
    known = change != 255
    expected = F.binary_cross_entropy_with_logits(logit[known], change[known].float())
    torch.testing.assert_close(change_cross_entropy(logit, change), expected)
    dice = smp.losses.DiceLoss("binary", ignore_index=255)(logit[:, None], change[:, None])
    torch.testing.assert_close(change_dice(logit, change), dice)


def test_dice_of_nothing_changed_and_both_of_nothing_labelled_are_zero_with_a_gradient():
    logit, change = case()
    logit.requires_grad_()
    assert change_dice(logit, change.where(change == 255, 0)) == 0
    nothing = torch.full_like(change, 255)
    loss = change_cross_entropy(logit, nothing) + change_dice(logit, nothing)
    loss.backward()
    assert loss == 0
    assert not logit.grad.any()


def test_what_is_ignored_changes_neither_value_nor_gradient():
    logit, change = case(1)
    other = logit.where(change != 255, 50.0).requires_grad_()
    loss = change_cross_entropy(other, change) + change_dice(other, change)
    torch.testing.assert_close(loss, change_cross_entropy(logit, change) + change_dice(logit, change))
    loss.backward()
    assert not other.grad[change == 255].any()
    assert other.grad[change != 255].all()
