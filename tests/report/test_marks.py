import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mapmend.core.legend import Legend, LegendClass
from mapmend.report.marks import place_marks

LEGEND = Legend("three", tuple(LegendClass(id, f"c{id}", "#102030") for id in (7, 42, 99)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40), st.integers(60, 500), st.integers(60, 500))
def test_a_number_stands_on_its_own_class_and_none_overlap(seed, grain, height, width):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 4, (height // grain + 1, width // grain + 1)).astype(np.uint8)
    indices = coarse.repeat(grain, 0).repeat(grain, 1)[:height, :width]
    indices[indices == 3] = 255
    marks = place_marks(indices, LEGEND)
    for mark in marks:
        assert 0 < mark.x < 1 and 0 < mark.y < 1
        assert LEGEND.ids[indices[int(mark.y * height), int(mark.x * width)]] == mark.id
    places = np.array([(mark.x * width, mark.y * height) for mark in marks]).reshape(-1, 2)
    apart = np.hypot(*(places[:, None] - places[None]).T) + np.eye(len(places)) * 1e9
    assert (apart > 0.07 * max(height, width)).all()


def test_every_class_that_is_wide_enough_has_a_number():
    indices = np.zeros((300, 300), np.uint8)
    indices[100:200, 100:200] = 1
    indices[10:30, 10:30] = 2
    assert {mark.id for mark in place_marks(indices, LEGEND)} == {7, 42, 99}


def test_a_thin_line_has_none():
    indices = np.zeros((300, 300), np.uint8)
    indices[:, 150:153] = 1
    assert {mark.id for mark in place_marks(indices, LEGEND)} == {7}


def test_nothing_has_none():
    assert place_marks(np.full((50, 50), 255, np.uint8), LEGEND) == ()
