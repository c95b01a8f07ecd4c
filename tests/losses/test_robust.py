import math

import pytest
import torch
import torch.nn.functional as F

from mapmend.losses.robust import (
    bootstrapping,
    cross_entropy,
    early_learning,
    forward_corrected,
    generalised_cross_entropy,
    mixture_cross_entropy,
    remember,
    reverse_cross_entropy,
    symmetric_cross_entropy,
)

LOGITS = torch.tensor([2.0, 0.5, -1.0])
T = torch.tensor([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.2, 0.2, 0.6]])
LOSSES = {
    "ce": cross_entropy,
    "rce": reverse_cross_entropy,
    "sce": symmetric_cross_entropy,
    "gce": generalised_cross_entropy,
    "soft": bootstrapping,
    "hard": lambda *given, **how: bootstrapping(*given, hard=True, **how),
    "mixture": lambda logits, target, **how: mixture_cross_entropy(logits, target, _mixture(target, logits), **how),
    "forward": lambda logits, target, **how: forward_corrected(logits, target, _transition(logits), **how),
    "elr": lambda logits, target, **how: early_learning(logits, target, torch.full_like(logits, 0.25), **how),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def _mixture(target, logits):
    """Mostly the label, a little of each class."""
    one = F.one_hot(target.where(target != 255, 0), logits.shape[1]).movedim(-1, 1)
    return 0.8 * one + 0.2 / logits.shape[1]


def _transition(logits):
    """The matrix of the published values, or for four classes one with zeros."""
    return T if logits.shape[1] == 3 else torch.eye(4) * 0.7 + torch.eye(4).roll(1, 0) * 0.3


def _case(seed=0, shape=(2, 4, 5, 3), ignored=0.3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, requires_grad=True)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return logits, target


PUBLISHED = {
    0: {"ce": 0.24131130, "rce": 0.85761186, "sce": 0.88174299, "gce": 0.22203109, "soft": 0.26032496},
    1: {"ce": 1.74131130, "rce": 3.29883843, "sce": 3.47296957, "gce": 1.00635742, "soft": 1.68532496},
}
PUBLISHED[0] |= {"hard": 0.24131130, "forward": 0.42490915}
PUBLISHED[1] |= {"hard": 1.44131130, "forward": 1.29222530}


def _by_hand(y):
    """The same losses of the one pixel, from its probabilities and the label as a distribution."""
    z = [math.exp(one) for one in LOGITS.tolist()]
    p = [one / sum(z) for one in z]
    given = [1.0 if k == y else 0.0 for k in range(3)]

    def against(q):
        return -sum(a * math.log(b) for a, b in zip(q, p, strict=True) if a)

    best = [1.0 if b == max(p) else 0.0 for b in p]
    rce = -sum(b * (0.0 if a else -4.0) for a, b in zip(given, p, strict=True))
    observed = [sum(p[i] * T[i, j].item() for i in range(3)) for j in range(3)]
    return {
        "ce": against(given),
        "rce": rce,
        "sce": 0.1 * against(given) + rce,
        "gce": (1 - p[y] ** 0.7) / 0.7,
        "soft": against([0.95 * a + 0.05 * b for a, b in zip(given, p, strict=True)]),
        "hard": against([0.8 * a + 0.2 * b for a, b in zip(given, best, strict=True)]),
        "forward": -math.log(observed[y]),
    }


@pytest.mark.parametrize("y", [0, 1, 2])
@pytest.mark.parametrize("name", PUBLISHED[0])
def test_published_values(name, y):
    value = LOSSES[name](LOGITS.view(1, 3, 1, 1), torch.tensor(y).view(1, 1, 1)).item()
    assert value == pytest.approx(_by_hand(y)[name], rel=1e-6)
    if y in PUBLISHED:
        assert value == pytest.approx(PUBLISHED[y][name], abs=2e-7)


def test_reverse_cross_entropy_is_another_loss_than_cross_entropy():
    logits, target = _case()
    assert reverse_cross_entropy(logits, target).item() != pytest.approx(cross_entropy(logits, target).item(), rel=0.01)
    wrong = LOGITS.view(1, 3, 1, 1) * 100
    assert reverse_cross_entropy(wrong, torch.full((1, 1, 1), 2)).item() == pytest.approx(4)  # and it is bounded


def test_a_transition_matrix_is_applied_from_the_left():
    """T·p instead of pᵀT would give .42048715."""
    value = forward_corrected(LOGITS.view(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long), T).item()
    assert abs(value - 0.42048715) > 0.004


def test_limits():
    logits, target = _case(6)
    ce = cross_entropy(logits, target)
    torch.testing.assert_close(generalised_cross_entropy(logits, target, q=1e-3), ce, rtol=2e-3, atol=0)
    torch.testing.assert_close(bootstrapping(logits, target, beta=1.0), ce)
    torch.testing.assert_close(forward_corrected(logits, target, torch.eye(4)), ce)
    torch.testing.assert_close(early_learning(logits, target, logits.softmax(1), strength=0.0), ce)
    smoothed = F.cross_entropy(logits, target, ignore_index=255, label_smoothing=0.2)
    torch.testing.assert_close(mixture_cross_entropy(logits, target, _mixture(target, logits)), smoothed)


@every_loss
def test_each_is_a_mean_over_labelled_pixels_one_by_one(loss):
    logits, target = _case(7, shape=(2, 4, 3, 3))
    pixels = [
        loss(logits[b, :, r, c].view(1, 4, 1, 1), target[b, r, c].view(1, 1, 1)).item()
        for b, r, c in (target != 255).nonzero().tolist()
    ]
    assert loss(logits, target).item() == pytest.approx(sum(pixels) / len(pixels), rel=1e-5)


@every_loss
def test_without_any_label_each_is_zero_with_a_gradient(loss):
    logits, target = _case(8)
    value = loss(logits, torch.full_like(target, 255))
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


@every_loss
def test_extreme_logits_give_finite_losses_and_gradients(loss):
    logits = torch.tensor([[200.0, -200.0, 0.0, 0.0], [0.0, 1e4, -1e4, 0.0]]).T.reshape(1, 4, 2, 1).requires_grad_()
    for label in range(4):
        value = loss(logits, torch.full((1, 2, 1), label))
        [gradient] = torch.autograd.grad(value, logits)
        assert value.isfinite() and gradient.isfinite().all()


@every_loss
def test_pixels_count_by_their_trust(loss):
    """One that weighs nothing is as if it had no label, but the divisor stays; a half teaches half as much."""
    logits, target = _case(9, ignored=0.0)
    each = torch.tensor([1.0, 0.0]).view(2, 1, 1)
    whole, half = loss(logits[:1], target[:1]), loss(logits, target, pixel_weight=each)
    assert half.item() == pytest.approx(whole.item() / 2, rel=1e-5)
    scaled = loss(logits, target, pixel_weight=torch.full(target.shape, 0.3))
    assert scaled.item() == pytest.approx(0.3 * loss(logits, target).item(), rel=1e-5)
    [gradient] = torch.autograd.grad(half, logits)
    assert not gradient[1].any()


@every_loss
def test_class_weights_are_those_of_a_weighted_mean(loss):
    logits, target = _case(10)
    weight = torch.tensor([0.2, 1.0, 3.0, 0.0])
    parts = [loss(logits, target.where(target == k, 255)) for k in range(4)]
    counts = [(target == k).sum() for k in range(4)]
    expected = sum(w * n * part for w, n, part in zip(weight, counts, parts, strict=True))
    total = sum(w * n for w, n in zip(weight, counts, strict=True))
    if loss is LOSSES["elr"]:  # whose regulariser knows no classes
        plain = early_learning(logits, target, torch.full_like(logits, 0.25), strength=1.0)
        regulariser = plain - cross_entropy(logits, target)
        assert loss(logits, target, weight=weight).item() == pytest.approx(
            (cross_entropy(logits, target, weight=weight) + 3 * regulariser).item(), rel=1e-5
        )
    else:
        torch.testing.assert_close(loss(logits, target, weight=weight), expected / total)


def test_early_learning_by_its_formula_and_its_direction():
    logits, target = _case(11, ignored=0.0)
    t = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).softmax(1)
    p = logits.softmax(1)
    regulariser = (1 - (p * t).sum(1)).log().mean()
    value = early_learning(logits, target, t)
    torch.testing.assert_close(value, cross_entropy(logits, target) + 3 * regulariser)
    [gradient] = torch.autograd.grad(value - cross_entropy(logits, target), logits)
    stepped = (logits - 50 * gradient).softmax(1)
    assert (stepped * t).sum(1).mean() > (p * t).sum(1).mean()


def test_the_memory_is_a_running_mean_without_a_gradient():
    p = torch.tensor([[1.0, 0.0]], requires_grad=True)
    t = remember(torch.tensor([[0.5, 0.5]]), p)
    assert t.tolist()[0] == pytest.approx([0.35 + 0.3 * (1 - 1e-4), 0.35 + 0.3 * 1e-4])
    assert not t.requires_grad


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
