import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapmend.accuracy.change import ChangeAccuracy, change_metrics
from mapmend.core.errors import LegendError, MapmendError

NAMES = ("water", "field", "town")


def rows(*lists):
    return tuple(np.array([row], np.uint8) for row in lists)


def scored(truth, mapped, areas=None):
    accuracy = ChangeAccuracy(NAMES, "ha")
    areas = np.ones(truth[0].shape) if areas is None else np.array([areas], float)
    accuracy.update(truth, mapped, areas)
    return accuracy


def test_change_by_hand():
    # pixel:              hit, hit but other class, miss, false alarm, 3 × rejection (one of another class), no truth
    truth = rows([0, 0, 1, 1, 0, 1, 2, 255], [1, 1, 2, 1, 0, 1, 2, 1])
    mapped = rows([0, 0, 1, 1, 0, 1, 1, 0], [1, 2, 1, 0, 0, 1, 1, 1])
    found = change_metrics(scored(truth, mapped))
    assert (found.hits, found.misses, found.false_alarms, found.correct_rejections) == (2, 1, 1, 3)
    assert found.pixels == 7 and found.missing == 0
    assert found.oa_change == pytest.approx(5 / 7)
    assert found.iou_changed == pytest.approx(2 / 4)
    assert found.f1_changed == pytest.approx(4 / 6)
    assert found.precision_changed == pytest.approx(2 / 3) and found.recall_changed == pytest.approx(2 / 3)
    assert found.transition_accuracy_hits == pytest.approx(1 / 2)
    # Pontius: B / (A + B + C + D), a hit of another class is an error
    assert found.figure_of_merit_from_to == pytest.approx(1 / 4)


def test_a_pixel_without_a_map_at_either_date_is_an_error_and_has_no_area():
    truth = rows([0, 0, 1, 1], [1, 1, 1, 1])
    mapped = rows([0, 255, 1, 1], [1, 1, 1, 255])
    accuracy = scored(truth, mapped)
    found = change_metrics(accuracy)
    assert found.missing == 2 and found.misses == 1
    assert found.recall_changed == pytest.approx(1 / 2) and found.precision_changed == 1
    assert found.iou_changed == pytest.approx(1 / 2) and found.oa_change == pytest.approx(2 / 4)
    assert accuracy.map_areas.sum() == accuracy.truth_areas.sum() == 2


def test_areas_from_class_to_class_are_those_of_the_pixels():
    truth = rows([0, 0, 1, 255, 2], [1, 0, 1, 1, 2])
    mapped = rows([0, 0, 2, 0, 255], [1, 1, 1, 1, 2])
    accuracy = scored(truth, mapped, [0.5, 0.25, 4, 8, 16])
    assert accuracy.truth_areas.tolist() == [[0.25, 0.5, 0], [0, 4, 0], [0, 0, 0]]
    assert accuracy.map_areas.tolist() == [[0, 0.75, 0], [0, 0, 0], [0, 4, 0]]


def test_no_change_anywhere_is_undefined_not_zero():
    same = rows([0, 1], [0, 1])
    found = change_metrics(scored(same, same))
    assert found.oa_change == 1 and found.iou_changed is None and found.recall_changed is None
    nothing = change_metrics(ChangeAccuracy(NAMES, "px"))
    assert nothing.pixels == 0 and nothing.oa_change is None and nothing.figure_of_merit_from_to is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_parts_added_are_the_whole_and_a_loop_counts_the_same(seed, cut):
    rng = np.random.default_rng(seed)
    layers = [np.where(rng.random(41) < 0.1, 255, rng.integers(0, 3, 41)).astype(np.uint8) for _ in range(4)]
    areas = rng.random(41)
    whole = ChangeAccuracy(NAMES, "ha")
    whole.update((layers[0], layers[1]), (layers[2], layers[3]), areas)
    parts = []
    for piece in (slice(cut), slice(cut, None)):
        part = ChangeAccuracy(NAMES, "ha")
        part.update((layers[0][piece], layers[1][piece]), (layers[2][piece], layers[3][piece]), areas[piece])
        parts.append(part)
    total = parts[0] + parts[1]
    assert total.confusion == whole.confusion and total.hits_right == whole.hits_right
    assert np.allclose(total.map_areas, whole.map_areas) and np.allclose(total.truth_areas, whole.truth_areas)
    hits = both = 0
    for old, new, old_map, new_map in zip(*(layer.tolist() for layer in layers), strict=True):
        if 255 not in (old, new, old_map, new_map):
            both += 1
            hits += old != new and old_map != new_map
    assert change_metrics(whole).hits == hits
    assert change_metrics(whole).pixels - change_metrics(whole).missing == both


def test_json_brings_it_back():
    truth, mapped = rows([0, 0, 1], [1, 0, 2]), rows([0, 1, 1], [1, 0, 255])
    accuracy = scored(truth, mapped)
    again = ChangeAccuracy.from_dict(json.loads(json.dumps(accuracy.to_dict())))
    assert change_metrics(again) == change_metrics(accuracy)
    assert again.unit == "ha" and again.names == NAMES and np.array_equal(again.map_areas, accuracy.map_areas)
    assert "pooled" in change_metrics(again).to_dict()["convention"]
    for lost in ("names", "confusion", "map_areas"):
        plain = {key: value for key, value in accuracy.to_dict().items() if key != lost}
        with pytest.raises(MapmendError, match="no accuracy of change"):
            ChangeAccuracy.from_dict(plain, where="a.json")


def test_what_does_not_fit_is_refused_and_not_counted():
    accuracy = ChangeAccuracy(NAMES, "ha")
    with pytest.raises(LegendError, match="outside the legend"):
        accuracy.update(rows([0], [1]), rows([0], [9]), np.ones((1, 1)), where="map.tif")
    with pytest.raises(ValueError, match="differ in shape"):
        accuracy.update(rows([0], [1]), rows([0, 1], [1, 1]), np.ones((1, 1)))
    assert accuracy.confusion.pixels == 0
    with pytest.raises(MapmendError, match="ha and in px"):
        accuracy + ChangeAccuracy(NAMES, "px")
    with pytest.raises(LegendError, match="different classes"):
        accuracy + ChangeAccuracy(("a",), "ha")
