"""The report on calibration: the numbers of the model's card in figure, table and words."""

import dataclasses
import re
from pathlib import Path

import pytest
from tests.report.parsed_page import Page, number

from mapmend.core.errors import ModelError
from mapmend.report.diagram import draw_reliability
from mapmend.report.page import render
from mapmend.report.reliability import Reliability, reliability_of

CARD = {
    "kind": "temperature",
    "against": "held-out labels",
    "trust": {"noisy": 900, "coarse": 100},
    "blocks": 4,
    "folds": 4,
    "pixels": 1000,
    "figures": {
        "none": {"ece": 0.12, "nll": 0.9, "brier": 0.4},
        "temperature": {"ece": 0.031, "nll": 0.7, "brier": 0.35},
        "vector": {"ece": 0.04, "nll": 0.72, "brier": 0.36},
        "isotonic": {"ece": 0.02, "nll": 0.8, "brier": 0.37},
    },
    "bins": {
        "before": [[0, 0, 0], [200, 100, 90], [800, 720, 600]],
        "after": [[100, 30, 28], [400, 220, 230], [500, 440, 432]],
    },
    "note": "",
}


@pytest.fixture(scope="module")
def page(report):
    data = dataclasses.replace(report(side=32, sites=1), reliability=reliability_of({"calibration": CARD}, Path("m")))
    html = render(data)
    return html, Page(html)


def test_the_section_is_there_with_the_figures_of_every_kind(page):
    rows = {row[0]: row[1:] for row in page[1].tables["Kinds of calibration, judged on blocks they were not fitted to"]}
    assert set(rows) == {"Kind", "none", "temperature (in use)", "vector", "isotonic"}
    assert [number(text) for text in rows["temperature (in use)"]] == [0.031, 0.7, 0.35]
    assert len(page[1].ids) == len(set(page[1].ids)) and "confidence" in page[1].ids


def test_the_words_say_what_it_was_fitted_to_and_how_far_that_can_be_trusted(page):
    words = page[1].words().replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "On 1 000 labelled pixels of 4 blocks held out from training" in words
    assert "12.0 percentage points apart on average" in words and "they are 3.1 apart" in words
    assert "labels are themselves imperfect (trust: coarse, noisy)" in words and "No reference was used" in words


def test_the_diagram_names_its_means_and_draws_a_point_per_bin_with_pixels():
    chart = draw_reliability(reliability_of({"calibration": CARD}, Path("m")))
    alt = chart.alt.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "before calibration mean confidence 82.0 %, agreement 69.0 %" in alt
    assert "after calibration mean confidence 69.0 %, agreement 69.0 %" in alt
    assert "calibrated" in chart.svg and "as it should be" in chart.svg
    assert chart.svg == draw_reliability(reliability_of({"calibration": CARD}, Path("m"))).svg


def test_one_block_has_no_after(report):
    alone = {**CARD, "folds": 0, "blocks": 1, "figures": {"none": CARD["figures"]["none"]}, "note": "One block only."}
    alone["bins"] = {"before": CARD["bins"]["before"], "after": None}
    found = reliability_of({"calibration": alone}, Path("m"))
    assert isinstance(found, Reliability) and "after" not in draw_reliability(found).alt
    words = Page(render(dataclasses.replace(report(side=32, sites=1), reliability=found))).words()
    assert "One block only." in words and "of 1 block held out" in words


def test_a_card_without_calibration_gives_no_section_and_one_that_could_not_says_why(report):
    assert reliability_of({}, Path("m")) is None
    assert reliability_of({"calibration": {"kind": None, "note": "no block"}}, Path("m")) == "no block"
    html = render(report(side=32, sites=1))
    assert 'id="confidence"' not in html and 'id="intervals"' not in html


@pytest.mark.parametrize("change", [{"pixels": "many"}, {"bins": {}}, {"figures": {"none": {"ece": None}}}])
def test_a_card_that_says_something_else_is_one_line(change):
    with pytest.raises(ModelError, match="metrics: calibration") as fault:
        reliability_of({"calibration": {**CARD, **change}}, Path("model"))
    assert not re.search(r"\n", str(fault.value))
