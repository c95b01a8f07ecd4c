"""Fitted calibrations against simulations whose answer is known, and against naive algorithms."""

import numpy as np
import pytest

from mapmend.accuracy.calibrating import cross_fit, fit
from mapmend.accuracy.calibration_error import calibration_metrics
from mapmend.core.calibration import KINDS
from mapmend.core.errors import MapmendError


def softmax(scores):
    weighed = np.exp(scores - scores.max(1, keepdims=True))
    return weighed / weighed.sum(1, keepdims=True)


def drawn(rng, p):
    """A label of each row, drawn with its probabilities."""
    return (rng.random((len(p), 1)) > p.cumsum(1)).sum(1).clip(max=p.shape[1] - 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_a_simulation_was_made_with_is_found(temperature):
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (40_000, 5))
    labels = drawn(rng, softmax(logits / temperature))
    assert fit("temperature", softmax(logits), labels).temperature == pytest.approx(temperature, rel=0.03)


def test_the_weights_and_biases_a_simulation_was_made_with_are_found():
    rng = np.random.default_rng(3)
    weights, biases = np.array([0.6, 1.0, 1.5]), np.array([0.5, 0.0, -0.5])
    given = softmax(rng.normal(0, 2, (60_000, 3)))
    labels = drawn(rng, softmax(weights * np.log(given) + biases))
    found = fit("vector", given, labels)
    np.testing.assert_allclose(found.weights, weights, atol=0.05)
    np.testing.assert_allclose(np.subtract(found.biases, np.mean(found.biases)), biases - biases.mean(), atol=0.06)


def naive_pav(x, y):
    """Value at each x: neighbours that fall are pooled until none does."""
    pools = [[sum(y[x == at]), int(sum(x == at)), [at]] for at in sorted(set(x))]
    place = 0
    while place + 1 < len(pools):
        if pools[place][0] / pools[place][1] > pools[place + 1][0] / pools[place + 1][1]:
            hits, count, places = pools.pop(place + 1)
            pools[place] = [pools[place][0] + hits, pools[place][1] + count, pools[place][2] + places]
            place = max(place - 1, 0)
        else:
            place += 1
    return {at: hits / count for hits, count, places in pools for at in places}


def test_the_isotonic_table_is_what_pooling_adjacent_violators_by_hand_gives():
    rng = np.random.default_rng(4)
    first = rng.integers(0, 41, 400) / 40
    p = np.stack([first, 1 - first], axis=1)
    labels = (rng.random(400) > first**2).astype(np.uint8)
    table = np.array(fit("isotonic", p, labels).tables[0])
    expected = naive_pav(first, labels == 0)
    for at, value in expected.items():
        assert np.interp(at, *table.T) == pytest.approx(np.clip(value, 1e-4, 1), abs=1e-9)
    assert (np.diff(table[:, 1]) >= 0).all() and len(table) <= 2 * len(set(expected.values()))


def test_a_class_without_a_label_keeps_what_it_had():
    rng = np.random.default_rng(5)
    p = rng.dirichlet([4, 3, 1], 2000)
    labels = rng.integers(0, 2, 2000)
    assert fit("vector", p, labels).weights[2] == 1 and fit("vector", p, labels).biases[2] == 0
    assert fit("isotonic", p, labels).apply(p.T)[2].mean() > 0.5 * p[:, 2].mean()


def test_every_kind_makes_an_overconfident_model_honest_on_blocks_it_has_not_seen():
    rng = np.random.default_rng(6)
    logits = rng.normal(0, 1.5, (30_000, 4))
    labels = drawn(rng, softmax(logits))
    found = cross_fit(softmax(3 * logits), labels, np.arange(30_000) // 1000)
    assert found.folds == 5 and found.blocks == 30
    before = calibration_metrics(found.before)
    assert before.ece_l1 > 0.1
    for kind in KINDS:
        after = calibration_metrics(found.after[kind])
        assert after.pixels == 30_000
        assert after.ece_l1 < 0.02 and after.nll < before.nll and after.brier < before.brier


def test_folds_of_blocks_see_what_folds_of_pixels_hide():
    """In each block of 500 like pixels one class is as good as drawn by lot: only pixel-wise folds can learn the lots.

    The truth is constant in a block and the model's probability too, so that a table fitted to half a block's pixels
    knows the other half. Judged so, isotonic calibration looks far better than on a block that it has not seen.
    """
    rng = np.random.default_rng(7)
    sure = np.repeat(rng.permutation(np.linspace(0.5, 0.99, 20)), 500)
    labels = np.repeat(rng.integers(0, 2, 20), 500)
    p = np.stack([sure, 1 - sure], axis=1)
    blocks = np.repeat(np.arange(20), 500)
    by_block = calibration_metrics(cross_fit(p, labels, blocks).after["isotonic"])
    by_pixel = calibration_metrics(cross_fit(p, labels, rng.integers(0, 20, 10_000)).after["isotonic"])
    assert by_block.nll > by_pixel.nll + 0.05 and by_block.brier > by_pixel.brier + 0.03


def test_a_single_block_says_nothing_of_others():
    rng = np.random.default_rng(8)
    p = rng.dirichlet(np.ones(3), 300)
    found = cross_fit(p, drawn(rng, p), np.zeros(300, int))
    assert found.after == {} and set(found.fitted) == set(KINDS) and found.before.pixels == 300


def test_labels_that_are_all_right_do_not_make_a_model_certain():
    p = np.tile([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], (500, 1))
    assert fit("temperature", p, p.argmax(1)).temperature == pytest.approx(0.2)


def test_no_labels_and_strange_labels_are_refused():
    p = np.full((4, 2), 0.5)
    for labels in (np.array([0, 1, 2, 0]), np.array([-1, 0, 0, 0])):
        with pytest.raises(MapmendError, match="outside"):
            fit("temperature", p, labels)
    with pytest.raises(MapmendError, match="no labelled"):
        fit("temperature", p[:0], np.zeros(0, int))
    with pytest.raises(ValueError, match="do not fit"):
        fit("temperature", p, np.zeros(3, int))
