import dataclasses
import re

import numpy as np
import pytest
from tests.report.parsed_page import Page, number

from mapmend.accuracy.compare import compare
from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import map_metrics
from mapmend.core.legend import Legend, LegendClass
from mapmend.report.data import Accuracy, ClassAreas, CurvePoint, ReportData, SitePanel
from mapmend.report.page import render, write_report
from mapmend.report.pictures import scale_bar

BAD = '<script>alert("x")</script>&'


@pytest.fixture(scope="module")
def full(report):
    data = report()
    return data, render(data)


def test_the_page_is_well_formed_and_ids_are_unique(full):
    page = Page(full[1])
    assert len(page.ids) == len(set(page.ids))
    anchors = [value[1:] for tag, name, value in page.attributes if tag == "a" and name == "href"]
    assert anchors and set(anchors) <= set(page.ids)


def test_nothing_is_loaded_from_anywhere(full):
    page = Page(full[1])
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert value.startswith(("data:", "#")), (tag, name, value[:60])
    assert not {tag for tag, _, _ in page.attributes} & {"script", "iframe", "object", "embed"}
    assert "@import" not in full[1] and not re.search(r"url\((?!#)", full[1])


def test_pictures_have_words_and_tables_have_heads(full):
    page = Page(full[1])
    images = sum(1 for tag, name, _ in page.attributes if tag == "img" and name == "src")
    alts = [value for tag, name, value in page.attributes if tag == "img" and name == "alt"]
    assert images == len(alts) == 2 * 6 and all(alts)
    assert any(alt.startswith("New map, site 1, 2024-07-31: ") and "%" in alt for alt in alts)
    assert ("html", "lang", "en") in page.attributes
    assert full[1].count("<table") == full[1].count("<caption>") == full[1].count("<thead>")


def test_text_from_outside_is_escaped(report):
    legend = Legend("x", (LegendClass(1, BAD, "#112233"), LegendClass(2, "plain", "#ffeedd")), title=BAD, source=BAD)
    data = report(legend)
    panel = dataclasses.replace(data.sites[0], name=BAD, note=BAD, date=BAD)
    data = dataclasses.replace(
        data,
        title=BAD,
        subtitle=BAD,
        created=BAD,
        sites=(panel,),
        notes=(BAD,),
        warnings=(BAD,),
        provenance={BAD: [BAD, {BAD: BAD}]},
        accuracy=dataclasses.replace(data.accuracy, reference=BAD),
        curves=tuple(CurvePoint(step, {BAD: 1.0 / step}, {"$x_1$": 0.5}) for step in (1, 2)),
    )
    html = render(data)
    assert "<script" not in html
    page = Page(html)
    assert page.words().count(BAD) >= 12
    assert ("img", "alt", f"Image of {BAD}, {BAD}") in page.attributes


def test_the_whole_map_table_shows_the_metrics(full):
    data, html = full
    rows = {row[0]: row[1:] for row in Page(html).tables["The whole map"]}
    comparison = compare(map_metrics(data.accuracy.label), map_metrics(data.accuracy.map))
    titles = {
        "oa": "Overall accuracy",
        "kappa": "Cohen’s kappa",
        "miou": "Mean IoU",
        "fwiou": "Frequency-weighted IoU",
        "mf1": "Mean F1",
        "quantity_disagreement": "Quantity disagreement",
        "allocation_disagreement": "Allocation disagreement",
    }
    for one in comparison.whole:
        label, map_, difference, verdict, _ = rows[titles[one.metric]]
        assert number(label) == pytest.approx(one.baseline, abs=5.01e-4)
        assert number(map_) == pytest.approx(one.candidate, abs=5.01e-4)
        assert number(difference) == pytest.approx(one.difference, abs=5.01e-4)
        assert verdict.split()[-1] == one.verdict


