import dataclasses

import numpy as np
import pytest
from tests.report.parsed_page import Page, number

from mapmend.accuracy.change import ChangeAccuracy, change_metrics
from mapmend.core.legend import Legend, LegendClass
from mapmend.report.change_data import ChangePanel, ChangeReport
from mapmend.report.data import ReportData, SitePanel
from mapmend.report.page import render

BAD = '<script>alert("x")</script>&'


@pytest.fixture(scope="module")
def full(change_report_data):
    data = change_report_data()
    return data, render(data)


def head(entry):
    return f"{entry.id} {entry.name.replace('_', ' ')}"


def test_the_page_is_well_formed_and_loads_nothing(full):
    page = Page(full[1])
    assert len(page.ids) == len(set(page.ids))
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert value.startswith(("data:", "#")), (tag, name, value[:60])
            assert tag != "a" or value[1:] in page.ids
    assert not {tag for tag, _, _ in page.attributes} & {"script", "iframe", "object", "embed"}
    assert full[1].count("<table") == full[1].count("<caption>") == len(page.tables)


def test_each_date_and_the_change_have_their_pictures_with_words(full):
    page = Page(full[1])
    alts = [value for tag, name, value in page.attributes if tag == "img" and name == "alt"]
    assert len(alts) == len(set(alts)) == 2 * (6 + 6 + 4)
    for start in (
        "Image of site 1, 2016-07-01",
        "Image of site 1, 2024-07-31",
        "New map, site 1, 2016-07-01: ",
        "Confidence of the map, site 1, 2016-07-01: mean ",
        "Probability of change, site 1, 2016-07-01 to 2024-07-31: mean ",
        "Change, site 1, 2016-07-01 to 2024-07-31: ",
        "Updated map, site 1, ",
        "Change found and missed, site 1, ",
    ):
        assert any(alt.startswith(start) for alt in alts), start
    for text in ("Before: 2016-07-01", "After: 2024-07-31", "before only"):
        assert page.words().count(text) == 2


def test_the_from_to_table_shows_the_areas_and_the_two_maps(full):
    data, html = full
    rows = Page(html).tables["From 2016-07-01 (rows) to 2024-07-31 (columns), in ha"]
    areas = np.array(data.change.areas)
    assert [row[0] for row in rows[1:-1]] == [head(entry) for entry in data.legend.classes]
    shown = np.array([[0 if "·" in cell or "<" in cell else number(cell) for cell in row[1:]] for row in rows[1:]])
    assert shown[:-1, :-1] == pytest.approx(areas, abs=5.1e-3)
    assert shown[:-1, -1] == pytest.approx(areas.sum(1), abs=5.1e-3)
    assert shown[-1, :-1] == pytest.approx(areas.sum(0), abs=5.1e-3)
    assert rows[-1][0] == "2024-07-31" and rows[0][-1] == "2016-07-01"
    assert shown[-1, -1] == pytest.approx(areas.sum(), abs=5.1e-3)


def test_the_figures_of_change_are_on_the_page(full):
    data, html = full
    metrics = change_metrics(data.change.accuracy)
    rows = {row[0]: row[1] for row in Page(html).tables["Change found and missed"]}
    for name, value in (
        ("IoU of change", metrics.iou_changed),
        ("F1 of change", metrics.f1_changed),
        ("Precision of change", metrics.precision_changed),
        ("Recall of change", metrics.recall_changed),
        ("Right from and to", metrics.transition_accuracy_hits),
        ("Figure of merit", metrics.figure_of_merit_from_to),
        ("Overall accuracy of change", metrics.oa_change),
    ):
        assert number(rows[name]) == pytest.approx(value, abs=5.01e-4)
    counts = Page(html).tables["Change on the map (columns) against the truth (rows): pixels"]
    assert number(counts[1][1]) == metrics.correct_rejections and counts[1][2].endswith("false alarms")
    assert number(counts[2][2].removesuffix(" found")) == metrics.hits
    assert "12 of them, 0.5100 ha" in Page(html).words()


