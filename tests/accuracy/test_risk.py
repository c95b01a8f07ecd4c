"""Strata of omission risk: the gain the literature's design gives, and cuts against trying all of them."""

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapmend.accuracy.allocation import allocate, expected_se
from mapmend.accuracy.risk import best_cuts, plan_risk
from mapmend.core.errors import SampleError

PIXELS = np.array([200000, 150000, 3200000, 6450000])
GAIN = np.array([0, 55 / 75, 0, 1 / 325])  # forest gain's share of each class: Olofsson et al. 2014, table 8
SAMPLES = (75, 75, 165, 325)
FLOOR = 1e-4


def cost(size, hits):
    """N S of a stratum."""
    if size == 0:
        return 0.0
    share = min(max(hits / size, FLOOR), 1 - FLOOR)
    return size * math.sqrt(share * (1 - share))


def cut_cost(counts, found, cuts, pooled):
    edges = [0, *cuts, counts.shape[1]]
    total = 0.0
    for number, (first, past) in enumerate(itertools.pairwise(edges)):
        rows = [[k] for k in range(len(counts))] if pooled and number == 0 else [list(range(len(counts)))]
        total += sum(cost(counts[row, first:past].sum(), found[row, first:past].sum()) for row in rows)
    return total


@functools.cache
def drawn_landscape():
    """A histogram of a map of four classes whose second is rare, with some of it hidden in the others."""
    random = np.random.default_rng(0)
    laws = [(0.3, 30), (8, 2), (0.05, 30), (0.03, 15)]
    steps = [np.rint(200 * random.beta(*law, pixels)).astype(int) for law, pixels in zip(laws, PIXELS, strict=True)]
    return np.array([np.bincount(one, minlength=201) for one in steps])


def landscape():
    return drawn_landscape().copy()


@pytest.mark.parametrize(("caught", "gain"), [(0.70, 0.24), (0.85, 0.35), (0.95, 0.46)])
def test_a_stratum_that_holds_most_omissions_cuts_the_standard_error_of_forest_gain(caught, gain):
    """5 % of stable non-forest hold 70, 85 or 95 % of its omissions; its 325 samples are split by Neyman."""
    sizes = [*PIXELS[:3], 0.05 * PIXELS[3], 0.95 * PIXELS[3]]
    shares = [*GAIN[:3], caught * GAIN[3] / 0.05, (1 - caught) * GAIN[3] / 0.95]
    spread = [math.sqrt(share * (1 - share)) for share in shares[3:]]
    split = allocate(sizes[3:], 325, "neyman", spread=spread)
    before, after = expected_se(PIXELS, GAIN, SAMPLES), expected_se(sizes, shares, [*SAMPLES[:3], *split])
    assert 1 - after / before == pytest.approx(gain, abs=0.005)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 3),
    st.integers(5, 11),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([0.0, 30.0]),
)
def test_no_cuts_are_better_than_those_found(seed, rows, steps, number, pooled, least):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 100, (rows, steps)).astype(float) * (random.random((rows, steps)) < 0.7)
    found = counts * np.sort(random.random(steps)) ** random.integers(1, 6)
    best = None
    for cuts in itertools.combinations(range(1, steps), number):
        parts = [counts[:, first:past].sum() for first, past in itertools.pairwise((0, *cuts, steps))]
        if all(part >= max(least, 1e-9) for part in (parts[1:] if pooled else parts)):
            one = cut_cost(counts, found, cuts, pooled)
            best = one if best is None else min(one, best)
    cuts = best_cuts(counts, found, number, least, pooled=pooled)
    if best is None:
        assert cuts is None
    else:
        assert cuts is not None and list(cuts) == sorted(set(cuts))
        assert cut_cost(counts, found, cuts, pooled) == pytest.approx(best, rel=1e-9)


def test_every_pixel_is_in_one_stratum_and_the_gain_is_that_of_the_strata():
    histogram = landscape()
    plan = plan_risk(histogram, 1, 640, minimum=20)
    index = plan.index(4)
    assert (index[histogram > 0] >= 0).all()
    sizes = [histogram[index == number].sum() for number in range(len(plan.strata))]
    assert sizes == [one.size for one in plan.strata]
    assert sum(plan.samples) == 640 and min(plan.samples) >= 20
    weights = np.array(sizes) / histogram.sum()
    parts = [w**2 * one.share * (1 - one.share) / one.samples for w, one in zip(weights, plan.strata, strict=True)]
    assert plan.se == pytest.approx(math.sqrt(sum(parts)))
    assert plan.gain > 0.15
    assert plan.cuts
    assert index[3, plan.cuts[-1]] == index[0, 200] != index[3, plan.cuts[-1] - 1]
    # the class keeps its own stratum, which no other pixel is in
    assert set(index[1]).isdisjoint(set(index[[0, 2, 3]].ravel()))


