import math

import pytest
import torch
import torch.nn.functional as F

from mapmend.losses.robust import cross_entropy

LOGITS = torch.tensor([2.0, 0.5, -1.0])


def _case(seed=0, shape=(2, 4, 5, 3), ignored=0.3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, requires_grad=True)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return logits, target


@pytest.mark.parametrize(("label", "expected"), [(0, 0.24131130), (1, 1.74131130)])
def test_published_values(label, expected):
    loss = cross_entropy(LOGITS.view(1, 3, 1, 1), torch.tensor(label).view(1, 1, 1))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_a_mean_over_labelled_pixels_by_hand():
    logits, target = _case()
    total, count = 0.0, 0
    for image, labels in zip(logits.tolist(), target.tolist(), strict=True):
        for row, labels_of_row in enumerate(labels):
            for col, label in enumerate(labels_of_row):
                if label != 255:
                    pixel = [image[k][row][col] for k in range(4)]
                    total += math.log(sum(math.exp(one) for one in pixel)) - pixel[label]
                    count += 1
    assert cross_entropy(logits, target).item() == pytest.approx(total / count, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.2, 1.0, 3.0, 0.0])])
def test_agrees_with_torch_on_weights_and_smoothing(weight, smoothing):
    logits, target = _case(1)
    expected = F.cross_entropy(logits, target, weight, ignore_index=255, label_smoothing=smoothing)
    ours = cross_entropy(logits, target, weight=weight, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (expected, ours)]
    torch.testing.assert_close(*gradients)


def test_what_is_ignored_changes_neither_value_nor_gradient():
    logits, target = _case(2)
    other = logits.detach().clone()
    other.movedim(1, -1)[target == 255] = 1e6
    other.requires_grad_()
    losses = [cross_entropy(one, target) for one in (logits, other)]
    assert losses[0].item() == losses[1].item()
    gradient = torch.autograd.grad(losses[1], other)[0]
    assert not gradient.movedim(1, -1)[target == 255].any()


@pytest.mark.parametrize("weight", [None, torch.tensor([0.0, 1.0, 1.0, 1.0])])
def test_nothing_that_counts_gives_zero_with_a_gradient(weight):
    logits, target = _case(3)
    target = torch.full_like(target, 255 if weight is None else 0)
    loss = cross_entropy(logits, target, weight=weight, label_smoothing=0.1 if weight is None else 0.0)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_memory_layout_and_half_precision_do_not_matter():
    logits, target = _case(4, shape=(2, 4, 16, 16))
    loss = cross_entropy(logits, target)
    assert torch.equal(loss, cross_entropy(logits.contiguous(memory_format=torch.channels_last), target))
    half = cross_entropy(logits.bfloat16(), target)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss.item(), rel=1e-2)
