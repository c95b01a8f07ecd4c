import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import map_metrics

WHOLE = ("oa", "kappa", "miou", "fwiou", "mf1", "quantity_disagreement", "allocation_disagreement")
cells = st.integers(0, 50)
matrices = st.integers(1, 5).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.int64, (size, size), elements=cells), hnp.arrays(np.int64, size, elements=cells)
    )
)


def matrix_of(counts, missing=None):
    return ConfusionMatrix.from_counts([f"c{index}" for index in range(len(counts))], counts, missing)


def rasters_of(counts, missing):
    """The pixels behind a matrix, one by one, with no prediction written as 255."""
    pairs = [
        pair
        for i, row in enumerate(counts)
        for j, count in [*enumerate(row), (255, missing[i])]
        for pair in [(i, j)] * int(count)
    ]
    return np.array(pairs, int).reshape(-1, 2).T


def test_the_published_check():
    found = map_metrics(matrix_of([[50, 3, 2], [4, 30, 6], [1, 2, 2]]))
    assert found.oa == 0.82
    assert found.kappa == pytest.approx(149 / 221, abs=1e-15)  # (.82 − .4475) / (1 − .4475)
    assert found.kappa == pytest.approx(0.67420815, abs=1e-8)
    assert [round(one.iou, 8) for one in found.classes] == [0.83333333, 0.66666667, 0.15384615]
    assert round(found.miou, 8) == 0.55128205
    assert round(found.fwiou, 8) == 0.73269231
    assert round(found.mf1, 8) == 0.65858586
    assert found.quantity_disagreement == 0.05
    assert found.allocation_disagreement == 0.13
    assert found.pixels == 100 and found.missing == 0 and found.absent == ()


def test_producers_users_and_area_bias_by_hand():
    found = map_metrics(matrix_of([[8, 2], [4, 6]]))
    first, second = found.classes
    assert (first.recall, first.precision, first.area_bias) == (8 / 10, 8 / 12, 2 / 10)
    assert (second.recall, second.precision, second.area_bias) == (6 / 10, 6 / 8, -2 / 10)


def test_a_pixel_without_a_prediction_is_an_error():
    found = map_metrics(matrix_of([[6, 0], [0, 2]], missing=[2, 0]))
    assert found.pixels == 10 and found.missing == 2
    assert found.oa == 8 / 10
    forest = found.classes[0]
    assert (forest.reference, forest.predicted, forest.missing) == (8, 6, 2)
    assert (forest.recall, forest.precision, forest.iou, forest.f1) == (6 / 8, 1.0, 6 / 8, 12 / 14)
    assert forest.area_bias == -2 / 8
    assert (found.quantity_disagreement, found.allocation_disagreement) == (0.2, 0.0)


def test_classes_in_one_raster_only():
    found = map_metrics(matrix_of([[5, 1, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]))
    assert found.absent == ("c3",)
    _, only_predicted, only_reference = found.classes
    assert (only_predicted.recall, only_predicted.area_bias) == (None, None)
    assert (only_predicted.precision, only_predicted.iou, only_predicted.f1) == (0, 0, 0)
    assert only_reference.precision is None
    assert (only_reference.recall, only_reference.iou, only_reference.area_bias) == (0, 0, -1)
    assert found.miou == pytest.approx((5 / 8) / 3)


def test_kappa_is_undefined_when_both_have_one_class():
    found = map_metrics(matrix_of([[9, 0], [0, 0]]))
    assert found.kappa is None and found.oa == 1 and found.miou == 1


def test_nothing_to_score_is_undefined_not_zero():
    found = map_metrics(ConfusionMatrix(3))
    assert [getattr(found, name) for name in WHOLE] == [None] * len(WHOLE)
    assert found.classes == () and found.absent == ("0", "1", "2")


@given(matrices)
def test_quantity_and_allocation_make_up_the_error(case):
    found = map_metrics(matrix_of(*case))
    assume(found.pixels)
    assert found.quantity_disagreement + found.allocation_disagreement == pytest.approx(1 - found.oa, abs=1e-12)
    assert found.quantity_disagreement >= 0 and found.allocation_disagreement >= 0


@given(matrices, st.randoms(use_true_random=False))
def test_the_order_of_the_classes_does_not_matter(case, random):
    counts, missing = case
    order = list(range(len(counts)))
    random.shuffle(order)
    plain = map_metrics(matrix_of(counts, missing))
    names = [f"c{index}" for index in order]
    turned = map_metrics(ConfusionMatrix.from_counts(names, counts[np.ix_(order, order)], missing[order]))
    assert set(turned.classes) == set(plain.classes) and set(turned.absent) == set(plain.absent)
    for name in WHOLE:
        assert getattr(turned, name) == pytest.approx(getattr(plain, name), abs=1e-12), name


@given(matrices)
def test_metrics_equal_those_of_the_pixels_themselves(case):
    """Kappa and IoU by sets of pixels and by chance agreement of categories, not by margins."""
    counts, missing = case
    reference, prediction = rasters_of(counts, missing)
    found = map_metrics(matrix_of(counts, missing))
    assume(reference.size)
    assert found.oa == pytest.approx(np.mean(reference == prediction))
    chance = sum(np.mean(reference == code) * np.mean(prediction == code) for code in [*range(len(counts)), 255])
    if found.kappa is None:
        assert chance == pytest.approx(1)
    else:
        assert found.kappa == pytest.approx((found.oa - chance) / (1 - chance), abs=1e-9)
    ious = {}
    for code in range(len(counts)):
        union = np.sum((reference == code) | (prediction == code))
        if union:
            ious[f"c{code}"] = np.sum((reference == code) & (prediction == code)) / union
    assert {one.name: one.iou for one in found.classes} == pytest.approx(ious)
    assert found.miou == pytest.approx(np.mean(list(ious.values())))
    weights = [np.mean(reference == int(name[1:])) for name in ious]
    assert found.fwiou == pytest.approx(np.dot(weights, list(ious.values())))


@given(matrices)
def test_json_never_holds_nan(case):
    plain = map_metrics(matrix_of(*case)).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert "an error" in plain["convention"]


def test_continental_counts_do_not_overflow():
    scale = 10**16
    small, large = (
        map_metrics(matrix_of([[5, 1], [2, 4]])),
        map_metrics(matrix_of([[5 * scale, scale], [2 * scale, 4 * scale]])),
    )
    assert all(math.isclose(getattr(small, name), getattr(large, name)) for name in WHOLE)
