"""The tables for people."""

import io

from rich.console import Console

from mapmend.assessing.page import show
from mapmend.assessing.sample import assess_sample


def page(found):
    paper = io.StringIO()
    show(found, Console(file=paper, width=200))
    return paper.getvalue()


def test_a_sample_of_two_dates_by_two_people(dated):
    second = [row | {"interpreter": "Ben [2]"} for row in dated.rows]
    dated.rows[0]["reference"] = ""
    second[0]["reference"] = ""
    dated.rows = [*({**row, "interpreter": "Ada"} for row in dated.rows), *second]
    text = page(assess_sample([dated.write()], None, dated.folder / "change"))
    for words in (
        "forest to water │ 100",
        "Transitions",
        "all change",
        "Accuracy of the map of change",
        "Ada and Ben [2]: 100.0 % of 59 points alike, kappa 1.000",
        "Areas by interpreter",
        "ART-TREES",
        "HW90 % honest",
        "1 of 60 points have no answer",
    ):
        assert words in text, words


def test_what_is_undefined_is_a_dash(small):
    for row in small.rows[35:]:
        row["reference"] = ""
    text = page(assess_sample([small.write()], None, small.map))
    line = next(line for line in text.splitlines() if "│ overall" in line)
    assert line.count("–") == 4 and "nan" not in text.lower() and "None" not in text
