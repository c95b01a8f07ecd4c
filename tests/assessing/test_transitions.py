"""Samples of two dates, and samples with two interpreters."""

import json

import numpy as np
import pytest
from tests.assessing.conftest import NAMES, STRATA
from tests.assessing.test_sample import assessed

from mapmend.assessing.inference import Units, share
from mapmend.assessing.interpreters import Agreement
from mapmend.assessing.sample import assess_sample


def of_change(handed, **options):
    found = assess_sample([handed.write()], None, handed.folder / "change", **options)
    return json.loads(json.dumps(found.to_dict(), allow_nan=False))


def weighted(rule):
    """Share of the population, and its standard error with finite-population correction, of points that obey."""
    value = variance = 0.0
    for _, size, old_map, new_map, answers in STRATA:
        hits = [rule(old, new, old_map, new_map) for old, new, number in answers for _ in range(number)]
        value += size / 900 * np.mean(hits)
        variance += (size / 900) ** 2 * (1 - 20 / size) * np.var(hits, ddof=1) / 20
    return value, variance**0.5


def test_transitions_have_areas_and_intervals(dated):
    found = of_change(dated)["transitions"]
    for i, old in enumerate(NAMES):
        for j, new in enumerate(NAMES):
            value, se = weighted(lambda a, b, *_, old=old, new=new: (a, b) == (old, new))
            cell = found["area_ha"][i][j]
            assert cell["estimate"] == pytest.approx(81 * value) and cell["se"] == pytest.approx(81 * se)
            assert cell["interval"][0] <= cell["estimate"] < cell["interval"][1]
    value, se = weighted(lambda a, b, *_: a != b)
    assert found["changed_ha"]["estimate"] == pytest.approx(81 * value)
    assert found["changed_ha"]["se"] == pytest.approx(81 * se)
    assert found["counts"] == [[23, 15], [0, 22]]
    for side in ("before_ha", "after_ha"):
        assert sum(one["estimate"] for one in found[side]) == pytest.approx(81)
    assert sum(cell["estimate"] for row in found["area_ha"] for cell in row) == pytest.approx(81)
    assert found["before_ha"][0]["estimate"] == pytest.approx(sum(cell["estimate"] for cell in found["area_ha"][0]))


def test_accuracy_of_change_and_of_both_maps(dated):
    found = of_change(dated)
    both = weighted(lambda a, b, c, d: a != b and c != d)[0]
    changed, mapped = weighted(lambda a, b, *_: a != b)[0], 100 / 900
    change = found["transitions"]["change_map"]["classes"][1]
    assert change["users_accuracy"]["estimate"] == pytest.approx(both / mapped) == pytest.approx(12 / 20)
    assert change["producers_accuracy"]["estimate"] == pytest.approx(both / changed)
    right = weighted(lambda a, b, c, d: a == NAMES[c - 1])[0]
    assert found["transitions"]["before_map"]["overall_accuracy"]["estimate"] == pytest.approx(right)
    assert found["overall_accuracy"]["estimate"] == pytest.approx(weighted(lambda a, b, c, d: b == NAMES[d - 1])[0])
    names = [row["name"] for row in found["trees"]["areas"]]
    assert names == ["forest", "water", "all change", "forest → water"]


def test_that_changed_pixels_lie_in_one_stratum_narrows_the_interval_of_change(dated):
    """20 points of the mapped change: the plain Jeffreys interval of 12 of 20."""
    users = of_change(dated)["transitions"]["change_map"]["classes"][1]["users_accuracy"]
    alone = share(Units("matched", np.zeros(20, int), np.array([100.0])), np.arange(20) < 12, 0.95)
    assert users["interval"] == pytest.approx([alone.interval.lower, alone.interval.upper])


def test_a_map_of_one_date_has_no_accuracy_of_change(dated):
    found = assessed(dated)
    assert found["transitions"]["change_map"] is None and found["transitions"]["before_map"] is None
    assert found["transitions"]["changed_ha"]["estimate"] == pytest.approx(81 * weighted(lambda a, b, *_: a != b)[0])


def test_an_answer_for_one_date_alone_is_none(dated):
    dated.rows[0]["reference_before"] = ""
    dated.rows[21]["reference"] = ""
    found = of_change(dated)
    assert [one["answered"] for one in found["design"]["stratum_table"]] == [19, 19, 20]
    assert any("answered for one date alone, which count as unanswered: 2" in note for note in found["notes"])


def test_two_interpreters(small):
    """The second sees three forests as water, and answers one point more."""
    alone = assessed(small)
    first = [row | {"interpreter": "Ada"} for row in small.rows]
    second = [row | {"interpreter": "Ben"} for row in small.rows]
    for row in second[:3]:
        assert row["reference"] == "forest"
        row["reference"] = "water"
    first[40]["reference"] = ""
    small.rows = [*first, *second]
    found = assessed(small)
    people = found["interpreters"]
    assert [(one["name"], one["points"]) for one in people["each"]] == [("Ada", 44), ("Ben", 45)]
    agreement = people["agreement"][0]
    assert agreement["points"] == 44 and agreement["agreement"] == pytest.approx(41 / 44)
    assert [sum(row) for row in agreement["counts"]] == [18, 16, 10]
    chance = (18 * 15 + 16 * 19 + 10 * 10) / 44**2
    assert agreement["kappa"] == pytest.approx((41 / 44 - chance) / (1 - chance))
    assert agreement["classes"][0]["agreement"] == pytest.approx(2 * 15 / (18 + 15))
    # both answered 44, where the first counts; the second alone answered one, as the first did before
    assert found["overall_accuracy"] == alone["overall_accuracy"]
    by_second = (500 * 14 / 20 + 300 * 1 / 15) * 0.09
    assert people["each"][1]["area_ha"][0]["estimate"] == pytest.approx(by_second)
    assert people["area_range_ha"][0]["range"][0] == pytest.approx(by_second)
    assert any("first counts of: Ada, Ben" in note for note in found["notes"])


def test_one_file_of_each_interpreter(small):
    paths = []
    every = small.rows
    for name in ("Ada", "Ben"):
        small.rows = [row | {"interpreter": name} for row in every]
        paths.append(small.write(f"{name}.csv"))
    found = assess_sample(paths, None, small.map)
    assert found.interpreters.agreements[0].overall == 1 and found.interpreters.agreements[0].kappa == 1


def test_no_kappa_where_only_one_class_was_ever_said():
    assert Agreement("a", "b", ("x", "y"), ((5, 0), (0, 0))).kappa is None
    assert Agreement("a", "b", ("x", "y"), ((5, 0), (0, 0))).of_class(1) is None
