"""Planning against the published sample size, enumerated binomial samples, and what a search must keep."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from mapmend.accuracy.allocation import allocate, allocate_for_intervals
from mapmend.accuracy.intervals import mover_jeffreys_sum
from mapmend.accuracy.planning import (
    expected_half_width,
    half_widths,
    samples_for_accuracy,
    shares_from_users,
    smallest_sample,
)
from mapmend.core.errors import SampleError

PIXELS = [200000, 150000, 3200000, 6450000]
SHARES = [0.0, 55 / 75, 0.0, 1 / 325]  # of forest gain: Olofsson et al. 2014, table 8


def split(total):
    return allocate_for_intervals(PIXELS, np.array([SHARES]).T, [0], total, minimum=10)


def enumerated(sizes, shares, samples, level):
    """Half-width and probability of every sample there is."""
    weights = np.array(sizes) / sum(sizes)
    for hits in itertools.product(*(range(n + 1) for n in samples)):
        one = mover_jeffreys_sum(weights, hits, samples, level)
        chance = np.prod([binom.pmf(x, n, p) for x, n, p in zip(hits, samples, shares, strict=True)])
        yield (one.upper - one.lower) / 2, chance


def test_the_sample_size_that_the_paper_prints():
    assert samples_for_accuracy(PIXELS, [0.7, 0.6, 0.9, 0.95], 0.01) == 641  # Olofsson et al. 2014, section 5.1.1


def test_a_sample_size_worked_by_hand():
    # (.25·.3 + .75·.4)² / (.01² + (.25·.09 + .75·.16) / 4000) = .140625 / .000135625 = 1036.87
    assert samples_for_accuracy([1000, 3000], [0.9, 0.8], 0.01) == 1037
    assert samples_for_accuracy([100], [0.5], 1e-9) == 100  # a census is enough
    assert samples_for_accuracy([10**9, 10**9], [0.5, 0.5], 0.5) == 1


def test_wrong_pixels_are_shared_out_by_the_other_classes_sizes():
    found = shares_from_users([100, 200, 600], [0.8, 0.5, 1.0])
    assert found == pytest.approx(np.array([[0.8, 0.05, 0.15], [0.5 / 7, 0.5, 3 / 7], [0, 0, 1]]))


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("samples", [(6, 9), (1, 20)])
def test_simulated_widths_are_those_of_all_samples_there_are(samples, level):
    sizes, shares = [300, 700], [0.7, 0.08]
    widths, chances = np.array(list(enumerated(sizes, shares, samples, level))).T
    found = half_widths(sizes, shares, samples, level=level, draws=20000)
    assert found.mean() == pytest.approx(widths @ chances, rel=0.005)
    assert found.std() == pytest.approx(np.sqrt((widths - widths @ chances) ** 2 @ chances), rel=0.03)
    order = np.argsort(widths)
    for quantile in (0.3, 0.9):
        exact = widths[order][np.searchsorted(np.cumsum(chances[order]), quantile)]
        one = expected_half_width(sizes, shares, samples, level=level, quantile=quantile, draws=20000)
        assert one == pytest.approx(exact, rel=0.03)


def test_large_samples_have_the_classical_width():
    sizes, shares, samples = [300, 700], np.array([0.7, 0.08]), np.array([40000, 60000])
    se = np.sqrt(np.array([0.3, 0.7]) ** 2 @ (shares * (1 - shares) / samples))
    assert expected_half_width(sizes, shares, samples) == pytest.approx(1.959964 * se, rel=1e-3)


def test_strata_of_one_kind_have_the_width_of_that_sample_alone():
    [width] = np.unique(half_widths([1, 1], [0.0, 1.0], [10, 20], draws=50))
    one = mover_jeffreys_sum([0.5, 0.5], [0, 20], [10, 20])
    assert width == pytest.approx((one.upper - one.lower) / 2)


def test_a_seed_decides_and_levels_nest():
    first, second, third = (half_widths(PIXELS, SHARES, [50] * 4, seed=seed) for seed in (1, 1, 2))
    assert (first == second).all()
    assert not (first == third).all()
    assert (half_widths(PIXELS, SHARES, [50] * 4, seed=1, level=0.99) > first).all()


def test_relative_widths_are_those_of_the_area():
    whole = expected_half_width(PIXELS, SHARES, [75, 75, 165, 325])
    area = 11686.15384615 / 900000
    assert expected_half_width(PIXELS, SHARES, [75, 75, 165, 325], relative=True) == pytest.approx(whole / area)


@pytest.mark.parametrize("quantile", [None, 0.9])
def test_the_smallest_sample_meets_its_target_and_one_fewer_does_not(quantile):
    found = smallest_sample(PIXELS, SHARES, 0.3, split, least=40, relative=True, quantile=quantile)
    assert found.samples == split(found.total)
    assert found.half_width <= 0.3
    assert found.half_width == expected_half_width(PIXELS, SHARES, found.samples, relative=True, quantile=quantile)
    fewer = expected_half_width(PIXELS, SHARES, split(found.total - 1), relative=True, quantile=quantile)
    assert fewer > 0.3
    assert found == smallest_sample(PIXELS, SHARES, 0.3, split, least=40, relative=True, quantile=quantile)


def test_a_narrower_target_never_needs_fewer_samples():
    targets = np.geomspace(1, 0.2, 40)
    totals = [smallest_sample(PIXELS, SHARES, one, split, least=40, relative=True, draws=60).total for one in targets]
    assert totals == sorted(totals)
    assert totals[-1] > 4 * totals[0]


def test_a_promise_needs_more_samples_than_a_mean():
    mean, kept = (
        smallest_sample(PIXELS, SHARES, 0.3, split, least=40, relative=True, quantile=quantile).total
        for quantile in (None, 0.9)
    )
    assert kept > 1.1 * mean


def test_the_promised_width_is_what_samples_of_a_known_population_get():
    plan = smallest_sample(PIXELS, SHARES, 0.3, split, least=40, relative=True, quantile=0.8)
    random, weights = np.random.default_rng(7), np.array(PIXELS) / sum(PIXELS)
    area = weights @ np.array(SHARES)
    kept = 0
    for _ in range(500):
        hits = [random.binomial(n, p) for n, p in zip(plan.samples, SHARES, strict=True)]
        one = mover_jeffreys_sum(weights, hits, plan.samples)
        kept += (one.upper - one.lower) / 2 <= 0.3 * area
    assert 0.74 < kept / 500 < 0.9


def test_a_target_met_by_the_least_sample_takes_no_more():
    assert smallest_sample(PIXELS, SHARES, 10.0, split, least=40, relative=True).total == 40


def test_the_overall_accuracy_is_planned_the_same_way():
    right = [0.88, 55 / 75, 153 / 165, 313 / 325]
    plan = smallest_sample(PIXELS, right, 0.02, lambda total: allocate(PIXELS, total, "proportional"), least=8)
    # about (z · Σ W S / .02)² with proportional shares: z² Σ W S² / .02²
    variance = np.array(PIXELS) @ [p * (1 - p) for p in right] / sum(PIXELS)
    assert plan.total == pytest.approx(1.959964**2 * variance / 0.02**2, rel=0.05)


def test_out_of_reach_is_said_with_what_can_be_had():
    with pytest.raises(SampleError, match=r"1000 samples give a half-width of 0\.3\d*, and 0\.01 is wanted"):
        smallest_sample(PIXELS, SHARES, 0.01, split, least=40, most=1000, relative=True)


def test_a_small_map_cannot_give_more_than_it_has():
    with pytest.raises(SampleError, match="90 samples give a half-width"):
        smallest_sample([60, 30], [0.5, 0.1], 0.001, lambda n: allocate([60, 30], n, "proportional"), least=4)


WRONG = [
    (lambda: samples_for_accuracy([1], [0.9], 0), "standard error of 0"),
    (lambda: samples_for_accuracy([1], [1.2], 0.1), "not between 0 and 1"),
    (lambda: samples_for_accuracy([1, 2], [0.9], 0.1), "2 strata and 1 expected shares"),
    (lambda: samples_for_accuracy([0], [0.9], 0.1), "a stratum has no units"),
    (lambda: shares_from_users([5], [0.9]), "one class"),
    (lambda: half_widths([5, 5], [0.9, 0.1], [3]), "a stratum gets no sample"),
    (lambda: half_widths([5, 5], [0.9, 0.1], [3, 0]), "a stratum gets no sample"),
    (lambda: half_widths([5, 5], [0.9, 0.1], [3, 3], level=1.5), "level"),
    (lambda: half_widths([5, 5], [0.9, 0.1], [3, 3], draws=0), "no simulated samples"),
    (lambda: expected_half_width([5], [0.9], [3], quantile=1), "quantile 1"),
    (lambda: expected_half_width([5], [0.0], [3], relative=True), "nothing of the class is expected"),
    (lambda: smallest_sample([5], [0.1], 0, lambda n: (n,), least=2), "half-width of 0"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[f"{k} {message}" for k, (_, message) in enumerate(WRONG)])
def test_what_cannot_be_is_said(call, message):
    with pytest.raises(SampleError) as fault:
        call()
    assert message in str(fault.value)
