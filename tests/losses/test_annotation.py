"""Sanity of the annotation, and a toy with figures stated beforehand: 1024 cells, 4 classes, 17 % wrong labels."""

import pytest
import torch
import torch.nn.functional as F

from mapmend.losses.annotation import annotate, blend, most_confident
from mapmend.losses.cells import Cells

N, K = 1024, 4


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def cells_of(label, prediction, feature=None, mixture=None):
    """Cells of one image, one row."""
    feature = torch.zeros(len(label), 3) if feature is None else feature
    mixture = F.one_hot(label, prediction.shape[1]).float() if mixture is None else mixture
    return Cells(mixture, label, prediction, feature[None], torch.ones(1, 1, len(label), dtype=torch.bool), 1)


def toy(seed, wrong=0.17):
    """Truth, and cells of which the network is right for 72 %."""
    g = generator(seed)
    truth = torch.randint(K, (N,), generator=g)
    label = torch.where(torch.rand(N, generator=g) < wrong, (truth + torch.randint(1, K, (N,), generator=g)) % K, truth)
    prediction = (1.6 * F.one_hot(truth, K) + torch.randn(N, K, generator=g)).softmax(1)
    centres = F.normalize(torch.randn(K, 16, generator=g), dim=1)
    feature = F.normalize(centres[truth] + torch.randn(N, 16, generator=g) / 4, dim=1)
    return truth, cells_of(label, prediction, feature)


def auc(score, clean):
    above, below = score[clean][:, None], score[~clean]
    return float(((above > below).float() + 0.5 * (above == below).float()).mean())


@pytest.fixture(scope="module")
def toys():
    return [toy(seed) for seed in range(3)]


def mean_of_toys(toys, measure):
    return sum(measure(truth, cells) for truth, cells in toys) / len(toys)


def test_perfect_predictions_of_clean_labels_are_all_confident():
    truth = torch.randint(K, (300,), generator=generator())
    found = annotate(cells_of(truth, F.one_hot(truth, K).float()), generator(1))
    torch.testing.assert_close(found.soft, torch.ones(300), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.mixture, F.one_hot(truth, K).float(), atol=1e-4, rtol=0)
    assert most_confident(found.soft, truth, 0.5, K).all()


def test_permuted_labels_are_borne_out_by_chance():
    """The mean of d over the cells labelled c is about the share of c."""
    truth, cells = toy(3)
    label = torch.where(torch.rand(N, generator=generator(4)) < 0.5, 0, cells.label)
    label = label[torch.randperm(N, generator=generator(5))]
    found = annotate(cells_of(label, cells.prediction, cells.features[0]), generator(6))
    for name in range(K):
        here = label == name
        assert float(found.soft[here].mean()) == pytest.approx(float(here.float().mean()), abs=0.04)


@pytest.mark.parametrize(
    ("mu", "soft", "hard", "selected"),
    [(0.0, (0.87, 0.92), (0.49, 0.54), (0.0, 0.03)), (0.5, (0.90, 0.94), (0.78, 0.86), (0.55, 0.75))],
)
def test_the_soft_diagonal_finds_wrong_labels_and_the_hard_one_fails_by_ties(toys, mu, soft, hard, selected):
    found = [annotate(cells, generator(7), mu=mu, rounds=1) for _, cells in toys]
    clean = [cells.label == truth for truth, cells in toys]

    def mean(measure):
        return sum(measure(one, good) for one, good in zip(found, clean, strict=True)) / len(toys)

    assert soft[0] <= mean(lambda one, good: auc(one.soft, good)) <= soft[1]
    assert hard[0] <= mean(lambda one, good: auc((one.hard > 0.5).float(), good)) <= hard[1]
    assert selected[0] <= mean(lambda one, good: float((one.hard > 0.5).float().mean())) <= selected[1]


