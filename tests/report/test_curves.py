import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapmend.report.curves import draw_curves, spread
from mapmend.report.data import CurvePoint


def texts(chart):
    return [
        "".join(node.itertext()) for node in ElementTree.fromstring(chart.svg).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_a_chart_for_each_thing_the_log_has():
    points = [CurvePoint(1, {"total": 2.0}, {}, 0.1), CurvePoint(2, {"total": 1.0}, {"miou": 0.4}, 0.05)]
    charts = draw_curves(points)
    assert [chart.title for chart in charts] == ["Training loss", "Validation", "Learning rate"]
    assert charts[0].alt == "Training loss from step 1 to 2; at the end: total 1"
    assert "Mean IoU" in texts(charts[1]) and "total" in texts(charts[0])
    assert draw_curves([CurvePoint(1, {"total": 2.0})])[0].title == "Training loss"
    assert draw_curves([]) == [] and draw_curves([CurvePoint(3)]) == []


def test_lines_differ_in_dash_and_marker_not_only_in_colour():
    names = [f"loss {letter}" for letter in "abcdef"]
    points = [CurvePoint(step, {name: float(i + step) for i, name in enumerate(names)}) for step in range(5)]
    svg = draw_curves(points)[0].svg
    dashes = {
        line.split("stroke-dasharray: ")[1].split(";")[0] for line in svg.split('"') if "stroke-dasharray: " in line
    }
    assert len(dashes) >= 5
    assert [text for text in texts(draw_curves(points)[0]) if text in names] == names


def test_what_is_not_finite_is_left_out():
    points = [CurvePoint(1, {"a": 1.0}), CurvePoint(2, {"a": math.nan}), CurvePoint(3, {"a": 0.5, "b": math.inf})]
    [chart] = draw_curves(points)
    assert chart.alt.endswith("at the end: a 0.5") and "b" not in texts(chart)


def test_long_logs_are_thinned_and_say_so():
    points = [CurvePoint(step, {"a": 1.0 / step}) for step in range(1, 20_001)]
    [chart] = draw_curves(points)
    assert len(chart.svg) < 40_000 and "mean of 125 entries" in chart.note


def test_the_kept_step_is_marked():
    points = [CurvePoint(step, {"a": 1.0}) for step in range(0, 101, 10)]
    assert "kept: step 40" in texts(draw_curves(points, 40)[0])
    assert not any("kept" in text for text in texts(draw_curves(points, 4000)[0]))


def test_names_from_outside_cannot_break_the_drawing():
    [chart] = draw_curves([CurvePoint(1, {"<b>&$x_1$": 1.0})])
    assert "<b>&$x 1$" in texts(chart)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_names_keep_their_distance_and_order(wanted):
    wanted = sorted(wanted)
    places = spread(wanted, 0.1)
    assert len(places) == len(wanted)
    assert all(b - a >= 0.1 - 1e-9 for a, b in zip(places, places[1:], strict=False))
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)


def test_names_with_room_stay_where_they_are():
    assert spread([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
