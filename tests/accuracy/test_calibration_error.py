import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapmend.accuracy.calibration_error import CalibrationCounts, calibration_metrics
from mapmend.core.errors import MapmendError


def counted(probabilities, reference, bins=10):
    found = CalibrationCounts(len(probabilities), bins)
    found.update(np.array(probabilities), np.array(reference, np.uint8))
    return found


def scored(*arguments):
    return calibration_metrics(counted(*arguments))


def naive_bins(p, right, bins):
    """(share, gap) of each bin that holds pixels, by comparing with its edges."""
    found = []
    for b in range(bins):
        inside = [i for i, v in enumerate(p) if b / bins < v <= (b + 1) / bins or (b == 0 and v == 0)]
        if inside:
            gap = abs(sum(right[i] for i in inside) - sum(p[i] for i in inside)) / len(inside)
            found.append((len(inside) / len(p), gap))
    return found


def test_by_hand():
    # largest 0.9 right, 0.9 wrong, 0.6 right: gaps 0.4 of two pixels and 0.4 of one; the last one has no reference
    found = scored([[0.9, 0.9, 0.4, 1.0], [0.1, 0.1, 0.6, 0.0]], [0, 1, 1, 255])
    assert found.pixels == 3
    assert found.ece_l1 == pytest.approx(0.4) and found.ece_l2 == pytest.approx(0.4)
    assert found.ece_max == pytest.approx(0.4)
    assert found.brier == pytest.approx(2 * (0.01 + 0.81 + 0.16) / 3)
    assert found.nll == pytest.approx(-(math.log(0.9) + math.log(0.1) + math.log(0.6)) / 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(1, 15))
def test_by_a_naive_loop_and_in_parts(seed, classes, bins):
    rng = np.random.default_rng(seed)
    p, true = rng.dirichlet(np.ones(classes), 40).T, rng.integers(0, classes, 40)
    found = scored(p, true, bins)
    of_top = naive_bins(p.max(0).tolist(), (p.argmax(0) == true).tolist(), bins)
    assert found.ece_l1 == pytest.approx(sum(share * gap for share, gap in of_top))
    assert found.ece_l2 == pytest.approx(math.sqrt(sum(share * gap**2 for share, gap in of_top)))
    assert found.ece_max == pytest.approx(max(gap for _, gap in of_top))
    for index in range(classes):
        of_class = naive_bins(p[index].tolist(), (true == index).tolist(), bins)
        assert found.classes[index] == pytest.approx(sum(share * gap for share, gap in of_class))
    parts = counted(p[:, :7], true[:7], bins) + counted(p[:, 7:], true[7:], bins)
    assert calibration_metrics(parts).ece_l1 == pytest.approx(found.ece_l1)


def test_certain_and_right_is_perfect_certain_and_wrong_is_finite():
    right = scored([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    assert (right.ece_l1, right.ece_max, right.brier, right.nll, right.classwise_ece_l1) == (0, 0, 0, 0, 0)
    wrong = scored([[1.0, 0.0], [0.0, 1.0]], [1, 0])
    assert wrong.ece_l1 == 1 and wrong.brier == 2 and math.isfinite(wrong.nll)


def test_without_a_reference_nothing_is_defined():
    assert scored([[0.5], [0.5]], [255]).ece_l1 is None


@pytest.mark.parametrize("p, true", [([[0.9], [0.9]], [0]), ([[1.5], [-0.5]], [0]), ([[0.5], [0.5]], [2])])
def test_what_is_no_probability_or_no_class_is_refused(p, true):
    with pytest.raises(MapmendError):
        scored(p, true)