def test_assignment_is_better_than_the_prediction_and_worse_than_the_raw_label(toys):
    def right(values):
        return mean_of_toys(toys, lambda truth, cells: float((values(cells) == truth).float().mean()))

    of_label = mean_of_toys(
        toys, lambda truth, cells: auc(cells.prediction.gather(1, cells.label[:, None])[:, 0], cells.label == truth)
    )
    assert of_label == pytest.approx(0.91, abs=0.02)
    assert right(lambda cells: cells.prediction.argmax(1)) == pytest.approx(0.71, abs=0.02)
    assert right(lambda cells: annotate(cells, generator(8)).mixture.argmax(1)) == pytest.approx(0.79, abs=0.02)
    assert right(lambda cells: cells.label) == pytest.approx(0.83, abs=0.02)


def test_groups_of_one_bear_out_themselves():
    _, cells = toy(9)
    found = annotate(cells, generator(), group=1)
    for values, expected in ((found.soft, 1), (found.hard, 1), (found.mixture, cells.mixture)):
        torch.testing.assert_close(values, torch.ones_like(values) * expected)


@pytest.mark.parametrize("count", [1, 2, 7, 257, 700])
@pytest.mark.parametrize("shuffle", [True, False])
def test_any_number_of_cells(count, shuffle):
    g = generator(count)
    mixture = torch.rand(count, K, generator=g).softmax(1)
    cells = cells_of(mixture.argmax(1), torch.rand(count, K, generator=g).softmax(1), mixture=mixture)
    found = annotate(cells, g, shuffle=shuffle)
    assert torch.isfinite(found.soft).all()
    assert ((found.soft >= 0) & (found.soft <= 1 + 1e-5)).all()
    torch.testing.assert_close(found.mixture.sum(1), torch.ones(count))
    # a column sums to one as well: over all cells, labels are handed out as often as there are
    torch.testing.assert_close(found.mixture.sum(0), mixture.sum(0), rtol=2e-3, atol=2e-3)


def test_neighbours_are_grouped_as_they_lie():
    _, cells = toy(10)
    halves = [
        cells_of(cells.label[part], cells.prediction[part], cells.features[0][part])
        for part in (slice(0, 512), slice(512, N))
    ]
    whole = annotate(cells, generator(), shuffle=False, group=512)
    apart = [annotate(half, generator(), shuffle=False, group=512) for half in halves]
    torch.testing.assert_close(whole.soft, torch.cat([one.soft for one in apart]), atol=1e-3, rtol=0)


def test_equal_draws_give_equal_bits_and_others_other_groups():
    _, cells = toy(11)
    one, same, other = (annotate(cells, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.soft, same.soft)
    assert not torch.equal(one.soft, other.soft)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_each_class_has_its_own_quantile(share):
    score = torch.rand(200, generator=generator(12))
    label = torch.randint(3, (200,), generator=generator(13)) + torch.tensor([0, 2]).repeat(100)  # class 5 has none
    chosen = most_confident(score, label, share, 6)
    for name in label.unique():
        here = score[label == name]
        expected = here >= torch.quantile(here, 1 - share) - 1e-4
        assert torch.equal(chosen[label == name], expected)


def test_ties_are_kept():
    score = torch.tensor([0.2, 0.7, 0.7, 0.7, 0.7 + 1e-6])
    assert most_confident(score, torch.zeros(5, dtype=torch.int64), 0.2, 2).tolist() == [False] + [True] * 4
    assert most_confident(score[:0], torch.zeros(0, dtype=torch.int64), 0.5, 2).shape == (0,)


def test_a_blend_is_a_geometric_mean():
    p = torch.rand(1, 3, 2, 2, generator=generator(14)).softmax(1)
    mixture = torch.rand(1, 3, 2, 2, generator=generator(15)).softmax(1)
    raw = p**0.3 * mixture**0.7
    torch.testing.assert_close(blend(p.log(), mixture, 0.3), raw / raw.sum(1, keepdim=True))
    certain = F.one_hot(torch.zeros(1, 2, 2, dtype=torch.int64), 3).movedim(-1, 1).float()
    assert (blend(p.log(), certain, 0.5).argmax(1) == 0).all()
