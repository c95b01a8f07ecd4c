"""Properties that every estimator keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapmend.accuracy.design import SampleDesign, Stratum
from mapmend.assessing.frame import possible_classes
from mapmend.assessing.inference import Units, judge, matched_matrix, share
from mapmend.assessing.trees import adjustment, trees_row


@st.composite
def samples(draw, least=2):
    """Units whose strata are their classes in the map: stratum, reference, sizes."""
    classes = draw(st.integers(2, 4))
    numbers = [draw(st.integers(least, 12)) for _ in range(classes)]
    sizes = [draw(st.integers(100, 10**6)) for _ in range(classes)]
    stratum = np.repeat(np.arange(classes), numbers)
    reference = np.array([draw(st.integers(0, classes - 1)) for _ in stratum])
    return stratum, reference, np.array(sizes, float)


def flat(found):
    figures = [found.overall, *found.users, *found.producers, *found.areas, *(c for row in found.cells for c in row)]
    nothing = (np.nan, np.nan)
    return np.array(
        [
            [np.nan if each is None else each for each in (one.estimate, one.se)]
            + list(nothing if one.interval is None else (one.interval.lower, one.interval.upper))
            for one in figures
        ]
    )


@settings(max_examples=25, deadline=None)
@given(samples())
def test_where_the_strata_are_the_classes_both_forms_say_the_same(drawn):
    stratum, reference, sizes = drawn
    classes = len(sizes)
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (stratum, reference), 1)
    units = Units("matched", stratum, sizes)
    by_units = judge(units, stratum, reference, classes, 0.95, np.eye(classes, dtype=bool))
    np.testing.assert_allclose(flat(by_units), flat(matched_matrix(counts, sizes, 0.95)), rtol=1e-12, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(samples(), st.sampled_from(["matched", "stratified", "post"]), st.randoms())
def test_order_of_classes_and_size_of_pixels_do_not_matter(drawn, form, random):
    stratum, reference, sizes = drawn
    classes = len(sizes)
    order = list(range(classes))
    random.shuffle(order)
    place = np.argsort(order)
    one = judge(Units(form, stratum, sizes), stratum, reference, classes, 0.9)
    two = judge(Units(form, stratum, sizes), place[stratum], place[reference], classes, 0.9)
    for k, was in enumerate(order):
        for kind in ("users", "producers", "areas"):
            new, old = getattr(two, kind)[k], getattr(one, kind)[was]
            assert new.estimate == pytest.approx(old.estimate) and new.se == pytest.approx(old.se)
    assert sum(figure.estimate for figure in one.areas) == pytest.approx(1, abs=1e-12)
    assert sum(cell.estimate for row in one.cells for cell in row) == pytest.approx(1, abs=1e-12)
    if form == "matched":
        larger = judge(Units(form, stratum, 7 * sizes), stratum, reference, classes, 0.9)
        np.testing.assert_allclose(flat(larger), flat(one), rtol=1e-9, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(samples(), st.floats(0.5, 0.9), st.floats(0.001, 0.09))
def test_intervals_nest_with_level_and_hold_their_estimate(drawn, level, more):
    stratum, reference, sizes = drawn
    units = Units("stratified", stratum, sizes)
    for hits in (reference == 0, reference != stratum):
        narrow, wide = share(units, hits, level), share(units, hits, level + more)
        assert wide.interval.lower <= narrow.interval.lower + 1e-12
        assert narrow.interval.lower <= narrow.estimate + 1e-12 <= narrow.interval.upper + 2e-12
        assert narrow.interval.upper <= wide.interval.upper + 1e-12


@settings(max_examples=25, deadline=None)
@given(samples(least=3), st.integers(1, 2))
def test_strata_without_answers_take_away_what_depends_on_them_alone(drawn, empty):
    stratum, reference, sizes = drawn
    classes, kept = len(sizes), stratum >= min(empty, len(sizes) - 1)
    empty = int(stratum[kept].min())
    possible = np.eye(classes, dtype=bool)
    whole = judge(Units("stratified", stratum, sizes), stratum, reference, classes, 0.95, possible)
    units = Units("stratified", stratum[kept], sizes)
    left = judge(units, stratum[kept], reference[kept], classes, 0.95, possible)
    assert {figure.estimate for figure in (left.overall, *left.areas, *left.producers, *left.users[:empty])} == {None}
    for k in range(empty, classes):
        for new, old in [(left.users[k], whole.users[k]), *zip(left.cells[k], whole.cells[k], strict=True)]:
            assert new.estimate == pytest.approx(old.estimate) and new.se == pytest.approx(old.se)
            assert new.interval.upper == pytest.approx(old.interval.upper)
    unknown = judge(units, stratum[kept], reference[kept], classes, 0.95)
    assert all(one.estimate is None for one in unknown.users)


def test_a_class_that_fills_its_strata_is_nowhere_else():
    """Stratum 0 is class 0, by name and size; in 1 and 2 the map has both others."""
    strata = tuple(Stratum(name, size, float(size), 4) for name, size in (("a", 100), ("b", 50), ("c", 70)))
    design = SampleDesign("stratified", strata, ("a", "b", "c"), (1, 2, 3), (), (), False, (12,), 0)
    stratum, mapped = np.repeat([0, 1, 2], 4), np.array([0] * 4 + [1, 1, 2, 1] + [2, 2, 2, 1])
    found = possible_classes(design, stratum, mapped, [100, 55, 65])
    assert found.tolist() == [[True, False, False], [False, True, True], [False, True, True]]
    assert possible_classes(design, stratum, mapped, [101, 55, 64]).all()


def test_the_adjustment_of_art_trees():
    """A half-width of 15 % at 90 %: 0.524417 × 0.15 / 1.645006 = 4.78 % is deducted."""
    assert adjustment(0.15) == pytest.approx(0.0478190, abs=5e-8)
    units = Units("matched", np.zeros(50, int), np.array([1000.0]))
    row = trees_row("gain", share(units, np.arange(50) < 0, 0.9), 900.0)
    assert row.area_ha == 0 and row.classical is None and row.honest is None
