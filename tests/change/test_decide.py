import itertools

import numpy as np
import pytest

from mapmend.change.decide import certainty, decide

LEVELS = (0, 99, 100, 101, 200, 255)


def one_by_one(before, after, first, second, probability, threshold):
    """The rule as it is told, for one pixel: (before, after) of the result, None where not valid."""
    if before == 255 or after == 255 or probability == 255:
        return None
    if before != after and (probability is None or probability / 200 >= threshold):
        return before, after
    if before == after or first is None:
        return before, before
    first, second = (0 if steps == 255 else steps for steps in (first, second))
    return (after, after) if second > first else (before, before)


@pytest.mark.parametrize("threshold", [0, 0.495, 0.5, 0.505, 1])
@pytest.mark.parametrize("with_probability", [True, False])
@pytest.mark.parametrize("with_confidences", [True, False])
def test_every_case_against_the_rule(threshold, with_probability, with_confidences):
    cases = np.array(list(itertools.product((0, 1, 255), (0, 1, 255), LEVELS, LEVELS, LEVELS)), np.uint8).T
    before, after, first, second, probability = cases.reshape(5, 9, -1)
    result = decide(
        before,
        after,
        (first, second) if with_confidences else None,
        probability if with_probability else None,
        threshold,
    )
    now = np.array(result.classes(result.changed)).reshape(2, -1)
    for case, i, j in zip(cases.T.tolist(), *now, strict=True):
        b, a, c1, c2, p = case
        c1, c2 = (c1, c2) if with_confidences else (None, None)
        expected = one_by_one(b, a, c1, c2, p if with_probability else None, threshold) or (255, 255)
        assert (i, j) == expected, case


def test_the_surer_date_is_the_joint_maximum():
    """Of two classes that exclude each other, argmax_c p1(c)·p2(c) is what the surer of both dates says."""
    steps = np.arange(1, 200, 7)
    first, second = (grid.astype(np.uint8) for grid in np.meshgrid(steps, steps))
    result = decide(np.zeros_like(first), np.ones_like(first), (first, second), np.zeros_like(first), 0.5)
    p1, p2 = first / 200, second / 200
    joint = np.stack([p1 * (1 - p2), (1 - p1) * p2])
    different = first != second
    np.testing.assert_array_equal(result.settled[different], joint.argmax(axis=0)[different])
    assert (result.settled[~different] == 0).all(), "equally sure: the earlier date's"


def test_a_patch_that_is_dropped_is_settled():
    before, after = np.zeros((2, 3), np.uint8), np.ones((2, 3), np.uint8)
    confidences = np.full((2, 3), 100, np.uint8), np.array([[90, 100, 110]] * 2, np.uint8)
    result = decide(before, after, confidences)
    assert result.changed.all()
    now = result.classes(np.zeros((2, 3), bool))
    np.testing.assert_array_equal(now, [[[0, 0, 1]] * 2] * 2)


def test_how_sure_a_change_is():
    first, second, probability = (np.array([[n]], np.uint8) for n in (150, 120, 80))
    assert certainty((first, second), probability) == 80
    assert certainty((first, second), None) == 120
    assert certainty(None, None) is None
