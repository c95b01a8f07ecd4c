"""Designs whose strata come after the draw: errors against how much estimates vary between draws."""

import numpy as np
import pytest

from mapmend.accuracy.estimators import UNDEFINED
from mapmend.accuracy.stratified import accuracies, stratified_mean, stratified_ratio
from mapmend.accuracy.two_phase import post_stratified_ratio, two_phase_ratio

SIZES = np.array([200, 300, 500])
rng = np.random.default_rng(4)
STRATUM = np.repeat(range(3), SIZES)
X = (rng.random(1000) < np.array([0.9, 0.5, 0.1])[STRATUM]).astype(float)
Y = X * (rng.random(1000) < 0.7)


def check(draws, truth):
    """Unbiased, and the mean variance is that of the estimates."""
    value, variance = np.array([(one.value, one.se**2) for one in draws]).T
    assert abs(value.mean() - truth) < 4 * value.std() / len(value) ** 0.5 + 0.004
    assert variance.mean() == pytest.approx(value.var(), rel=0.15)


@pytest.mark.parametrize("below", [np.ones(1000), X], ids=["mean", "ratio"])
def test_post_stratified(below):
    above = Y if below is X else X
    draws = []
    for _ in range(1500):
        drawn = rng.choice(1000, 100, replace=False)
        draws.append(post_stratified_ratio(STRATUM[drawn], above[drawn], below[drawn], SIZES))
    check(draws, above.sum() / below.sum())


@pytest.mark.parametrize("below", [np.ones(1000), X], ids=["mean", "ratio"])
def test_two_phase(below):
    """A large population, of which the arrays are the law: units are drawn with replacement."""
    above = Y if below is X else X
    draws = []
    for _ in range(1500):
        first = rng.choice(1000, 150)
        counts = np.bincount(STRATUM[first], minlength=3)
        second = np.concatenate([first[STRATUM[first] == h][:12] for h in range(3)])
        draws.append(two_phase_ratio(STRATUM[second], above[second], below[second], counts))
    check(draws, above.sum() / below.sum())


def test_a_second_phase_of_all_is_a_simple_random_sample():
    first = rng.choice(1000, 80)
    found = two_phase_ratio(STRATUM[first], X[first], np.ones(80), np.bincount(STRATUM[first], minlength=3))
    assert found.value == pytest.approx(X[first].mean())
    assert found.se == pytest.approx((X[first].var(ddof=1) / 80) ** 0.5)


def test_a_census_has_no_error():
    assert post_stratified_ratio(STRATUM, X, np.ones(1000), SIZES).se == 0


def test_post_strata_weight_as_strata_do_and_cost_a_little():
    drawn = rng.choice(1000, 100, replace=False)
    args = (STRATUM[drawn], X[drawn], np.ones(100), SIZES)
    one, other = post_stratified_ratio(*args, correction=False), stratified_ratio(*args, correction=False)
    assert one.value == pytest.approx(other.value) == stratified_mean(*args[:2], SIZES).value
    proportional = np.concatenate(
        [rng.choice(np.flatnonzero(np.equal(STRATUM, h)), n) for h, n in enumerate((20, 30, 50))]
    )
    args = (STRATUM[proportional], X[proportional], np.ones(100), SIZES)
    ratio = post_stratified_ratio(*args, correction=False).se / stratified_ratio(*args, correction=False).se
    assert 1 < ratio < 1.05


def test_what_is_undefined():
    for design in (post_stratified_ratio, two_phase_ratio):
        once = design([0, 0, 1], [0, 1, 1], [1, 1, 1], [10, 20])
        assert once.value is not None and once.se is None
        assert design([0, 0, 1], [0, 0, 0], [0, 0, 0], [10, 20]) == UNDEFINED


def test_all_figures_of_a_map():
    drawn = rng.choice(1000, 200, replace=False)
    mapped, reference = X[drawn].astype(int), Y[drawn].astype(int)
    found = accuracies(mapped, reference, 2, lambda y, x: post_stratified_ratio(STRATUM[drawn], y, x, SIZES))
    assert found.producers[1].value == 1 and found.users[1].value == pytest.approx(0.7, abs=0.2)
    assert sum(one.value for one in found.areas) == pytest.approx(1)
