import math

import pytest
import torch
import torch.nn.functional as F

from mapmend.losses.proportions import proportion_loss, square_cells

B, K, H, W = 2, 3, 11, 13


def case(seed=0, ignored=0.3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(B, K, H, W, generator=generator, requires_grad=True)
    target = torch.randint(K, (B, H, W), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    shares = torch.rand(B, K, H, W, generator=generator).softmax(1)
    return logits, target, shares


def cells_of(side=4.0, offset=(0.0, 0.0)):
    return square_cells(H, W, side, offset).expand(B, H, W)


def naive(logits, target, cells, shares, distance, weight):
    """Cell by cell and pixel by pixel, in plain numbers."""
    p = logits.detach().softmax(1)
    groups = {}
    for b in range(B):
        for row in range(H):
            for col in range(W):
                if target[b, row, col] != 255 and cells[b, row, col] >= 0:
                    groups.setdefault((b, int(cells[b, row, col])), []).append((b, row, col))
    total = 0.0
    for places in groups.values():
        predicted = [sum(float(p[b, k, r, c]) for b, r, c in places) / len(places) for k in range(K)]
        if shares is None:
            given = [sum(float(target[place] == k) for place in places) / len(places) for k in range(K)]
        else:
            given = [sum(float(shares[b, k, r, c]) for b, r, c in places) / len(places) for k in range(K)]
        if distance == "kl":
            apart = sum(q * math.log(q / x) for q, x in zip(given, predicted, strict=True) if q)
        else:
            apart = sum((q - x) ** 2 for q, x in zip(given, predicted, strict=True))
        total += apart * sum(float(weight[place]) for place in places)
    return total / sum(len(places) for places in groups.values())


@pytest.mark.parametrize("distance", ["kl", "squared"])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(("side", "offset"), [(4.0, (0.0, 0.0)), (3.3, (1.2, 2.0)), (1.0, (0.0, 0.0)), (50.0, (0, 0))])
def test_agrees_with_a_naive_loop(side, offset, mixed, distance):
    logits, target, shares = case()
    cells = cells_of(side, offset).clone()
    cells[1, :2] = -1
    weight = torch.rand(B, H, W, generator=torch.Generator().manual_seed(9))
    shares = shares if mixed else None
    value = proportion_loss(logits, target, cells, shares=shares, distance=distance, pixel_weight=weight)
    assert value.item() == pytest.approx(naive(logits, target, cells, shares, distance, weight), rel=1e-5)


def test_cells_of_one_pixel_give_cross_entropy():
    logits, target, _ = case(1)
    expected = F.cross_entropy(logits, target, ignore_index=255)
    torch.testing.assert_close(proportion_loss(logits, target, cells_of(1.0)), expected)


def test_it_does_not_matter_where_in_a_cell_a_class_is():
    logits, target, _ = case(2, ignored=0.0)
    block = (slice(None), slice(0, 4), slice(4, 8))
    shuffled = logits.detach().clone()
    inside = shuffled[:, :, 0:4, 4:8].reshape(B, K, 16)
    shuffled[:, :, 0:4, 4:8] = inside[..., torch.randperm(16, generator=torch.Generator().manual_seed(0))].view(
        B, K, 4, 4
    )
    cells = cells_of()
    assert len(cells[block].unique()) == 1
    torch.testing.assert_close(proportion_loss(shuffled, target, cells), proportion_loss(logits, target, cells))


def test_shares_that_are_met_cost_nothing():
    logits, target, _ = case(3)
    for distance in ("kl", "squared"):
        value = proportion_loss(logits, target, cells_of(), shares=logits.softmax(1), distance=distance)
        assert value.item() == pytest.approx(0, abs=1e-6)


def test_what_is_ignored_changes_nothing():
    logits, target, shares = case(4)
    other = logits.detach().clone().movedim(1, -1)
    other[target == 255] = 50.0
    other = other.movedim(-1, 1).requires_grad_()
    shares_too = shares.movedim(1, -1).clone()
    shares_too[target == 255] = 7.0
    values = [
        proportion_loss(logits, target, cells_of(), shares=shares),
        proportion_loss(other, target, cells_of(), shares=shares_too.movedim(-1, 1)),
    ]
    assert values[0].item() == values[1].item()
    [gradient] = torch.autograd.grad(values[1], other)
    assert not gradient.movedim(1, -1)[target == 255].any()


@pytest.mark.parametrize("distance", ["kl", "squared"])
def test_nothing_that_counts_gives_zero_with_a_gradient(distance):
    logits, target, _ = case(5)
    for labels, cells in [(torch.full_like(target, 255), cells_of()), (target, torch.full((B, H, W), -1))]:
        value = proportion_loss(logits, labels, cells, distance=distance)
        [gradient] = torch.autograd.grad(value, logits)
        assert value.item() == 0 and not gradient.any()


@pytest.mark.parametrize("distance", ["kl", "squared"])
def test_extreme_logits_give_finite_losses_and_gradients(distance):
    logits, target, _ = case(6)
    sure = (logits.detach() * 1e4).requires_grad_()
    value = proportion_loss(sure, target, cells_of(), distance=distance)
    [gradient] = torch.autograd.grad(value, sure)
    assert value.isfinite() and gradient.isfinite().all()


def test_square_cells():
    cells = square_cells(7, 10, 3, (1, 2))
    down, along = [0, 0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert cells.tolist() == [[4 * row + col for col in along] for row in down]
    assert square_cells(4, 6, 2.4)[0].tolist() == [0, 0, 1, 1, 1, 2]  # by pixel centres
