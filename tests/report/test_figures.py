import dataclasses

import numpy as np
import pytest

from mapmend.core.legend import Legend, LegendClass
from mapmend.report.data import SitePanel
from mapmend.report.figures import class_picture, confidence_colours, sample, site_layers, steps_picture

LEGEND = Legend(
    "four",
    (
        LegendClass(11, "open_water", "#0000ff"),
        LegendClass(41, "forest", "#00aa00"),
        LegendClass(0, "bare", "#aa8855"),
        LegendClass(254, "snow", "#fefefe"),
    ),
)


def lightness(rgb):
    """CIE L* of an sRGB colour."""
    linear = np.where((c := np.asarray(rgb) / 255) <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * np.cbrt(luminance) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_classes_keep_their_exact_colours():
    indices = np.random.default_rng(0).integers(0, 4, (500, 420), dtype=np.uint8)
    shown = np.asarray(class_picture(indices, LEGEND, 720).convert("RGB"))
    assert np.array_equal(shown, np.array(LEGEND.colors, np.uint8)[indices])


def test_a_class_map_is_sampled_not_mixed():
    indices = np.random.default_rng(0).integers(0, 4, (1000, 1000), dtype=np.uint8)
    shown = np.asarray(class_picture(indices, LEGEND, 100).convert("RGB"))
    assert shown.shape == (100, 100, 3)
    assert np.array_equal(shown, np.array(LEGEND.colors, np.uint8)[indices[5::10, 5::10]])


@pytest.mark.parametrize(
    ("shape", "side"), [((3, 5), 720), ((400, 100), 720), ((2000, 30), 720), ((999, 1001), 480), ((1, 1), 240)]
)
def test_pictures_keep_their_shape_and_never_exceed_the_side(shape, side):
    drawn = sample(np.zeros(shape, np.uint8), side)
    assert max(drawn.shape) <= side
    assert drawn.shape[1] / drawn.shape[0] == pytest.approx(shape[1] / shape[0], rel=0.05)


def test_small_maps_are_enlarged_by_whole_pixels():
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    drawn = sample(values, 720)
    times = drawn.shape[1] // 3
    assert times > 100 and np.array_equal(drawn, values.repeat(times, 0).repeat(times, 1))


def test_no_data_is_hatched_with_colours_of_no_class():
    shown = np.asarray(class_picture(np.full((420, 420), 255, np.uint8), LEGEND, 720).convert("RGB"))
    colours = {tuple(colour) for colour in shown.reshape(-1, 3).tolist()}
    assert len(colours) == 2 and not colours & set(LEGEND.colors)


def test_confidence_is_read_off_a_scale_that_only_gets_lighter():
    lights = [lightness(colour) for colour in confidence_colours()]
    assert all(later > earlier for earlier, later in zip(lights, lights[1:], strict=False))
    confidence = np.array([[0, 9, 10, 199, 200, 255]], np.uint8).repeat(420, 0)
    drawn = np.asarray(steps_picture(confidence, confidence_colours(), 720))
    row = drawn[0, :: drawn.shape[1] // 6]
    assert row[:5].tolist() == [0, 0, 1, 19, 19] and row[5] >= 20


def site(**layers):
    return SitePanel("place", np.ones((2, 2), bool), **{name: np.array(ids, np.uint8) for name, ids in layers.items()})


def shares(panel):
    layer = next(layer for layer in site_layers(panel, LEGEND) if layer.kind == "comparison")
    return {one.name: one.share for one in layer.outcomes}


def test_right_and_wrong_by_hand():
    reference = [[11, 41], [41, 255]]
    panel = site(reference=reference, label=[[11, 11], [41, 0]], map=[[11, 41], [0, 0]])
    assert shares(panel) == pytest.approx(
        {"both right": 1 / 3, "only map right": 1 / 3, "only label right": 1 / 3, "both wrong": 0}
    )
    assert shares(dataclasses.replace(panel, label=None)) == pytest.approx({"map right": 2 / 3, "map wrong": 1 / 3})
    panel = site(label=[[11, 255], [41, 41]], map=[[11, 41], [0, 255]])
    assert shares(panel) == pytest.approx({"same class": 1 / 2, "other class": 1 / 2})


def test_a_map_without_data_is_wrong_where_there_is_a_reference():
    assert shares(site(reference=[[11, 11], [11, 11]], map=[[255, 11], [11, 11]]))["map wrong"] == 0.25


def test_invalid_pixels_are_not_compared():
    panel = site(reference=[[11, 11], [11, 11]], map=[[11, 11], [41, 41]])
    panel = dataclasses.replace(panel, valid=np.array([[True, True], [True, False]]))
    assert shares(panel)["map wrong"] == pytest.approx(1 / 3)


def test_outcomes_differ_in_lightness():
    panel = site(reference=[[11, 11], [11, 11]], map=[[11, 11], [11, 11]], label=[[11, 11], [11, 11]])
    layer = next(layer for layer in site_layers(panel, LEGEND) if layer.kind == "comparison")
    lights = sorted(lightness(one.colour) for one in layer.outcomes)
    assert min(np.diff(lights)) > 20


def test_the_words_of_a_layer_say_what_it_shows():
    layer = site_layers(site(map=[[11, 11], [11, 41]]), LEGEND)[0]
    assert layer.alt == "New map, place: open water 75%, forest 25%"


def test_images_of_further_sensors_are_shown_by_their_names():
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 255, (2, 40, 40, 3), dtype=np.uint8)
    valid = np.ones((40, 40), bool)
    site = SitePanel("here", valid, image=before, sensor="before", others=(("after", after),))
    first, second = site_layers(site, LEGEND)
    assert [layer.title for layer in (first, second)] == ["Image: before", "Image: after"]
    assert not np.array_equal(np.asarray(first.draw(400)), np.asarray(second.draw(400)))
    with pytest.raises(ValueError, match="image is"):
        dataclasses.replace(site, others=(("after", after[:20]),))
