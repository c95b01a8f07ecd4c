import numpy as np
import pytest

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.conventions import explain, map_conventions
from mapmend.accuracy.image_means import ImageMeans, image_metrics


def matrix(counts, missing=None):
    return ConfusionMatrix.from_counts([f"c{index}" for index in range(len(counts))], counts, missing)


def means(*matrices):
    found = ImageMeans()
    for one in matrices:
        found.add(one)
    return found


def test_an_image_counts_as_one_however_large():
    large, small = matrix([[90, 0], [10, 0]]), matrix([[0, 0], [0, 4]])
    found = image_metrics(means(large, small))
    assert found.oa_image == pytest.approx((0.9 + 1) / 2)
    assert found.miou_image == pytest.approx(((0.9 + 0) / 2 + 1) / 2)  # the first class is left out of the second image
    assert found.images == 2 and found == image_metrics(means(small) + means(large))


def test_an_image_without_a_reference_does_not_count():
    found = image_metrics(means(matrix([[3, 1], [0, 4]]), matrix([[0, 0], [0, 0]])))
    assert found.images == 1 and found.oa_image == 7 / 8


def test_conventions_of_iou_and_f1_by_hand():
    counts = [[50, 3, 2, 0], [4, 30, 6, 0], [0, 0, 0, 0], [0, 0, 0, 0]]  # c2 in the prediction alone, c3 in neither
    one = matrix(counts, missing=[5, 0, 0, 0])
    found = map_conventions(one, image_metrics(means(one)))
    first, second = 50 / (60 + 54 - 50), 30 / (40 + 33 - 30)
    assert found["miou_pooled"] == pytest.approx((first + second) / 3)
    assert found["miou_reference_classes"] == pytest.approx((first + second) / 2)
    assert found["miou_all_classes"] == pytest.approx((first + second) / 4)
    assert found["miou_without_missing"] == pytest.approx((50 / (55 + 54 - 50) + second) / 3)
    assert (found["oa_pooled"], found["oa_without_missing"]) == (80 / 100, 80 / 95)
    precision, recall = (50 / 54 + 30 / 33) / 3, (50 / 60 + 30 / 40) / 3
    assert found["f1_of_means"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_f1_weighted_and_not_pixel_by_pixel():
    counts = np.array([[50, 3, 2], [4, 30, 6], [1, 2, 2]])
    true, made = np.repeat(np.indices((3, 3)).reshape(2, -1), counts.ravel(), axis=1)
    f1 = [2 * np.sum((true == k) & (made == k)) / (np.sum(true == k) + np.sum(made == k)) for k in range(3)]
    found = map_conventions(matrix(counts), image_metrics(means(matrix(counts))))
    assert found["f1_weighted"] == pytest.approx(np.mean([f1[k] for k in true]))
    assert found["mf1_pooled"] == pytest.approx(np.mean(f1)) and round(np.mean(f1), 8) == 0.65858586


def test_only_conventions_that_differ_are_explained():
    figures = {"miou_pooled": 0.5, "miou_image": 0.4, "oa_pooled": 0.9, "oa_image": 0.9, "kappa_pooled": None}
    [line] = explain(figures, {"miou_image": "2 images"})
    assert line.startswith("miou_pooled 0.500000, miou_image 0.400000, -0.100000: ") and line.endswith(
        "(here: 2 images)"
    )