def test_the_class_tables_show_the_metrics(full):
    data, html = full
    tables = Page(html).tables
    ious = {row[0]: row[1:] for row in tables["Each class: intersection over union (IoU)"]}
    others = {row[0]: row[1:] for row in tables["Each class: other measures"]}
    of_label = {one.name: one for one in map_metrics(data.accuracy.label).classes}
    for one in map_metrics(data.accuracy.map).classes:
        entry = data.legend.classes[data.legend.index_of(one.name)]
        head = f"{entry.id} {entry.name.replace('_', ' ')}"
        before = of_label[one.name]
        assert number(ious[head][0]) == one.reference
        assert [number(text) for text in ious[head][1:3]] == pytest.approx([before.iou, one.iou], abs=5.01e-4)
        expected = [
            value
            for key in ("recall", "precision", "f1", "area_bias")
            for value in (getattr(before, key), getattr(one, key))
        ]
        assert [number(text) for text in others[head]] == pytest.approx(expected, abs=5.01e-4)


def test_the_confusion_matrix_shows_the_counts(full):
    data, html = full
    name = "New map (columns) against the reference (rows)"
    tables = Page(html).tables
    counts, shares = tables[f"{name}: pixels"][1:], tables[f"{name}: per cent of the reference class"][1:]
    matrix = data.accuracy.map.counts
    assert len(counts) == len(data.legend)
    for row, (pixels, percent) in enumerate(zip(counts, shares, strict=True)):
        shown = [0 if text == "·" else number(text) for text in pixels[1:-1]]
        assert shown[: len(matrix)] == matrix[row].tolist()
        assert number(pixels[-1]) == matrix[row].sum()
        assert number(percent[1 + row]) == pytest.approx(100 * matrix[row, row] / matrix[row].sum(), abs=0.0501)


def test_the_area_table_shows_the_areas(full):
    data, html = full
    rows = {row[0]: row[1:] for row in Page(html).tables["Area of each class in ha"]}
    for entry, label, map_, reference in zip(
        data.legend.classes, data.areas.label, data.areas.map, data.areas.reference, strict=True
    ):
        shown = rows[f"{entry.id} {entry.name.replace('_', ' ')}"]
        assert [number(shown[i]) for i in (0, 2, 4, 5)] == pytest.approx(
            [label, map_, map_ - label, reference], rel=5e-3, abs=1e-3
        )
        assert number(shown[3]) == pytest.approx(100 * map_ / sum(data.areas.map), abs=0.0501)
    assert number(rows["Total"][2]) == pytest.approx(sum(data.areas.map), rel=1e-3)


def scored(map_counts, label_counts, label_missing=None):
    legend = Legend("two", (LegendClass(1, "dry", "#aa8855"), LegendClass(2, "wet", "#0055aa")))
    label = None
    if label_counts is not None:
        label = ConfusionMatrix.from_counts(legend.names, label_counts, label_missing)
    return ReportData("t", legend, accuracy=Accuracy(ConfusionMatrix.from_counts(legend.names, map_counts), label))


def test_a_worse_map_is_called_worse():
    good, bad = [[90, 10], [10, 90]], [[60, 40], [40, 60]]
    worse, better = (Page(render(scored(*pair))).words() for pair in ((bad, good), (good, bad)))
    assert "the map is worse in overall accuracy (0.600 against 0.900) and worse in mean IoU" in worse
    assert "worse in 2 of 2" in worse and "better" not in worse.split("Accuracy")[0].replace("lower is better", "")
    assert "the map is better in overall accuracy (0.900 against 0.600)" in better


def test_figures_of_other_reference_pixels_are_warned_about():
    text = Page(render(scored([[90, 10], [10, 90]], [[9, 1], [1, 9]]))).words()
    assert "their figures must not be compared" in text
    assert "must not be compared" not in Page(render(scored([[9, 1], [1, 9]], [[8, 1], [1, 9]], [1, 0]))).words()


def test_missing_label_pixels_are_stated():
    text = Page(render(scored([[9, 1], [1, 9]], [[8, 1], [1, 9]], [1, 0]))).words()
    assert "(label 1, map 0 of 20 pixels)" in text


