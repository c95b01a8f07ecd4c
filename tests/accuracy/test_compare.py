import json

import pytest

from mapmend.accuracy.compare import compare
from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import map_metrics


def scored(counts, missing=None):
    return map_metrics(ConfusionMatrix.from_counts(["water", "forest", "built"], counts, missing))


LABEL = scored([[50, 10, 0], [10, 20, 0], [0, 10, 0]])
MAP = scored([[55, 5, 0], [10, 20, 0], [2, 2, 6]])


def found(comparison, metric, name=None):
    rows = comparison.whole if name is None else comparison.classes
    return next(one for one in rows if one.metric == metric and one.class_name == name)


def test_higher_accuracy_is_better_and_its_reverse_worse():
    forward, back = compare(LABEL, MAP), compare(MAP, LABEL)
    assert found(forward, "oa").verdict == "better" and found(back, "oa").verdict == "worse"
    assert found(forward, "oa").difference == pytest.approx(0.81 - 0.70)
    assert found(forward, "oa").difference == -found(back, "oa").difference


def test_less_disagreement_is_better():
    one = found(compare(LABEL, MAP), "quantity_disagreement")
    assert one.candidate < one.baseline and one.difference < 0 and one.verdict == "better"


def test_area_bias_is_judged_by_its_distance_from_zero():
    built = found(compare(LABEL, MAP), "area_bias", "built")
    assert (built.baseline, built.candidate, built.verdict) == (-1.0, -0.4, "better")
    forest = found(compare(LABEL, MAP), "area_bias", "forest")
    assert forest.baseline > 0 > forest.candidate and forest.verdict == "better"


def test_what_vanishes_at_three_decimals_is_equal():
    rounded = compare(scored([[10_000, 0, 0], [0, 0, 0], [0, 0, 0]]), scored([[9_996, 4, 0], [0, 0, 0], [0, 0, 0]]))
    assert found(rounded, "oa").verdict == "equal"
    assert found(compare(LABEL, LABEL), "miou").verdict == "equal"


def test_undefined_is_not_judged():
    one = found(compare(LABEL, MAP), "precision", "built")
    assert (one.baseline, one.difference, one.verdict) == (None, None, "undefined")


def test_other_reference_pixels_are_noticed():
    assert compare(LABEL, MAP).same_reference
    fewer = scored([[55, 5, 0], [10, 20, 0], [2, 2, 5]])
    assert not compare(LABEL, fewer).same_reference


def test_the_label_without_data_is_scored_on_the_same_pixels():
    assert compare(scored([[50, 0, 0], [10, 20, 0], [0, 10, 0]], missing=[10, 0, 0]), MAP).same_reference


def test_it_is_plain_json():
    json.dumps(compare(LABEL, MAP).to_dict(), allow_nan=False)
