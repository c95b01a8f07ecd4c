"""The table's numbers, from trials whose means, spreads and differences are worked out by hand."""

import io

import pytest
from rich.console import Console

from mapmend.bench.compare import EVERY, compare, paired
from mapmend.bench.page import show


def rows(noise, method, scores, label=0.5):
    return [
        {"noise": noise, "method": method, "seed": seed, "label": {"miou": label}, "map": {"miou": score}}
        for seed, score in enumerate(scores)
    ]


ROWS = [
    *rows("swap", "ce_ema", [0.60, 0.62, 0.64]),
    *rows("swap", "better", [0.64, 0.66, 0.69]),  # +.04, +.04, +.05: mean .0433, sd .00577, se .00333
    *rows("swap", "same", [0.61, 0.61, 0.65]),  # +.01, −.01, +.01: mean .0033, se .00667
    *rows("shift", "ce_ema", [0.80, 0.80, 0.80], label=0.9),
    *rows("shift", "better", [0.78, 0.77, 0.79], label=0.9),  # −.02, −.03, −.01: mean −.02, sd .01, se .00577
    *rows("shift", "same", [0.80, 0.80, 0.80], label=0.9),
]


def line(noise, method):
    [found] = [one for one in compare(ROWS, "ce_ema") if (one.noise, one.method) == (noise, method)]
    return found


def test_means_spreads_and_paired_differences():
    better = line("swap", "better")
    assert better.map.mean == pytest.approx(1.99 / 3)
    assert better.map.sd == pytest.approx(0.0251661, abs=1e-6)  # √((.02333² + .00333² + .02667²) / 2)
    assert better.label.mean == pytest.approx(0.5) and better.label.sd == pytest.approx(0)
    assert better.difference.mean == pytest.approx(0.13 / 3)
    assert better.difference.se == pytest.approx(0.0033333, abs=1e-6)


@pytest.mark.parametrize(
    "noise, method, verdict",
    [("swap", "better", "better"), ("swap", "same", "equal"), ("shift", "better", "worse"), ("shift", "same", "equal")],
)
def test_within_two_standard_errors_is_equal(noise, method, verdict):
    assert line(noise, method).difference.verdict == verdict


def test_all_noises_are_averaged_seed_by_seed():
    every = line(EVERY, "better")
    assert every.difference.mean == pytest.approx((0.13 / 3 - 0.02) / 2)
    assert every.difference.se == pytest.approx(0.0044096, abs=1e-6)  # of .01, .005, .02
    assert every.label.mean == pytest.approx(0.7)
    assert line(EVERY, "ce_ema").difference is None


def test_a_seed_that_lacks_a_noise_is_in_no_average():
    lines = compare(ROWS[:-1], "ce_ema")
    assert {one.seeds for one in lines if (one.noise, one.method) == (EVERY, "same")} == {2}


def test_one_seed_gives_no_verdict_and_no_common_seed_no_difference():
    one = paired({0: 0.7}, {0: 0.6, 1: 0.9})
    assert one.mean == pytest.approx(0.1) and one.se is None and one.verdict == ""
    assert paired({0: 0.7}, {1: 0.6}) is None


def test_the_table_says_it_in_percent():
    paper = io.StringIO()
    show(compare(ROWS, "ce_ema"), Console(file=paper, width=160))
    cells = [[cell.strip() for cell in row.split("│")[1:-1]] for row in paper.getvalue().splitlines() if "│" in row]
    assert ["swap", "the label itself", "50.0 ± 0.0", "", "", ""] in cells
    assert ["", "better", "66.3 ± 2.5", "+16.3", "+4.3 ± 0.3", "better"] in cells
    assert ["", "better", "78.0 ± 1.0", "-12.0", "-2.0 ± 0.6", "worse"] in cells
    assert ["all noises", "the label itself", "70.0 ± 0.0", "", "", ""] in cells
