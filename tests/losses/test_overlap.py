import itertools

import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mapmend.losses.overlap import dice_loss, lovasz_softmax

LOSSES = pytest.mark.parametrize("loss_of", [dice_loss, lovasz_softmax])


def _case(seed, classes=3, pixels=(2, 4, 4), ignored=0.2):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(pixels[0], classes, *pixels[1:], generator=generator, dtype=torch.float32)
    target = torch.randint(classes, pixels, generator=generator)
    target[torch.rand(pixels, generator=generator) < ignored] = 255
    return logits, target


def _labelled(logits, target):
    """Probabilities and labels of the labelled pixels, as plain lists in double precision."""
    p = logits.double().softmax(1).movedim(1, -1)[target != 255]
    return p.tolist(), target[target != 255].tolist()


def _sure(guess, classes):
    """Logits of a network that is certain."""
    return 100.0 * torch.nn.functional.one_hot(guess, classes).movedim(-1, 1).float()


def _jaccard_loss(wrong, truth):
    """1 − IoU of a class when exactly the pixels `wrong` are wrong (Berman 2018, eq. 7)."""
    return len(wrong) / len(truth | wrong)


def _lovasz_by_definition(errors, truth):
    """Σ m_i [Δ(π_1..π_i) − Δ(π_1..π_{i−1})] over sets of pixels, errors falling (Berman 2018, eq. 9)."""
    order = sorted(range(len(errors)), key=lambda pixel: -errors[pixel])
    total, before = 0.0, 0.0
    for count in range(1, len(order) + 1):
        after = _jaccard_loss(set(order[:count]), truth)
        total, before = total + errors[order[count - 1]] * (after - before), after
    return total


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_is_the_extension_of_the_jaccard_set_function(seed):
    logits, target = _case(seed, classes=4)
    target[target == 2] = 255  # a class that is absent does not count
    p, labels = _labelled(logits, target)
    expected = []
    for k in sorted(set(labels)):
        truth = {pixel for pixel, label in enumerate(labels) if label == k}
        expected.append(
            _lovasz_by_definition([abs((label == k) - q[k]) for q, label in zip(p, labels, strict=True)], truth)
        )
    assert lovasz_softmax(logits, target).item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_dice_by_a_loop(seed):
    logits, target = _case(seed, classes=4)
    target[target == 1] = 255
    p, labels = _labelled(logits, target)
    expected = []
    for k in sorted(set(labels)):
        inside = sum(q[k] for q, label in zip(p, labels, strict=True) if label == k)
        expected.append(1 - 2 * inside / (sum(q[k] for q in p) + labels.count(k)))
    assert dice_loss(logits, target).item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_lovasz_agrees_with_another_library():
    logits, target = _case(7, classes=5, pixels=(2, 9, 8))
    other = smp.losses.LovaszLoss("multiclass", per_image=False, ignore_index=255)(logits, target)
    assert lovasz_softmax(logits, target).item() == pytest.approx(other.item(), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 2, 255])), min_size=1, max_size=24))
def test_certain_predictions_cost_what_the_sets_do(pairs):
    guess, target = (torch.tensor([list(column)]) for column in zip(*pairs, strict=True))
    known = [(g, t) for g, t in pairs if t != 255]
    jaccard, dice = [], []
    for k in sorted({t for _, t in known}):
        both = sum(g == t == k for g, t in known)
        guessed, true = sum(g == k for g, _ in known), sum(t == k for _, t in known)
        jaccard.append(1 - both / (guessed + true - both))
        dice.append(1 - 2 * both / (guessed + true))
    for loss_of, expected in ((lovasz_softmax, jaccard), (dice_loss, dice)):
        mean = sum(expected) / len(expected) if expected else 0.0
        assert loss_of(_sure(guess, 3), target).item() == pytest.approx(mean, abs=1e-6)


@LOSSES
def test_a_perfect_prediction_costs_nothing(loss_of):
    _, target = _case(8)
    assert loss_of(_sure(target.where(target != 255, 1), 3), target).item() == pytest.approx(0, abs=1e-6)


@LOSSES
def test_the_sums_run_over_the_batch(loss_of):
    logits, target = _case(9, pixels=(2, 4, 4), ignored=0.0)
    one_image = [torch.cat([*batch], -1).unsqueeze(0) for batch in (logits, target)]
    assert loss_of(*one_image).item() == pytest.approx(loss_of(logits, target).item(), rel=1e-6)


@LOSSES
def test_what_is_ignored_changes_neither_value_nor_gradient(loss_of):
    logits, target = _case(10)
    other = logits.clone()
    other.movedim(1, -1)[target == 255] = torch.tensor([50.0, -50.0, 0.0])
    other.requires_grad_()
    loss = loss_of(other, target)
    assert loss.item() == pytest.approx(loss_of(logits, target).item(), rel=1e-6)
    loss.backward()
    assert not other.grad.movedim(1, -1)[target == 255].any()
    assert other.grad.any()


@LOSSES
def test_no_labels_give_zero_with_a_gradient(loss_of):
    logits, target = _case(11)
    logits.requires_grad_()
    loss = loss_of(logits, torch.full_like(target, 255))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@LOSSES
def test_a_step_along_the_gradient_lowers_the_loss(loss_of):
    logits, target = _case(12, pixels=(2, 8, 8))
    logits.requires_grad_()
    loss = loss_of(logits, target)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert loss_of(logits.detach() - 0.1 * logits.grad, target) < loss


@LOSSES
def test_the_order_of_pixels_does_not_matter(loss_of):
    logits, target = _case(13, pixels=(1, 5, 5))
    for flip in itertools.chain.from_iterable(itertools.combinations((-2, -1), n) for n in (1, 2)):
        assert loss_of(logits.flip(flip), target.flip(flip)).item() == pytest.approx(loss_of(logits, target).item())