def test_undefined_is_said_and_absent_classes_are_listed():
    legend = Legend("three", tuple(LegendClass(i, name, "#101010") for i, name in enumerate(("dry", "wet", "ice_cap"))))
    matrix = ConfusionMatrix.from_counts(legend.names, [[5, 0, 0], [2, 0, 0], [0, 0, 0]])
    page = Page(render(ReportData("t", legend, accuracy=Accuracy(matrix))))
    row = {row[0]: row for row in page.tables["Each class: other measures"]}["1 wet"]
    assert row[1:] == ["0.000", "n/a", "0.000", "\N{MINUS SIGN}1.000"]
    assert "left out of the means: ice cap." in page.words()
    assert "nan" not in page.words().lower().split()


def test_the_least_report_says_that_accuracy_is_unknown():
    legend = Legend("one", (LegendClass(1, "all", "#336699"),))
    page = Page(render(ReportData("Nothing yet", legend)))
    assert "accuracy is unknown" in page.words() and page.tables == {}


@pytest.mark.parametrize("lost", ["image", "label", "map", "confidence", "reference"])
def test_a_site_may_lack_any_layer(full, lost):
    data, _ = full
    site = dataclasses.replace(data.sites[0], **{lost: None})
    page = Page(render(dataclasses.replace(data, sites=(site,))))
    shown = [value for tag, name, value in page.attributes if tag == "img" and name == "alt"]
    assert len(shown) == (4 if lost == "map" else 5)


def test_empty_rasters_and_single_class_do_not_stop_the_report():
    legend = Legend("one", (LegendClass(1, "all", "#336699"),))
    empty, full_ = np.full((5, 9), 255, np.uint8), np.ones((5, 9), np.uint8)
    nowhere = np.zeros((5, 9), bool)
    sites = (
        SitePanel("void", nowhere, np.zeros((5, 9, 3), np.uint8), empty, empty, empty, empty),
        SitePanel("dot", np.ones((1, 1), bool), map=np.ones((1, 1), np.uint8)),
        SitePanel("plain", ~nowhere, label=full_, map=full_, confidence=full_, pixel_size=30.0),
    )
    areas = ClassAreas("px", (0.0,), (0.0,))
    page = Page(
        render(ReportData("t", legend, sites=sites, areas=areas, accuracy=Accuracy(ConfusionMatrix(legend.names))))
    )
    assert "no data" in page.words() and "no pixel that could be scored" in page.words()


def test_many_sites_stay_a_small_page(report):
    data = report(side=64, sites=1)
    rng = np.random.default_rng(0)
    side = 400  # pure noise is the worst there is for any compression
    noise = SitePanel(
        "noise",
        np.ones((side, side), bool),
        rng.integers(0, 256, (side, side, 3), dtype=np.uint8),
        *(data.legend.id_lut[rng.integers(0, len(data.legend), (side, side), dtype=np.uint8)] for _ in range(2)),
        rng.integers(0, 201, (side, side), dtype=np.uint8),
        data.legend.id_lut[rng.integers(0, len(data.legend), (side, side), dtype=np.uint8)],
    )
    html = render(dataclasses.replace(data, sites=(noise,) * 9))
    assert len(html) < 3_000_000
    assert html.count("<article") == 6
    assert "3 more sites are not shown" in Page(html).words()


def test_the_same_data_make_the_same_page(full):
    assert render(full[0]) == full[1]


@pytest.mark.parametrize(
    ("width", "size", "share", "text"), [(100, 10, 0.2, "200 m"), (1000, 30, 1 / 6, "5 km"), (7, 0.1, 2 / 7, "0.2 m")]
)
def test_scale_bars_are_round_and_true(width, size, share, text):
    bar = scale_bar(width, size)
    assert bar.share == pytest.approx(share) and bar.text == text


def test_a_place_without_metres_has_no_scale_bar():
    assert scale_bar(100, None) is None


def test_the_report_is_written_whole(full, tmp_path):
    path = write_report(full[0], tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == full[1]
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
