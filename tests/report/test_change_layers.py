import dataclasses

import numpy as np
import pytest
from PIL import Image

from mapmend.core.legend import Legend, LegendClass
from mapmend.report.change_data import ChangePanel
from mapmend.report.change_layers import OUTLINE, UNCHANGED, all_layers, probability_colours
from mapmend.report.data import SitePanel
from mapmend.report.figures import OUTCOME_COLOURS, confidence_colours
from mapmend.report.panel import PAIR_KINDS, draw_panel

LEGEND = Legend(
    "three",
    (LegendClass(7, "water", "#0000ff"), LegendClass(30, "field", "#ddcc00"), LegendClass(99, "town", "#aa0000")),
)
# Machado, Oliveira and Fernandes 2009, severity 1; on linear RGB
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
TRITANOPIA = np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]])


def lab(rgb, seen_with):
    """CIE L*a*b* (D65) of an sRGB colour as an eye sees it."""
    c = np.asarray(rgb) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    linear = np.clip(seen_with @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in to_xyz @ linear / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", [np.eye(3), PROTANOPIA, DEUTERANOPIA, TRITANOPIA])
def test_outcomes_are_told_apart_by_any_eye(eye):
    colours = [lab(colour, eye) for colour in OUTCOME_COLOURS]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i]]
    assert min(distances) > 20
    assert np.linalg.norm(lab(UNCHANGED, eye) - lab(OUTLINE, eye)) > 60


@pytest.mark.parametrize("eye", [np.eye(3), PROTANOPIA, DEUTERANOPIA, TRITANOPIA])
@pytest.mark.parametrize("scale", [probability_colours(), confidence_colours()[::-1]])
def test_scales_only_get_darker_to_any_eye(scale, eye):
    lights = [lab(colour, eye)[0] for colour in scale]
    assert all(later < earlier for earlier, later in zip(lights, lights[1:], strict=False))
    assert lights[0] - lights[-1] > 60


def site(before, after, **layers):
    before, after = (np.array(ids, np.uint8) for ids in (before, after))
    valid = np.ones(before.shape, bool)
    layers = {name: np.array(ids, np.uint8) for name, ids in layers.items()}
    old = layers.pop("old_reference", None)
    return SitePanel(
        "place",
        valid,
        map=after,
        reference=layers.get("reference"),
        date="2024",
        change=ChangePanel(valid, "2016", map=before, reference=old),
    )


def layer(panel, kind):
    return next(one for one in all_layers(panel, LEGEND) if one.kind == kind)


def test_change_is_drawn_in_the_class_it_became_with_a_line_around_it():
    before = np.full((420, 420), 7)
    after = before.copy()
    after[100:200, 50:90] = 99
    drawn = np.asarray(layer(site(before, after), "change").draw(720).convert("RGB"))
    assert (drawn[100:200, 50:90] == LEGEND.colors[2]).all()
    assert (drawn[99, 50:90] == OUTLINE).all() and (drawn[200, 50:90] == OUTLINE).all()
    assert (drawn[100:200, 49] == OUTLINE).all() and (drawn[100:200, 90] == OUTLINE).all()
    line = (drawn == OUTLINE).all(-1).sum()
    assert line == 2 * (100 + 40)
    assert (drawn == UNCHANGED).all(-1).sum() == 420 * 420 - 100 * 40 - line


def test_two_changes_side_by_side_are_parted_though_they_became_the_same():
    before = np.full((420, 420), 7)
    before[:, 200:] = 30
    after = np.full_like(before, 99)
    drawn = np.asarray(layer(site(before, after), "change").draw(720).convert("RGB"))
    columns = (drawn == OUTLINE).all(-1).any(0)
    assert columns.sum() == 1 and columns[199:201].any()


def test_the_words_and_numbers_of_a_change():
    before = np.full((100, 100), 7)
    after = before.copy()
    after[20:60, 20:60] = 99
    after[70:90, 70:80] = 30
    after[0, :] = 255
    shown = layer(site(before, after), "change")
    assert (
        shown.alt == "Change, place, 2016 to 2024: 18.2% of the mapped area; most of it water to town, water to field"
    )
    assert {mark.text for mark in shown.marks} == {"7→99", "7→30"}
    assert [round(one.share, 3) for one in shown.outcomes] == [0.818, 0.182]
    assert shown.ids == {99, 30}


def test_change_found_and_missed_by_hand():
    truth = {"old_reference": [[7, 7, 7, 7, 255]], "reference": [[99, 99, 7, 7, 7]]}
    found = layer(site([[7, 7, 7, 7, 7]], [[99, 7, 30, 7, 99]], **truth), "found")
    shares = {one.name: one.share for one in found.outcomes}
    assert shares == {"unchanged in both": 0.25, "false alarm": 0.25, "missed": 0.25, "found": 0.25}


def test_without_both_references_nothing_is_found():
    kinds = [one.kind for one in all_layers(site([[7]], [[99]], reference=[[99]]), LEGEND)]
    assert kinds == ["map_before", "map", "reference", "comparison", "change"]


def test_nothing_changed_and_nothing_known_are_drawn_too():
    same = layer(site([[7, 30]], [[7, 30]]), "change")
    assert same.alt.endswith("0.0% of the mapped area") and same.marks == ()
    void = layer(site([[255, 255]], [[7, 255]]), "change")
    colours = {tuple(colour) for colour in np.asarray(void.draw(400).convert("RGB")).reshape(-1, 3).tolist()}
    assert len(colours) == 2 and UNCHANGED not in colours


def test_a_pixel_that_is_invalid_at_one_date_is_no_change():
    panel = site([[7, 7]], [[99, 99]])
    change = dataclasses.replace(panel.change, valid=np.array([[True, False]]))
    shown = layer(dataclasses.replace(panel, change=change), "change")
    assert shown.outcomes[1].share == 1.0
    drawn = np.asarray(shown.draw(400).convert("RGB"))
    assert not (drawn[:, drawn.shape[1] // 2 + 2 :] == LEGEND.colors[2]).all(-1).any()


def test_a_panel_file_shows_both_dates(change_report_data, tmp_path):
    data = change_report_data(side=60, sites=1)
    path = draw_panel(data.sites[0], data.legend, tmp_path / "pair.png", dpi=60)
    with (
        Image.open(path) as pair,
        Image.open(draw_panel(data.sites[0], data.legend, tmp_path / "one.png", kinds=PAIR_KINDS[:1], dpi=60)) as one,
    ):
        assert len(PAIR_KINDS) == 5 and pair.width > 4.5 * one.width
