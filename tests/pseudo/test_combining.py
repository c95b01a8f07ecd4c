"""Combination and selection against naive loops and numbers by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapmend.pseudo.combining import combined, histogram, selected, thresholds


def test_agreement_pixel_by_pixel():
    rng = np.random.default_rng(0)
    maps = [
        (rng.choice([0, 1, 255], (9, 11)).astype(np.uint8), rng.integers(0, 201, (9, 11), dtype=np.uint8))
        for _ in range(3)
    ]
    given_label = rng.choice([0, 1, 255], (9, 11)).astype(np.uint8)
    for label_too in (None, given_label):
        label, sure = combined(maps, label_too)
        for at in np.ndindex(9, 11):
            said = {int(index[at]) for index, _ in maps} | ({int(label_too[at])} if label_too is not None else set())
            agreed = said.pop() if len(said) == 1 else 255
            assert label[at] == agreed
            mean = np.mean([float(confidence[at]) for _, confidence in maps])
            assert sure[at] == 255 if agreed == 255 else abs(sure[at] - mean) <= 0.5


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 200)), min_size=1, max_size=60), st.floats(0.01, 1))
def test_at_least_the_share_of_each_class_is_kept_and_no_threshold_could_be_higher(pixels, keep):
    label, sure = (np.array(values, np.uint8)[None] for values in zip(*pixels, strict=True))
    least = thresholds(histogram(label, sure, 3), keep)
    kept, confidence = selected(label, sure, least)
    for index in range(3):
        of_class = sure[label == index]
        if not of_class.size:
            assert not (kept == index).any()
            continue
        assert (kept == index).sum() == (of_class >= least[index]).sum() >= keep * of_class.size - 1e-6
        assert (of_class > least[index]).sum() < keep * of_class.size or least[index] == of_class.max()
    np.testing.assert_array_equal(confidence, np.where(kept == 255, 255, sure))


def test_a_quantile_by_hand():
    label = np.array([[0] * 10 + [1] * 4], np.uint8)
    sure = np.array([[*range(100, 200, 10), 50, 60, 60, 60]], np.uint8)
    assert thresholds(histogram(label, sure, 2), 0.5) == (150, 60)
    assert thresholds(histogram(label, sure, 2), 1.0) == (100, 50)
    assert [int((selected(label, sure, (150, 60))[0] == index).sum()) for index in (0, 1)] == [5, 3]


def test_nothing_of_a_class_has_a_threshold_that_keeps_nothing():
    label, sure = np.zeros((1, 3), np.uint8), np.full((1, 3), 200, np.uint8)
    assert selected(label, sure, thresholds(histogram(label, sure, 2), 0.9))[0].tolist() == [[0, 0, 0]]
    assert pytest.approx(thresholds(histogram(label, sure, 2), 0.9)[0]) == 200
