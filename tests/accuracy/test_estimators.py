"""Estimators against the papers' worked examples, against each other, and against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapmend.accuracy.estimators import UNDEFINED, olofsson
from mapmend.accuracy.stratified import clusters, model_assisted, stehman, stratified_mean, stratified_ratio
from mapmend.core.errors import SampleError

Z = 1.959963984540054
DEFORESTATION = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
PIXELS = [200_000, 150_000, 3_200_000, 6_450_000]
HECTARES = 900_000
SIZES_C = [40_000, 30_000, 20_000, 10_000]
MAP_C = "A" * 7 + "B" * 3 + "A" + "B" * 11 + "C" * 6 + "BB" + "D" * 10
TRUTH_C = "AAAAACBABC" + "ABBBBBAABB" + "CCCCCDDBBA" + "DDDDDDDCCB"


def units_c():
    classes = {letter: index for index, letter in enumerate("ABCD")}
    return np.repeat(range(4), 10), [classes[c] for c in MAP_C], [classes[c] for c in TRUTH_C]


def numbers(found, part="value"):
    """All estimates, or errors, in one list; None as NaN."""
    flat = [found.overall, *found.users, *found.producers, *found.areas, *(cell for row in found.cells for cell in row)]
    return np.array([getattr(one, part) for one in flat], float)


def units_of(counts):
    """A matrix of counts as units whose stratum is their class in the map."""
    mapped, reference = np.nonzero(counts)
    times = np.asarray(counts)[mapped, reference]
    return np.repeat(mapped, times), np.repeat(mapped, times), np.repeat(reference, times)


def close(found, printed, last=5e-9):
    """Equal to the last printed digit; `last` is half of it, 5e-9 for eight places."""
    np.testing.assert_allclose(found, printed, rtol=0, atol=1.01 * last)


def halves(estimates, scale=1.0):
    return [Z * one.se * scale for one in estimates]


def test_olofsson_2014_table_8():
    found = olofsson(DEFORESTATION, PIXELS)
    close(found.overall.value, 0.9465118881)
    close(Z * found.overall.se, 0.0184832781)
    close([one.value for one in found.users], [0.88, 0.73333333, 0.92727273, 0.96307692])
    close(halves(found.users), [0.07403962, 0.10075516, 0.03974464, 0.02053312])
    close([one.value for one in found.producers], [0.7486614, 0.8471564, 0.93450891, 0.96160899])
    close(halves(found.producers), [0.21330593, 0.25440369, 0.03432379, 0.01836120])
    areas = [21157.76223776, 11686.15384615, 285769.93006993, 581386.15384615]
    close([one.value * HECTARES for one in found.areas], areas)
    close(halves(found.areas, HECTARES), [6157.52123809, 3755.75701122, 15509.55130131, 16281.35717299])


def test_olofsson_2013_example_1():
    pixels = [22353, 1122543, 610228]
    found = olofsson([[97, 0, 3], [3, 279, 18], [2, 1, 97]], pixels)
    np.testing.assert_allclose(
        [one.value * sum(pixels) for one in found.areas], [45112.4, 1050067.27, 659944.33], atol=5e-3
    )
    np.testing.assert_allclose(
        [one.se * sum(pixels) for one in found.areas], [10751.4045, 17652.04375, 18635.85587], atol=5e-5
    )
    np.testing.assert_allclose(found.overall.value, 0.9444167819, atol=5e-11)
    np.testing.assert_allclose([one.value for one in found.producers], [0.48063082, 0.99418868, 0.8969259], atol=5e-8)


def test_stehman_2014():
    found = stehman(*units_c(), SIZES_C, 4)
    np.testing.assert_allclose(found.overall.value, 0.63, atol=1e-12)
    np.testing.assert_allclose([one.value for one in found.areas], [0.35, 0.34, 0.20, 0.11], atol=1e-12)
    np.testing.assert_allclose([found.users[1].value, found.producers[1].value], [0.57446809, 0.79411765], atol=5e-9)
    errors = [found.overall.se, found.areas[0].se, found.users[1].se, found.producers[1].se]
    np.testing.assert_allclose(errors, [0.08464219, 0.08224780, 0.12478225, 0.11654791], atol=5e-9)


def test_a_ratio_by_the_paper_s_own_terms():
    stratum, mapped, reference = units_c()
    y = np.equal(mapped, 1) & np.equal(reference, 1)
    x = np.equal(reference, 1)
    ratio = sum(n * y[stratum == h].mean() for h, n in enumerate(SIZES_C)) / sum(
        n * x[stratum == h].mean() for h, n in enumerate(SIZES_C)
    )
    total = sum(n * x[stratum == h].mean() for h, n in enumerate(SIZES_C))
    variance = 0.0
    for h, size in enumerate(SIZES_C):
        table = np.cov(y[stratum == h].astype(float), x[stratum == h].astype(float))
        spread = table[0, 0] + ratio**2 * table[1, 1] - 2 * ratio * table[0, 1]
        variance += size**2 * (1 - 10 / size) * spread / 10
    found = stratified_ratio(stratum, y, x, SIZES_C)
    np.testing.assert_allclose([found.value, found.se], [ratio, variance**0.5 / total], rtol=1e-12)


def matrices(least=0):
    """K×K counts with at least two samples a row, and sizes of the strata."""

    @st.composite
    def drawn(draw):
        size = draw(st.integers(2, 5))
        cell = st.integers(least, 30)
        counts = np.array(draw(st.lists(st.lists(cell, min_size=size, max_size=size), min_size=size, max_size=size)))
        counts[np.arange(size), np.arange(size)] += 2
        pixels = draw(st.lists(st.integers(1_000, 10**7), min_size=size, max_size=size))
        return counts, np.array(pixels)

    return drawn()


@settings(max_examples=40, deadline=None)
@given(matrices())
def test_strata_that_are_the_classes_give_the_same_by_both_forms(drawn):
    counts, pixels = drawn
    one, other = olofsson(counts, pixels), stehman(*units_of(counts), pixels, len(counts), correction=False)
    for part in ("value", "se"):
        np.testing.assert_allclose(numbers(one, part), numbers(other, part), rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(matrices(), st.randoms())
def test_the_order_of_the_classes_does_not_matter(drawn, random):
    counts, pixels = drawn
    order = list(range(len(counts)))
    random.shuffle(order)
    one, other = olofsson(counts, pixels), olofsson(counts[np.ix_(order, order)], pixels[order])
    for part in ("value", "se"):
        for kind in ("users", "producers", "areas"):
            before = [getattr(getattr(one, kind)[k], part) for k in order]
            np.testing.assert_allclose([getattr(each, part) for each in getattr(other, kind)], before, rtol=1e-9)
        np.testing.assert_allclose(getattr(one.overall, part), getattr(other.overall, part), rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(matrices(), st.integers(2, 1000))
def test_shares_do_not_depend_on_the_size_of_a_pixel(drawn, factor):
    counts, pixels = drawn
    one, other = olofsson(counts, pixels), olofsson(counts, pixels * factor)
    for part in ("value", "se"):
        np.testing.assert_allclose(numbers(one, part), numbers(other, part), rtol=1e-9, atol=1e-15)
    assert sum(each.value for each in one.areas) == pytest.approx(1, abs=1e-12)
    assert sum(each.value for row in one.cells for each in row) == pytest.approx(1, abs=1e-12)


def test_a_class_that_the_reference_lacks():
    found = olofsson([[8, 2, 0], [1, 19, 0], [3, 2, 0]], [1000, 3000, 500])
    assert (found.users[2].value, found.users[2].se) == (0, 0)
    assert found.producers[2] == UNDEFINED
    assert (found.areas[2].value, found.areas[2].se) == (0, 0)


def test_a_class_that_the_map_lacks():
    found = olofsson([[8, 1, 1], [1, 17, 2], [0, 0, 0]], [1000, 3000, 0])
    assert found.users[2] == UNDEFINED
    assert (found.producers[2].value, found.producers[2].se) == (0, 0)
    assert found.areas[2].value == pytest.approx(0.25 * 0.1 + 0.75 * 0.1)
    assert found.areas[2].se == pytest.approx((0.25**2 * 0.1 * 0.9 / 9 + 0.75**2 * 0.1 * 0.9 / 19) ** 0.5)


def test_one_sample_leaves_undefined_what_depends_on_it_and_gives_the_rest():
    found = olofsson([[8, 2, 0], [1, 18, 1], [0, 0, 1]], [1000, 3000, 500])
    assert found.users[0].se is not None and found.users[1].se is not None and found.users[2].se is None
    assert {found.overall.se, *(one.se for one in (*found.areas, *found.producers))} == {None}
    assert not np.isnan(numbers(found)).any()


def test_a_stratum_without_a_sample_leaves_undefined_what_depends_on_it_and_gives_the_rest():
    whole, found = olofsson([[8, 2], [3, 20]], [1000, 3000]), olofsson([[8, 2], [0, 0]], [1000, 3000])
    assert found.users == (whole.users[0], UNDEFINED) and found.cells == (whole.cells[0], (UNDEFINED, UNDEFINED))
    assert {found.overall, *found.areas, *found.producers} == {UNDEFINED}


def test_one_unit_in_a_stratum_of_units_is_undefined_unless_it_is_the_whole_stratum():
    assert stratified_mean([0, 0, 1], [0, 1, 1], [10, 5]).se is None
    assert stratified_mean([0, 0, 1], [0, 1, 1], [10, 5]).value == pytest.approx((10 * 0.5 + 5) / 15)
    whole = stratified_mean([0, 0, 1], [0, 1, 1], [10, 1])
    assert whole.se == pytest.approx(((10 / 11) ** 2 * (1 - 0.2) * 0.5 / 2) ** 0.5)


def test_a_census_has_no_error():
    assert stratified_mean([0, 0, 0, 1, 1], [1, 0, 1, 1, 0], [3, 2]).se == 0


def test_patches_are_the_units():
    """V = Σ W_h² (1 − f_h) s²_between,h / m_h of equal patches, and more than of pixels taken as independent."""
    rng = np.random.default_rng(1)
    patches, pixels = [6, 5], 16
    drawn = [60, 40]
    stratum_of = np.repeat([0, 1], patches)
    shares = rng.uniform(0.1, 0.9, len(stratum_of))
    patch = np.repeat(np.arange(len(stratum_of)), pixels)
    truth = (rng.random(len(patch)) < shares[patch]).astype(int)
    mapped = np.zeros(len(patch), int)
    shuffled = rng.permutation(len(patch))
    found = clusters(patch[shuffled], stratum_of[patch][shuffled], mapped[shuffled], truth[shuffled], drawn, 2)
    means = truth.reshape(-1, pixels).mean(axis=1)
    variance = sum(
        (drawn[h] / 100) ** 2 * (1 - patches[h] / drawn[h]) * means[stratum_of == h].var(ddof=1) / patches[h]
        for h in (0, 1)
    )
    assert found.areas[1].se == pytest.approx(variance**0.5)
    assert found.areas[1].value == pytest.approx(0.6 * means[:6].mean() + 0.4 * means[6:].mean())
    alone = stehman(stratum_of[patch], mapped, truth, np.array(drawn) * pixels, 2)
    assert found.areas[1].se > alone.areas[1].se


def test_a_good_model_makes_the_error_small_and_no_model_changes_what_is_estimated():
    """Many draws from a population that is known: the difference estimator is unbiased with any predictions."""
    rng = np.random.default_rng(2)
    chance = rng.beta(0.2, 0.8, 2000)
    truth = (rng.random(2000) < chance).astype(float)
    stratum = (chance > 0.5).astype(int)
    sizes = np.bincount(stratum)
    results = []
    for _ in range(300):
        sample = np.concatenate([rng.choice(np.nonzero(stratum == h)[0], 30, replace=False) for h in (0, 1)])
        found = model_assisted(stratum[sample], truth[sample], chance[sample], chance.mean(), sizes)
        plain = stratified_mean(stratum[sample], truth[sample], sizes)
        results.append((found.value, found.se, plain.se))
    value, error, plain = np.array(results).T
    assert abs(value.mean() - truth.mean()) < 4 * value.std() / 300**0.5
    assert error.mean() == pytest.approx(value.std(), rel=0.15)
    assert error.mean() < 0.95 * plain.mean()


@pytest.mark.parametrize(
    "counts, sizes, words",
    [
        ([[1, 2, 3], [4, 5, 6]], [10, 20], "2 × 3"),
        ([[5]], [10], "1 × 1"),
        ([[5, 1], [2, 8]], [100, 200, 300], "sizes of 3 strata"),
        ([[5, -1], [2, 8]], [100, 200], "-1 is no count"),
        ([[5, 1.5], [2, 8]], [100, 200], "1.5 is no count"),
        ([[5, float("nan")], [2, 8]], [100, 200], "nan is no count"),
        ([[5, 1], [2, 8]], [100, -200], "-200 is no size"),
        ([[0, 0], [0, 0]], [100, 200], "no sample"),
        ([[5, 1], [2, 8]], [100, 0], "10 samples, and its stratum 0"),
        ([[0, 0], [0, 0]], [0, 0], "empty"),
    ],
)
def test_counts_that_say_nothing_are_refused(counts, sizes, words):
    with pytest.raises(SampleError, match=words):
        olofsson(counts, sizes)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"stratum": [0, 0, 2, 1]}, "stratum that does not exist"),
        ({"stratum": [0, 0, 0, 0]}, "stratum 1 has no sample"),
        ({"mapped": [0, 1, 1, 3]}, "class that does not exist"),
        ({"reference": [0, 1, -1, 1]}, "class that does not exist"),
        ({"reference": [0, 1, 1]}, "differ in number"),
        ({"mapped": [0, 1, 1.0, 1]}, "index"),
        ({"sizes": [10, 0]}, "no units"),
        ({"sizes": [10, 1]}, "more samples than units"),
    ],
)
def test_units_that_do_not_fit_are_refused(change, words):
    good = {"stratum": [0, 0, 1, 1], "mapped": [0, 1, 1, 1], "reference": [0, 1, 1, 0], "sizes": [10, 20]}
    assert stehman(**good, classes=2).overall.value is not None
    with pytest.raises(SampleError, match=words):
        stehman(**{**good, **change}, classes=2)


def test_a_patch_in_two_strata_is_refused():
    with pytest.raises(SampleError, match="two strata"):
        clusters([7, 7, 8, 8], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [10, 20], 2)


def test_a_stratum_of_one_unit_that_was_looked_at_takes_no_standard_error_away():
    found = olofsson([[1, 0], [10, 90]], [1, 10_000])
    alone = olofsson([[0, 0], [10, 90]], [0, 10_000])
    assert found.users[0].se == 0
    assert found.areas[0].se == pytest.approx(alone.areas[0].se, rel=1e-3)
    assert olofsson([[1, 0], [10, 90]], [2, 10_000]).areas[0].se is None
