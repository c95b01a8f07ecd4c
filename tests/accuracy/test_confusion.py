import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapmend.accuracy.confusion import ConfusionMatrix, joint_histogram
from mapmend.core.errors import LegendError, MapmendError

values = st.sampled_from([0, 1, 2, 255])
rasters = st.lists(st.tuples(values, values), max_size=60)


def naive(pairs, classes):
    counts, missing = np.zeros((classes, classes), int), np.zeros(classes, int)
    for reference, prediction in pairs:
        if reference == 255:
            continue
        if prediction == 255:
            missing[reference] += 1
        else:
            counts[reference, prediction] += 1
    return counts, missing


def counted(pairs, classes=3):
    matrix = ConfusionMatrix(classes)
    columns = np.array(pairs, np.uint8).reshape(-1, 2)
    matrix.update(columns[:, 0], columns[:, 1])
    return matrix


@given(rasters)
def test_counts_equal_a_loop_over_the_pixels(pairs):
    matrix = counted(pairs)
    counts, missing = naive(pairs, 3)
    assert np.array_equal(matrix.counts, counts) and np.array_equal(matrix.missing, missing)
    assert matrix.pixels == sum(reference != 255 for reference, _ in pairs)
    assert matrix.counts.dtype == matrix.missing.dtype == np.int64


@given(rasters, rasters)
def test_merging_is_concatenation(first, second):
    assert counted(first) + counted(second) == counted(first + second)


@pytest.mark.parametrize("size", [1, 262_143, 262_144, 262_145, 600_000])
def test_every_pixel_is_counted_once_whatever_the_piece(size):
    rng = np.random.default_rng(size)
    reference, prediction = rng.integers(0, 20, (2, size), dtype=np.uint8)
    matrix = ConfusionMatrix(20)
    matrix.update(reference, prediction)
    pairs, counts = np.unique(np.stack([reference, prediction]), axis=1, return_counts=True)
    expected = np.zeros((20, 20), int)
    expected[pairs[0], pairs[1]] = counts
    assert np.array_equal(matrix.counts, expected)


def test_views_and_memory_orders_count_the_same_pixels():
    rng = np.random.default_rng(1)
    reference, prediction = rng.integers(0, 4, (2, 700, 900), dtype=np.uint8)
    plain, strided = ConfusionMatrix(4), ConfusionMatrix(4)
    plain.update(reference[::2, 100:].copy(), prediction[::2, 100:].copy())
    strided.update(np.asfortranarray(reference)[::2, 100:], prediction[::2, 100:])
    assert plain == strided


def test_memory_does_not_grow_with_the_window():
    def peak(side):
        raster = np.zeros((side, side), np.uint8)
        matrix = ConfusionMatrix(2)
        tracemalloc.start()
        matrix.update(raster, raster[:, ::-1])
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(4000) < 1.2 * peak(1000)


def test_legend_ids_are_translated():
    lut = np.full(256, 255, np.uint8)
    lut[[11, 41, 81]] = [0, 1, 2]
    matrix = ConfusionMatrix(["water", "forest", "crops"])
    matrix.update(np.array([[11, 41], [81, 255]], np.uint8), np.array([[11, 81], [255, 41]], np.uint8), lut=lut)
    assert matrix.counts.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert matrix.missing.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("reference", "prediction", "raster"), [([0, 7, 7], [0, 0, 0], "reference"), ([0, 1, 1], [0, 7, 7], "prediction")]
)
def test_a_class_outside_the_legend_is_named_and_nothing_is_counted(reference, prediction, raster):
    matrix = ConfusionMatrix(3)
    with pytest.raises(LegendError, match=rf"map\.tif: the {raster} holds .* 7 \(2 pixels\)"):
        matrix.update(np.array(reference, np.uint8), np.array(prediction, np.uint8), where="map.tif")
    assert matrix.pixels == 0


def test_what_the_map_says_where_there_is_no_reference_does_not_matter():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([255, 0], np.uint8), np.array([99, 0], np.uint8))
    assert matrix.pixels == 1


def test_counts_beyond_32_bits_stay_exact():
    half = ConfusionMatrix.from_counts(["a", "b"], [[3_000_000_000, 0], [0, 1]])
    assert (half + half).counts[0, 0] == 6_000_000_000


def test_a_matrix_survives_json():
    matrix = counted([(0, 0), (1, 255), (2, 1)])
    assert ConfusionMatrix.from_dict(matrix.to_dict()) == matrix


@pytest.mark.parametrize(
    "plain",
    [
        {"names": ["a", "b"], "counts": [[1, 2]], "missing": [0, 0]},
        {"names": ["a", "b"], "counts": [[1, 2], [3]], "missing": [0, 0]},
        {"names": ["a", "b"], "counts": [[1, 2], [3, -1]], "missing": [0, 0]},
        {"names": ["a", "b"], "counts": [[1, 2], [3, 0.5]], "missing": [0, 0]},
        {"names": ["a", "b"], "counts": [[1, 2], [3, "many"]], "missing": [0, 0]},
        {"names": ["a", "b"], "counts": [[1, 2], [3, 4]], "missing": [0]},
        {"names": ["a", "b"], "counts": [[1, 2], [3, 4]]},
    ],
)
def test_a_malformed_matrix_is_refused_in_one_line(plain):
    with pytest.raises(MapmendError, match="accuracy.json: .*confusion matrix"):
        ConfusionMatrix.from_dict(plain, where="accuracy.json")


def test_other_classes_are_not_added():
    with pytest.raises(LegendError, match="different classes"):
        ConfusionMatrix(["a", "b"]) + ConfusionMatrix(["a", "c"])


@pytest.mark.parametrize("classes", [0, 256, []])
def test_the_number_of_classes_has_limits(classes):
    with pytest.raises(LegendError, match="1 to 255 classes"):
        ConfusionMatrix(classes)


def test_rasters_of_other_shape_or_type_are_refused():
    with pytest.raises(ValueError, match="shape"):
        joint_histogram(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
    with pytest.raises(TypeError, match="uint8"):
        joint_histogram(np.zeros(3, np.uint8), np.zeros(3, np.int64))


@pytest.mark.parametrize("largest", [15, 16])
@pytest.mark.parametrize("size", [1, 2, 3, 262_143, 262_145])
def test_few_values_and_many_count_alike(largest, size):
    rng = np.random.default_rng(size)
    reference, prediction = rng.integers(0, largest, (2, size), dtype=np.uint8, endpoint=True)
    reference[-1], prediction[0] = largest, largest
    expected = np.zeros((256, 256), int)
    np.add.at(expected, (reference, prediction), 1)
    assert np.array_equal(joint_histogram(reference, prediction), expected)


def test_counted_pairs_count_like_the_pixels():
    rng = np.random.default_rng(3)
    reference, prediction = rng.choice(np.array([0, 1, 2, 255], np.uint8), (2, 500))
    pixels, pairs = ConfusionMatrix(3), ConfusionMatrix(3)
    pixels.update(reference, prediction)
    joint = joint_histogram(reference, prediction)
    kept = joint.copy()
    pairs.update_joint(joint)
    assert pixels == pairs and np.array_equal(joint, kept)
