"""Areas with intervals in the report: what `assess --json` wrote, or one clear line."""

import dataclasses
import json

import pytest
from tests.report.parsed_page import Page, number

from mapmend.core.errors import JobError
from mapmend.report.estimated import EstimatedAreas, read_assessment
from mapmend.report.intervals import draw_intervals
from mapmend.report.page import render


def figure(estimate, lower, upper):
    interval = None if lower is None else [lower, upper]
    return {"estimate": estimate, "se": None, "interval": interval, "wald": None}


def assessment(**changes):
    classes = [
        {
            "name": "forest_gain",
            "users_accuracy": figure(0.88, 0.8, 0.93),
            "producers_accuracy": figure(0.75, 0.55, 0.9),
            "area_ha": figure(21157.8, 17564.9, 31258.0),
            "pixel_count_area_ha": 18000.0,
            "pixel_count_bias_ha": -3157.8,
        },
        {
            "name": "<b>$x_1$</b>",
            "users_accuracy": figure(None, None, None),
            "producers_accuracy": figure(0.0, 0.0, 0.2),
            "area_ha": figure(12.5, 3.0, 40.0),
            "pixel_count_area_ha": None,
        },
    ]
    plain = {"level": 0.9, "overall_accuracy": figure(0.947, 0.93, 0.96), "classes": classes, "notes": ["Mind this."]}
    return {**plain, "design": {}, "confusion": {}, **changes}


def written(folder, **changes):
    (folder / "assessment.json").write_text(json.dumps(assessment(**changes)))
    return folder


def test_the_table_shows_the_assessment_s_numbers(report, tmp_path):
    found = read_assessment(written(tmp_path))
    html = render(dataclasses.replace(report(side=32, sites=1), estimated=found))
    page = Page(html)
    rows = page.tables["Area of each class in ha, with 90 % intervals"]
    first, second = rows[1], rows[2]
    assert first[0] == "forest gain" and number(first[1]) == 18000 and number(first[2]) == 21158
    assert [number(text) for text in first[3].split(" – ")] == [17565, 31258]
    assert first[4].startswith("88.0") and first[6].startswith("75.0") and "93.0" in first[5]
    assert second[1] == "n/a" and second[4] == "n/a" and second[5] == "n/a"
    assert "In 90 of 100 such samples" in page.words() and "Mind this." in page.words()
    assert "<b>$x" not in html and "forest gain 21" in html


def test_the_chart_has_every_class_and_its_words():
    chart = draw_intervals(EstimatedAreas.model_validate(assessment()))
    assert "forest gain" in chart.svg and "$x 1$" in chart.svg and chart.alt.startswith("Estimated areas with 90 %")
    empty = assessment()
    for one in empty["classes"]:
        one["area_ha"] = figure(None, None, None)
    assert draw_intervals(EstimatedAreas.model_validate(empty)) is None


def test_without_an_assessment_there_is_none(tmp_path):
    assert read_assessment(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "JSON"),
        ("[]", "assess --json"),
        (json.dumps(assessment(classes=[])), "classes"),
        (json.dumps(assessment(level=2)), "level"),
        (json.dumps(assessment(overall_accuracy={"estimate": float("nan"), "interval": None})), "overall_accuracy"),
        (json.dumps(assessment(classes=[{"name": "forest"}])), "classes.0"),
        ("\udcff", "assess"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(content, told, tmp_path):
    path = tmp_path / "assessment.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(JobError, match=told) as fault:
        read_assessment(tmp_path)
    assert str(path) in str(fault.value) and "\n" not in str(fault.value) and "delete it" in str(fault.value)
