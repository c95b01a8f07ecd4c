"""Intervals against the worked example, a second library, inversion by search, and draws from known populations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq
from tests.accuracy.test_estimators import DEFORESTATION, HECTARES, PIXELS, SIZES_C, matrices, units_c, units_of

from mapmend.accuracy.estimators import Estimate, olofsson
from mapmend.accuracy.intervals import (
    Interval,
    counted,
    jeffreys,
    matrix_limits,
    mover_jeffreys_ratio,
    mover_jeffreys_ratios,
    mover_jeffreys_sum,
    mover_jeffreys_sums,
    of_limits,
    of_matrix,
    of_table,
    wald,
    z_of,
)
from mapmend.accuracy.stratified import stehman
from mapmend.core.errors import SampleError


def every(found):
    rest = (*found.users, *found.producers, *found.areas, *(cell for row in found.cells for cell in row))
    return [found.overall, *rest]


def same(one, other):
    assert (one is None) == (other is None)
    if one is not None:
        assert [one.lower, one.upper] == pytest.approx([other.lower, other.upper], abs=1e-12)


def estimates(found):
    rest = (*found.users, *found.producers, *found.areas, *(cell for row in found.cells for cell in row))
    return [one.value for one in (found.overall, *rest)]


def test_areas_of_the_worked_example():
    found = of_matrix(DEFORESTATION, PIXELS)
    lower = [17564.9015655, 9530.64653407, 269937.44172176, 564467.62294875]
    upper = [31258.01018998, 19627.84040439, 301784.87309854, 597797.64210220]
    np.testing.assert_allclose([one.lower * HECTARES for one in found.areas], lower, rtol=1e-13, atol=6e-9)
    np.testing.assert_allclose([one.upper * HECTARES for one in found.areas], upper, rtol=1e-13, atol=6e-9)


def test_users_accuracy_is_the_plain_jeffreys_interval():
    found = of_matrix(DEFORESTATION, PIXELS, 0.9)
    for k, row in enumerate(DEFORESTATION):
        law = stats.beta(row[k] + 0.5, sum(row) - row[k] + 0.5)
        assert [found.users[k].lower, found.users[k].upper] == pytest.approx([law.ppf(0.05), law.ppf(0.95)], rel=1e-9)


def test_a_cell_of_one_stratum_is_the_jeffreys_interval_times_its_weight():
    weight, law = PIXELS[2] / sum(PIXELS), stats.beta(11.5, 154.5)
    cell = of_matrix(DEFORESTATION, PIXELS).cells[2][3]
    assert [cell.lower, cell.upper] == pytest.approx([weight * law.ppf(0.025), weight * law.ppf(0.975)], rel=1e-9)


def mover(hits, misses, weights, tried, tail, prior):
    """T(p) = (1 − p) A − p B and the MOVER limits of it, spelt out stratum by stratum with the counts' correlation."""
    limits = []
    for found in (hits, misses):
        low = stats.beta(found + prior, tried - found + 1 - prior).ppf(tail)
        high = stats.beta(found + 1 - prior, tried - found + prior).ppf(1 - tail)
        limits.append((np.where(found == 0, 0, low), np.where(found == tried, 1, high)))

    def limit(p, upper):
        total, square = 0.0, 0.0
        for h in range(len(tried)):
            f, g = hits[h] / tried[h], misses[h] / tried[h]
            first = (1 - p) * weights[h] * abs(limits[0][upper][h] - f)
            second = p * weights[h] * abs(limits[1][not upper][h] - g)
            rho = -((f * g / ((1 - f) * (1 - g))) ** 0.5)
            total += weights[h] * ((1 - p) * f - p * g)
            square += first**2 + second**2 - 2 * rho * first * second
        return total + (1 if upper else -1) * square**0.5

    return limit


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_ratio_s_limits_are_where_the_contrast_s_interval_touches_zero(data):
    strata = data.draw(st.integers(1, 4))
    count = st.lists(st.integers(0, 12), min_size=strata, max_size=strata)
    hits, misses, others = (np.array(data.draw(count)) for _ in range(3))
    hits[0], misses[0] = hits[0] + 2, misses[0] + 2
    tried = hits + misses + others + 2
    weights = np.array(data.draw(st.lists(st.floats(0.05, 1), min_size=strata, max_size=strata)))
    prior = data.draw(st.sampled_from([0.5, 1 / 3]))
    found = mover_jeffreys_ratio(weights, hits, weights, misses, tried, 0.9, prior)
    limit = mover(hits, misses, weights, tried, 0.05, prior)
    a, b = weights @ (hits / tried), weights @ (misses / tried)
    assert found.lower == pytest.approx(brentq(limit, 0, a / (a + b), args=(False,)), abs=1e-9)
    assert found.upper == pytest.approx(brentq(limit, a / (a + b), 1, args=(True,)), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(matrices(), st.floats(0.01, 0.97), st.floats(0.005, 0.02))
def test_intervals_hold_their_estimate_and_nest_with_the_level(drawn, level, more):
    counts, pixels = drawn
    inner, outer = of_matrix(counts, pixels, level), of_matrix(counts, pixels, level + more)
    for value, one, other in zip(estimates(olofsson(counts, pixels)), every(inner), every(outer), strict=True):
        assert (value is None) == (one is None)
        if one is not None:
            assert -1e-12 <= other.lower <= one.lower + 1e-12 <= value + 2e-12
            assert value - 2e-12 <= one.upper - 1e-12 <= other.upper <= 1 + 1e-12


@settings(max_examples=20, deadline=None)
@given(matrices(), st.randoms())
def test_the_order_of_the_classes_does_not_matter(drawn, random):
    counts, pixels = drawn
    order = list(range(len(counts)))
    random.shuffle(order)
    one, other = of_matrix(counts, pixels), of_matrix(counts[np.ix_(order, order)], pixels[order])
    for kind in ("users", "producers", "areas"):
        for k, again in zip(order, getattr(other, kind), strict=True):
            same(getattr(one, kind)[k], again)
    same(one.overall, other.overall)
    for i, row in zip(order, other.cells, strict=True):
        for j, again in zip(order, row, strict=True):
            same(one.cells[i][j], again)


@settings(max_examples=20, deadline=None)
@given(matrices())
def test_units_whose_strata_are_the_classes_give_the_matrix_s_intervals(drawn):
    counts, pixels = drawn
    size = len(counts)
    table = counted(*units_of(counts), size, size)
    one, other = of_matrix(counts, pixels), of_table(table, pixels, possible=np.eye(size, dtype=bool))
    for pair in zip(every(one), every(other), strict=True):
        same(*pair)


def test_other_strata():
    stratum, mapped, reference = units_c()
    found = of_table(counted(stratum, mapped, reference, 4, 4), SIZES_C)
    plain = stehman(stratum, mapped, reference, SIZES_C, 4)
    for value, one in zip(estimates(plain), every(found), strict=True):
        assert 0 <= one.lower <= value <= one.upper <= 1
    hits = [np.sum((stratum == h) & np.equal(reference, 0)) for h in range(4)]
    assert found.areas[0] == mover_jeffreys_sum([0.4, 0.3, 0.2, 0.1], hits, [10] * 4)


def coverage(truth, weights, samples, draws=400):
    """How often MOVER-Jeffreys and Wald intervals hold the true producer's accuracies and areas, by class."""
    rng = np.random.default_rng(3)
    weights, truth = np.array(weights), np.array(truth)
    pixels = weights * 10**9
    areas = weights @ truth
    accuracies = weights * np.diag(truth) / areas
    held = np.zeros((2, 2, len(weights)))
    for _ in range(draws):
        counts = np.array([rng.multinomial(n, row) for n, row in zip(samples, truth, strict=True)])
        limits, points = of_matrix(counts, pixels), olofsson(counts, pixels)
        for which, (true, honest, classical) in enumerate(
            ((accuracies, limits.producers, points.producers), (areas, limits.areas, points.areas))
        ):
            for k, interval in enumerate(honest):
                usual = wald(classical[k])
                held[which, 0, k] += interval is None or interval.lower <= true[k] <= interval.upper
                held[which, 1, k] += usual is None or usual.lower <= true[k] <= usual.upper
    return held / draws


def test_coverage_on_the_design_of_the_worked_example():
    """The reference's finding: Wald covers the rare class's area 73 % of the time; MOVER-Jeffreys keeps 95 %."""
    truth = np.array(DEFORESTATION, float)
    truth /= truth.sum(axis=1, keepdims=True)
    (mover_pa, wald_pa), (mover_area, wald_area) = coverage(truth, np.array(PIXELS) / sum(PIXELS), [75, 75, 165, 325])
    assert mover_pa.min() > 0.92 and mover_area.min() > 0.92
    assert wald_area[1] < 0.80 and wald_pa[1] < 0.80


def test_coverage_of_rare_classes_with_few_samples():
    truth = [[0.7, 0.3, 0.0], [0.02, 0.96, 0.02], [0.05, 0.15, 0.8]]
    (mover_pa, wald_pa), (mover_area, _) = coverage(truth, [0.03, 0.9, 0.07], [40, 60, 40])
    assert mover_pa.min() > 0.92 and mover_area.min() > 0.92
    assert wald_pa.min() < 0.85


def test_a_class_that_the_reference_lacks_still_has_an_upper_limit_of_its_area():
    found = of_matrix([[8, 2, 0], [1, 19, 0], [3, 2, 0]], [1000, 3000, 500])
    assert found.producers[2] is None
    assert found.users[2] == Interval(0, pytest.approx(stats.beta(0.5, 5.5).ppf(0.975)))
    assert found.areas[2].lower == 0 and 0.05 < found.areas[2].upper < 0.2


def test_a_class_that_the_map_lacks_has_producers_accuracy_zero_for_certain():
    found = of_matrix([[8, 1, 1], [1, 17, 2], [0, 0, 0]], [1000, 3000, 0])
    assert found.users[2] is None and found.producers[2] == Interval(0, 0)
    assert 0 < found.areas[2].lower < 0.1 < found.areas[2].upper


def test_no_error_found_is_not_no_error():
    found = of_matrix([[10, 0], [0, 10]], [100, 900])
    assert found.overall.lower < 0.9 and found.overall.upper == 1
    assert found.users[0].upper == found.producers[0].upper == 1
    assert found.producers[0].lower < 0.5  # none of ten units of the large class was omitted: a fifth might be


def test_many_draws_at_once_are_each_draw_by_itself():
    rng = np.random.default_rng(8)
    truth = [[0.8, 0.1, 0.1], [0.02, 0.98, 0], [0.3, 0.2, 0.5]]
    pixels = [500, 9000, 700]
    draws = np.stack([rng.multinomial(n, row, size=(4, 5)) for n, row in zip([6, 40, 3], truth, strict=True)], axis=2)
    together = matrix_limits(draws, pixels, 0.8)
    assert together.overall[0].shape == (4, 5) and together.cells[1].shape == (4, 5, 3, 3)
    for i, j in np.ndindex(4, 5):
        alone = of_matrix(draws[i, j], pixels, 0.8)
        picked = {kind: tuple(limit[i, j] for limit in getattr(together, kind)) for kind in vars(together)}
        for pair in zip(every(alone), every(of_limits(type(together)(**picked))), strict=True):
            same(*pair)


def test_sums_and_ratios_of_many_draws():
    hits, misses = np.array([[3, 0, 9], [0, 0, 0], [5, 6, 2]]), np.array([[1, 2, 0], [0, 0, 0], [0, 0, 7]])
    samples, weights = np.array([[5, 6, 9], [5, 6, 9], [5, 7, 9]]), [0.2, 0.5, 0.3]
    sums = mover_jeffreys_sums(weights, hits, samples)
    ratios = mover_jeffreys_ratios(weights, hits, weights, misses, samples)
    for row in range(3):
        assert Interval(sums[0][row], sums[1][row]) == mover_jeffreys_sum(weights, hits[row], samples[row])
        ratio = mover_jeffreys_ratio(weights, hits[row], weights, misses[row], samples[row])
        assert ratio == (None if row == 1 else Interval(ratios[0][row], ratios[1][row]))


def test_what_depends_on_a_stratum_without_samples_is_undefined_and_the_rest_is_not():
    whole, lacking = [[8, 2, 0], [1, 17, 2], [0, 1, 4]], [[8, 2, 0], [1, 17, 2], [0, 0, 0]]
    pixels = [1000, 3000, 500]
    limits, full = matrix_limits(lacking, pixels), of_matrix(whole, pixels)
    found = of_limits(limits)
    assert found.overall is None and set(found.areas) == {None} and set(found.producers) == {None}
    assert found.users[2] is None and set(found.cells[2]) == {None}
    assert found.users[:2] == full.users[:2] and found.cells[:2] == full.cells[:2]
    own = np.eye(3, dtype=bool)
    table = own[:, :, None] * np.array(lacking)[:, None, :]
    for pair in zip(every(of_table(table, pixels, possible=own)), every(found), strict=True):
        same(*pair)
    assert set(every(of_table(table, pixels))) == {None}  # any class may be where nobody looked


def test_no_trials_leave_all_open():
    assert [limit.tolist() for limit in jeffreys([0, 1], [0, 2])] == [
        [0, pytest.approx(0.0609, abs=1e-4)],
        [1, pytest.approx(0.9391, abs=1e-4)],
    ]


@pytest.mark.parametrize(("hits", "trials"), [(3, 20), (19, 20), (40, 41)])
def test_smaller_priors_lead_from_jeffreys_to_clopper_and_pearson(hits, trials):
    exact = stats.binomtest(hits, trials).proportion_ci(0.9, method="exact")
    found = [np.ravel(jeffreys(hits, trials, 0.9, prior)) for prior in (0.5, 1 / 3, 1e-9)]
    assert found[0][0] > found[1][0] > found[2][0] and found[0][1] < found[1][1] < found[2][1]
    assert found[2] == pytest.approx([exact.low, exact.high], rel=1e-6)


def test_a_sample_stratified_after_the_draw_keeps_the_level():
    """A simple random sample whose strata's sizes are known; how many units fall into each is chance."""
    rng = np.random.default_rng(12)
    weights, truth = np.array([0.07, 0.93]), np.array([[0.8, 0.2], [0.01, 0.99]])
    numbers = rng.multinomial(200, weights, size=2000)
    draws = np.stack([rng.multinomial(numbers[:, h], truth[h]) for h in range(2)], axis=1)
    cells = weights[:, None] * truth
    limits = matrix_limits(draws, weights)
    for kind, true in (("areas", cells.sum(axis=0)), ("producers", np.diag(cells) / cells.sum(axis=0))):
        lower, upper = getattr(limits, kind)
        assert ((lower <= true) & (true <= upper)).mean(axis=0).min() > 0.925


def test_quantiles_and_the_classical_interval():
    assert z_of(0.95) == pytest.approx(1.959963984540054, abs=1e-15)
    assert z_of(0.9) == pytest.approx(stats.norm.ppf(0.95), abs=1e-14)
    assert wald(Estimate(0.9, 0.1), 0.95) == Interval(
        pytest.approx(0.7040036015459946), pytest.approx(1.0959963984540054)
    )
    assert wald(Estimate(0.9, None)) is None and wald(Estimate(None, None)) is None


def test_jeffreys_limits_at_the_ends():
    lower, upper = jeffreys([0, 10], [10, 10])
    assert lower[0] == 0 and upper[1] == 1
    assert upper[0] == pytest.approx(1 - lower[1]) == pytest.approx(stats.beta(0.5, 10.5).ppf(0.975))


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, float("nan")])
def test_levels_that_are_none(level):
    with pytest.raises(SampleError, match="level"):
        of_matrix(DEFORESTATION, PIXELS, level)
