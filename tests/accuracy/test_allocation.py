"""Allocation against hand-worked splits, the best of all splits by enumeration, and what must hold for any."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapmend.accuracy.allocation import (
    accuracy_spread,
    allocate,
    allocate_for_intervals,
    allocate_further,
    area_spread,
    doubted,
    expected_se,
    smoothed_shares,
)
from mapmend.accuracy.planning import expected_half_width
from mapmend.core.errors import SampleError

PIXELS = [200000, 150000, 3200000, 6450000]
FOUND = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])  # Olofsson et al. 2014, table 8
SHARES = FOUND / FOUND.sum(axis=1, keepdims=True)


def splits(total, lower, upper):
    ranges = (range(low, high + 1) for low, high in zip(lower, upper, strict=True))
    return [split for split in itertools.product(*ranges) if sum(split) == total]


@st.composite
def plans(draw):
    sizes = draw(st.lists(st.integers(1, 10**6), min_size=1, max_size=7))
    minimum = draw(st.integers(0, 30))
    least = sum(min(minimum, size) for size in sizes)
    total = draw(st.integers(least, min(sum(sizes), least + 3000)))
    spread = draw(st.lists(st.floats(0, 1), min_size=len(sizes), max_size=len(sizes)))
    kind = draw(st.sampled_from(["proportional", "equal", "neyman", "optimal"]))
    return sizes, total, kind, spread, minimum


def test_splits_worked_by_hand():
    assert allocate([100, 200, 700], 100, "proportional") == (10, 20, 70)
    assert allocate([100, 200, 700], 99, "equal") == (33, 33, 33)
    assert allocate([200, 300, 500], 225, "neyman", spread=[0.5, 0.25, 0.1]) == (100, 75, 50)


def test_a_full_stratum_leaves_its_surplus_to_the_others():
    assert allocate([5, 100, 100], 65, "equal") == (5, 30, 30)
    assert allocate([50, 100, 300], 90, "neyman", spread=[1, 0.1, 0.1]) == (50, 10, 30)


def test_the_minimum_is_taken_from_the_others():
    assert allocate([10, 490, 500], 109, "proportional", minimum=10) == (10, 49, 50)


@given(plans())
def test_any_split_sums_up_between_its_bounds(plan):
    sizes, total, kind, spread, minimum = plan
    found = allocate(sizes, total, kind, spread=spread, minimum=minimum)
    assert sum(found) == total
    for number, size in zip(found, sizes, strict=True):
        assert min(minimum, size) <= number <= size
    assert found == allocate(sizes, total, kind, spread=spread, minimum=minimum)


@given(plans())
def test_one_sample_more_takes_none_away(plan):
    sizes, total, kind, spread, minimum = plan
    if total < sum(sizes):
        fewer, more = (allocate(sizes, n, kind, spread=spread, minimum=minimum) for n in (total, total + 1))
        assert all(after >= before for after, before in zip(more, fewer, strict=True))


@given(plans(), st.randoms(use_true_random=False))
def test_the_order_of_strata_does_not_matter(plan, random):
    sizes, total, kind, spread, minimum = plan
    order = list(range(len(sizes)))
    random.shuffle(order)
    found = allocate(sizes, total, kind, spread=spread, minimum=minimum)
    shuffled = allocate([sizes[k] for k in order], total, kind, spread=[spread[k] for k in order], minimum=minimum)
    # strata that are alike may share an odd sample out either way
    assert np.abs(np.subtract(shuffled, [found[k] for k in order])).max() <= 1


@given(
    st.lists(st.tuples(st.integers(2, 9), st.floats(0.05, 0.5)), min_size=2, max_size=4),
    st.integers(1, 2),
    st.data(),
)
def test_no_split_in_whole_numbers_has_less_variance(strata, minimum, data):
    sizes, spread = np.array(strata).T
    total = data.draw(st.integers(minimum * len(sizes), int(sizes.sum())))
    lower = [minimum] * len(sizes)

    def variance(split):
        return sum((size * s) ** 2 / n for size, s, n in zip(sizes, spread, split, strict=True))

    found = allocate(sizes, total, "neyman", spread=spread, minimum=minimum)
    best = min(variance(split) for split in splits(total, lower, [int(size) for size in sizes]))
    assert variance(found) == pytest.approx(best, rel=1e-12)


def test_named_classes_are_met_as_well_as_any_split_can():
    sizes, shares = [30, 60, 400], np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.01, 0.04, 0.95]])
    areas = np.array(sizes) @ shares / sum(sizes)

    def aim(split):
        return sum((expected_se(sizes, shares[:, k], split) / areas[k]) ** 2 for k in (0, 1))

    found = allocate(sizes, 50, "optimal", spread=area_spread(sizes, shares, [0, 1], doubt=0), minimum=1)
    best = min(map(aim, splits(50, [1, 1, 1], [30, 50, 50])))
    assert aim(found) == pytest.approx(best, rel=1e-12)


def test_one_named_class_is_neymans_allocation():
    spread = np.sqrt(SHARES[:, 1] * (1 - SHARES[:, 1]))
    neyman = allocate(PIXELS, 640, "neyman", spread=spread, minimum=20)
    assert neyman == allocate(PIXELS, 640, "optimal", spread=area_spread(PIXELS, SHARES, [1], doubt=0), minimum=20)


def test_strata_without_spread_get_their_minimum_and_then_what_is_left_by_size():
    assert allocate([100, 100, 300], 30, "neyman", spread=[0.5, 0, 0], minimum=3) == (24, 3, 3)
    assert allocate([10, 100, 300], 50, "neyman", spread=[0.5, 0, 0]) == (10, 10, 30)
    assert allocate([100, 200, 700], 100, "neyman", spread=[0, 0, 0]) == (10, 20, 70)


def test_none_is_drawn_only_where_that_was_asked_for():
    assert allocate([1, 10**9], 20, "proportional", minimum=1) == (1, 19)
    assert allocate([5, 50, 500], 2, "proportional", minimum=0) == (0, 1, 1)


def test_fractional_sizes_of_strata_are_filled_with_their_pixels():
    assert allocate([2.6, 400.0], 100, "equal", most=[3, 400]) == (3, 97)
    assert allocate([2.6, 400.0], 100, "equal") == (2, 98)


def test_doubt_keeps_the_area_and_leaves_no_stratum_without():
    shares = doubted(PIXELS, SHARES)
    assert np.array(PIXELS) @ shares == pytest.approx(np.array(PIXELS) @ SHARES)
    assert (shares > 0).all()
    assert shares[2, 1] == pytest.approx(0.05 * 11686.15384615 / 900000)  # 5 % of the paper's share of forest gain
    assert doubted(PIXELS, SHARES, 0) == pytest.approx(SHARES)
    assert accuracy_spread([1, 3], [1.0, 0.6], 0) == pytest.approx([0, 0.24**0.5])


def test_a_second_round_makes_up_for_the_first():
    spread = [0.5, 0.5, 0.1]
    sizes = [1000, 1000, 5000]
    whole = allocate(sizes, 300, "neyman", spread=spread)
    assert allocate_further(sizes, [50, 50, 50], 150, spread) == tuple(number - 50 for number in whole)


@given(plans(), st.integers(0, 500))
def test_what_was_drawn_stays_drawn(plan, more):
    sizes, total, kind, spread, minimum = plan
    drawn = allocate(sizes, total, kind, spread=spread, minimum=minimum)
    more = min(more, sum(sizes) - total)
    further = allocate_further(sizes, drawn, more, spread, minimum=0)
    assert sum(further) == more
    for now, before, size in zip(further, drawn, sizes, strict=True):
        assert 0 <= now <= size - before


def test_a_first_round_that_took_too_many_takes_no_more():
    assert allocate_further([1000, 1000], [90, 10], 20, [0.1, 0.4]) == (0, 20)


def test_no_error_in_five_samples_is_not_no_error():
    shares = smoothed_shares([[0, 5], [3, 17]], [5, 20])
    assert shares == pytest.approx(np.array([[0.5 / 6, 5.5 / 6], [3.5 / 21, 17.5 / 21]]))
    spread = area_spread([1000, 1000], shares, [0])
    assert min(allocate_further([1000, 1000], [5, 20], 100, spread)) > 20
    assert smoothed_shares([0], [0]) == 0.5


@pytest.mark.parametrize("total", [120, 400, 2000])
def test_no_search_finds_much_shorter_intervals(total):
    wide = expected_half_width(PIXELS, SHARES[:, 1], allocate_for_intervals(PIXELS, SHARES, [1], total, minimum=10))
    random = np.random.default_rng(3)
    for parts in random.dirichlet(np.ones(4), 300):
        split = [10 + int(part * (total - 40)) for part in parts]
        assert expected_half_width(PIXELS, SHARES[:, 1], split, draws=300) > 0.97 * wide


def test_where_nothing_is_expected_intervals_need_samples_too():
    neyman = allocate(PIXELS, 800, "optimal", spread=area_spread(PIXELS, SHARES, [1], doubt=0), minimum=10)
    honest = allocate_for_intervals(PIXELS, SHARES, [1], 800, minimum=10)
    assert neyman[2] == 10
    assert honest[2] > 100
    widths = [expected_half_width(PIXELS, SHARES[:, 1], split) for split in (neyman, honest)]
    assert widths[1] < widths[0] / 3


def test_a_second_round_for_intervals_keeps_what_was_drawn():
    drawn = (60, 60, 60, 60)
    free = allocate_for_intervals(PIXELS, SHARES, [1], 1000)
    bound = allocate_for_intervals(PIXELS, SHARES, [1], 1000, drawn=drawn)
    assert free[0] < 60 and bound[0] == 60
    assert sum(bound) == 1000
    assert all(before < number <= after for number, after, before in zip(bound[1:], free[1:], drawn[1:], strict=True))
    with pytest.raises(SampleError, match="240 at least"):
        allocate_for_intervals(PIXELS, SHARES, [1], 200, drawn=drawn)


@given(plans())
def test_splits_for_intervals_keep_their_bounds_too(plan):
    sizes, total, _, shares, minimum = plan
    table = np.array([shares, [1 - share for share in shares]]).T
    target = 0 if any(shares) else 1
    found = allocate_for_intervals(sizes, table, [target], total, minimum=minimum)
    assert sum(found) == total
    assert all(min(minimum, size) <= number <= size for number, size in zip(found, sizes, strict=True))


WRONG = [
    (lambda: allocate([10, 10], 3, "equal"), "3 samples are too few: 2 strata take 4 at least"),
    (lambda: allocate([10, 10], 21, "equal"), "21 samples, and 20 units in all"),
    (lambda: allocate([10, 0], 5, "equal"), "a stratum has no units"),
    (lambda: allocate([], 5, "equal"), "a stratum has no units"),
    (lambda: allocate([10, float("nan")], 5, "equal"), "a stratum has no units"),
    (lambda: allocate([10, 10], 5, "neymann", spread=[1, 1]), "did you mean 'neyman'?"),
    (lambda: allocate([10, 10], 5, "neyman"), "needs the strata's spreads"),
    (lambda: allocate([10, 10], 5, "neyman", spread=[1]), "spreads make no sense"),
    (lambda: allocate([10, 10], 5, "neyman", spread=[1, -1]), "spreads make no sense"),
    (lambda: allocate_further([10, 10], [11, 0], 5, [1, 1]), "do not fit the strata"),
    (lambda: allocate_further([10, 10], [1], 5, [1, 1]), "do not fit the strata"),
    (lambda: area_spread([10, 10], [[0.5, 0.5]] * 2, [2]), "no classes are named"),
    (lambda: area_spread([10, 10], [[0.0, 1.0]] * 2, [0]), "expected in no stratum"),
    (lambda: area_spread([10, 10], [[0.5, 0.5]], [0]), "do not fit the strata"),
    (lambda: accuracy_spread([10, 10], [1.1, 0.5]), "not between 0 and 1"),
    (lambda: accuracy_spread([10, 10], [float("nan"), 0.5]), "not between 0 and 1"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[f"{k} {message}" for k, (_, message) in enumerate(WRONG)])
def test_what_cannot_be_is_said(call, message):
    with pytest.raises(SampleError) as fault:
        call()
    assert message in str(fault.value)