def test_a_population_drawn_from_the_probabilities_gives_the_standard_error_that_was_promised():
    histogram = landscape() // 40
    histogram[:, 1] += histogram[:, 0]
    histogram[:, 0] = 0  # a probability of none is not believed, which would make the promise too careful
    plan = plan_risk(histogram, 1, 640, minimum=10, doubt=0, least_pixels=100)
    random, index = np.random.default_rng(5), plan.index(4)
    truth = random.binomial(histogram, np.arange(201) / 200)
    weights = np.array([one.size for one in plan.strata]) / histogram.sum()
    hits = [truth[index == number].sum() for number in range(len(plan.strata))]
    shares = np.array(hits) / [one.size for one in plan.strata]
    drawn = random.binomial(plan.samples, shares, (4000, len(plan.strata))) / np.array(plan.samples)
    assert (drawn @ weights).std() == pytest.approx(plan.se, rel=0.06)


def test_the_standard_error_by_class_is_neymans():
    histogram = landscape()
    plan = plan_risk(histogram, 1, 640, doubt=0)
    shares = np.maximum(histogram @ np.arange(201) / 200 / PIXELS, FLOOR)
    spread = PIXELS / PIXELS.sum() @ np.sqrt(shares * (1 - shares))
    assert plan.se_by_class == pytest.approx(spread / math.sqrt(640), rel=1e-3)


def test_a_model_that_says_none_is_not_believed():
    histogram = np.zeros((2, 201))
    histogram[0, 0], histogram[0, 40] = 900000, 50000
    histogram[1, 200] = 50000
    sure, doubting = (plan_risk(histogram, 1, 500, doubt=doubt) for doubt in (0, 0.1))
    assert 1 <= doubting.cuts[0] <= 40
    low = [[one for one in plan.strata if one.map_class == 0] for plan in (sure, doubting)]
    overall = (50000 * 0.2 + 50000) / 10**6
    assert low[1][0].share == pytest.approx(0.1 * overall)
    assert low[1][0].samples > 2 * low[0][0].samples
    assert doubting.gain < sure.gain


def test_probabilities_that_tell_nothing_make_no_strata():
    histogram = np.zeros((3, 201))
    histogram[:, 20] = [5000, 90000, 200000]
    plan = plan_risk(histogram, 0, 300)
    assert plan.cuts == () and plan.own_cuts == ()
    assert [one.map_class for one in plan.strata] == [0, 1, 2]
    assert plan.gain == 0


def test_more_strata_only_where_they_pay():
    histogram = landscape()
    plans = [plan_risk(histogram, 1, 640, worth=worth) for worth in (0.0, 0.05, 0.5)]
    assert [len(plan.cuts) for plan in plans] == [3, 1, 0]
    assert plans[0].se < plans[1].se < plans[2].se
    assert plan_risk(histogram, 1, 640, worth=0, most_bands=0, split_own=False).gain == 0


def test_unless_told_otherwise_each_cut_saves_one_sample_in_a_hundred():
    plan = plan_risk(landscape(), 1, 640)
    assert len(plan.cuts) == 3 and plan.own_cuts == ()
    for number in range(3):
        fewer = plan_risk(landscape(), 1, 640, worth=0, most_bands=number, split_own=False)
        assert (fewer.se / plan.se) ** 2 > 1.01 ** (3 - number)


def test_the_own_stratum_is_split_where_half_of_it_is_doubtful():
    histogram = np.zeros((2, 201))
    histogram[0, 0] = 100000
    histogram[1, 100], histogram[1, 200] = 50000, 50000
    plan = plan_risk(histogram, 1, 400)
    assert plan.cuts == () and 100 < plan.own_cuts[0] <= 200
    assert plan_risk(histogram, 1, 400, split_own=False).own_cuts == ()


def test_small_strata_are_not_made():
    histogram = landscape()
    plan = plan_risk(histogram, 1, 640, least_pixels=2_000_000, worth=0)
    assert plan.cuts == () and plan.own_cuts == ()
    plan = plan_risk(histogram, 1, 640, least_pixels=900_000, worth=0)
    assert all(one.size >= 900_000 for one in plan.strata if one.map_class is None)


def test_a_class_that_the_map_lacks_is_looked_for_all_the_same():
    histogram = landscape()
    histogram[1] = 0
    plan = plan_risk(histogram, 1, 640)
    assert plan.cuts and plan.gain > 0.2
    assert 1 not in [one.map_class for one in plan.strata]


def test_areas_do_as_well_as_pixels():
    one, other = (plan_risk(landscape() * factor, 1, 640, least_pixels=1) for factor in (1, 0.9))
    assert (one.cuts, one.samples) == (other.cuts, other.samples)
    assert one.se == pytest.approx(other.se)


WRONG = [
    (lambda: plan_risk(np.ones((2, 200)), 0, 100), "makes no sense"),
    (lambda: plan_risk(-np.ones((2, 201)), 0, 100), "makes no sense"),
    (lambda: plan_risk(np.ones((2, 201)), 2, 100), "no class 2"),
    (lambda: plan_risk(np.eye(2, 201) * [[1], [0]], 0, 100), "nowhere probable"),
    (lambda: plan_risk(landscape(), 1, 7), "7 samples are too few"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_is_said(call, message):
    with pytest.raises(SampleError) as fault:
        call()
    assert message in str(fault.value)