def test_both_dates_have_areas_and_accuracy_of_their_own(full):
    data, html = full
    tables = Page(html).tables
    for when, areas in (("2016-07-01", data.areas_before), ("2024-07-31", data.areas)):
        rows = {row[0]: row[1:] for row in tables[f"Area of each class in ha, {when}"]}
        assert number(rows["Total"][0]) == pytest.approx(sum(areas.map), rel=1e-3)
        assert f"New map, {when} (columns) against the reference (rows): pixels" in tables
    text = Page(html).words()
    assert "From 2016-07-01 to 2024-07-31" in text and "The reference of 2016 is a map made by hand." in text


def test_a_class_that_occurs_nowhere_is_not_in_the_legend():
    legend = Legend("three", tuple(LegendClass(i, f"class_{i}", f"#10{i}0ff") for i in range(1, 4)))
    ones = np.ones((4, 4), np.uint8)
    site = SitePanel("s", ones > 0, map=ones, change=ChangePanel(ones > 0, map=2 * ones))
    areas = ((0.0, 0.0, 0.0), (9.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    page = Page(render(ReportData("t", legend, sites=(site,), change=ChangeReport("px", areas, 1))))
    assert "class 1" in page.words() and "class 2" in page.words() and "class 3" not in page.words()
    assert "other classes (1) do not occur" in page.words()
    assert "Between the two dates 9 px" in page.words() and "in 1 patch;" in page.words()


def test_what_a_date_lacks_leaves_its_place_empty(full):
    data, _ = full
    site = data.sites[0]
    site = dataclasses.replace(site, label=None, change=dataclasses.replace(site.change, reference=None))
    text = Page(render(dataclasses.replace(data, sites=(site,)))).words()
    assert text.count("none at this date") == 2  # the later label, the earlier reference
    assert text.count("Change found and missed") == 1  # the table, no picture


def test_text_from_outside_is_escaped(change_report_data):
    legend = Legend("x", tuple(LegendClass(i, f"{BAD}{i}", f"#1{i}2233") for i in range(3)))
    data = change_report_data(legend, sites=1)
    change = dataclasses.replace(data.change, dates=((BAD, BAD + "2"),), mmu=BAD, reference=BAD)
    site = dataclasses.replace(data.sites[0], name=BAD, change=dataclasses.replace(data.sites[0].change, date=BAD))
    html = render(dataclasses.replace(data, change=change, sites=(site,)))
    assert "<script" not in html
    assert Page(html).words().count(BAD) > 20


def test_no_change_at_all_is_said():
    legend = Legend("two", (LegendClass(1, "dry", "#aa8855"), LegendClass(2, "wet", "#0055aa")))
    accuracy = ChangeAccuracy(legend.names, "ha")
    page = Page(
        render(ReportData("t", legend, change=ChangeReport("ha", ((3.0, 0.0), (0.0, 4.0)), 0, accuracy=accuracy)))
    )
    assert "nothing changed on the map" in page.words() and "The largest changes" not in page.tables
    empty = Page(render(ReportData("t", legend, change=ChangeReport("ha", ((0.0, 0.0), (0.0, 0.0)), 0))))
    assert "nothing changed" in empty.words()


def test_a_report_of_one_date_does_not_speak_of_change(report):
    text = Page(render(report(sites=1))).words()
    assert "Change" not in text and "Before" not in text and "both dates" not in text


def test_six_sites_of_two_dates_and_many_classes_stay_a_small_page(change_report_data):
    data = change_report_data("clc", side=48, sites=1)
    rng = np.random.default_rng(0)
    side = 300  # pure noise is the worst there is for any compression

    def noise(high):
        return rng.integers(0, high, (side, side), dtype=np.uint8)

    def classes():
        return data.legend.id_lut[noise(len(data.legend))]

    def image():
        return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)

    valid = np.ones((side, side), bool)
    before = ChangePanel(valid, "2016", image(), classes(), classes(), noise(201), classes(), noise(201), classes())
    site = SitePanel("noise", valid, image(), classes(), classes(), noise(201), classes(), "2024", 2.0, change=before)
    html = render(dataclasses.replace(data, sites=(site,) * 7))
    assert html.count("<article") == 6 and len(html.encode()) < 3_000_000
