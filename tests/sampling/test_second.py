import csv
import json

import numpy as np
import pytest
from scipy.stats import chisquare
from tests.sampling.small_maps import LEGEND, class_map, classes, write
from tests.sampling.test_drawing import framed

from mapmend.accuracy.design import read_design
from mapmend.core.errors import JobError, LegendError, SampleError
from mapmend.sampling.drawing import draw
from mapmend.sampling.files import read_sample
from mapmend.sampling.inputs import open_map
from mapmend.sampling.job import SampleSettings, draw_sample
from mapmend.sampling.second import second_round

SHAPE = (60, 70)


def filled(folder, answer, name="filled.csv", interpreter="Ada"):
    """The drawn file with an answer for each row."""
    rows = list(csv.DictReader((folder / "sample.csv").open()))
    for row in rows:
        row["reference"], row["interpreter"] = answer(row), interpreter
    path = folder / name
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def right(row):
    return row["stratum"]


def omitted(row):
    """Every third crop is in truth gain."""
    return "gain" if row["stratum"] == "crop" and int(row["id"]) % 3 == 0 else row["stratum"]


def places(folder):
    table = read_sample(folder / "sample.csv")
    return {*zip(table.rows.tolist(), table.cols.tolist(), strict=True)}


@pytest.fixture
def first(tmp_path):
    source = class_map(tmp_path, classes(SHAPE))
    draw_sample(source, tmp_path / "one", SampleSettings(total=80, seed=3, minimum=5), progress=False)
    return source


def further(source, tmp_path, files, out="two", add=60, **more):
    return second_round(source, tmp_path / "one/design.json", files, tmp_path / out, add, progress=False, **more)


def test_both_rounds_are_what_one_draw_of_their_size_would_be(tmp_path, first):
    result = further(first, tmp_path, [filled(tmp_path / "one", omitted)], aims=("gain",))
    one, two = places(tmp_path / "one"), places(tmp_path / "two")
    assert not one & two and len(one) == 80 and len(two) == 60 == result.points
    design = read_design(tmp_path / "two/design.json")
    assert design.rounds == (80, 60) and sum(stratum.samples for stratum in design.strata) == 140
    from tests.sampling.test_drawing import framed

    from mapmend.sampling.drawing import draw

    units = draw(framed(first), [stratum.samples for stratum in design.strata], seed=3)
    assert {*zip(units.rows.tolist(), units.cols.tolist(), strict=True)} == one | two
    table = read_sample(tmp_path / "two/sample.csv")
    assert set(table.rounds.tolist()) == {2} and sorted(table.ids.tolist()) == list(range(81, 141))
    for stratum in design.strata:
        chances = table.probabilities[np.array(table.strata) == stratum.name]
        np.testing.assert_allclose(chances, stratum.samples / stratum.pixels, rtol=1e-11)


def test_answers_say_where_further_points_pay(tmp_path, first):
    added = {}
    for name, answer in (("right", right), ("omitted", omitted)):
        result = further(first, tmp_path, [filled(tmp_path / "one", answer)], out=name, aims=("gain",))
        added[name] = dict(zip((one.name for one in result.design.strata), result.added, strict=True))
    assert added["omitted"]["crop"] > added["right"]["crop"] + 10
    third = second_round(
        first,
        tmp_path / "omitted/design.json",
        [filled(tmp_path / "one", omitted), filled(tmp_path / "omitted", omitted)],
        tmp_path / "three",
        20,
        progress=False,
    )
    assert third.design.rounds == (80, 60, 20)
    assert not places(tmp_path / "three") & (places(tmp_path / "one") | places(tmp_path / "omitted"))


def test_a_further_round_with_another_seed_is_uniform_over_what_is_left(tmp_path, first):
    array, hits = classes(SHAPE), np.zeros(SHAPE)
    made, before = framed(first), places(tmp_path / "one")
    for seed in range(300):
        units = draw(made, (30, 10, 30, 10), seed, before)
        hits[units.rows, units.cols] += 1
    left = np.ones(SHAPE, bool)
    left[tuple(np.array(list(before)).T)] = False
    assert not hits[~left].any()
    for code in (1, 2, 5, 9):
        assert chisquare(hits[left & (array == code)]).pvalue > 1e-3


def test_two_interpreters_of_one_point_count_once(tmp_path, first):
    ada, bob = (filled(tmp_path / "one", answer, f"{who}.csv", who) for answer, who in ((omitted, "a"), (omitted, "b")))
    alone = further(first, tmp_path, [ada], out="x")
    both = further(first, tmp_path, [ada, bob], out="y")
    assert alone.added == both.added and both.notes[0] == "allocated by 80 answered points"


def test_what_does_not_belong_together_is_refused(tmp_path, first):
    file = filled(tmp_path / "one", right)
    cases = {
        "is not the map of the first round": lambda: further(
            open_map(write(tmp_path / "else.tif", classes(SHAPE, seed=8)), LEGEND), tmp_path, [file]
        ),
        "was drawn without a probability raster": lambda: further(
            open_map(first.path, LEGEND, probability=write(tmp_path / "p.tif", classes(SHAPE) * 0)), tmp_path, [file]
        ),
        "no point has a reference": lambda: further(first, tmp_path, [tmp_path / "one/sample.csv"]),
        "of which .* were drawn": lambda: further(first, tmp_path, [shortened(file)]),
        "too few|units in all": lambda: further(first, tmp_path, [file], add=10**6),
    }
    for message, call in cases.items():
        with pytest.raises(SampleError, match=message):
            call()
    with pytest.raises(LegendError, match="reference 'woods' is no class"):
        further(first, tmp_path, [filled(tmp_path / "one", lambda row: "woods", "odd.csv")])
    with pytest.raises(JobError, match="holds a sample already"):
        further(first, tmp_path, [file], out="one")
    assert not (tmp_path / "two").exists()
    plain = json.loads((tmp_path / "one/design.json").read_text())
    plain["kind"], plain["strata"] = "systematic", [{**plain["strata"][0], "samples": 80}]
    (tmp_path / "one/design.json").write_text(json.dumps(plain))
    with pytest.raises(SampleError, match="systematic sample has no second round"):
        further(first, tmp_path, [file])


def shortened(path):
    lines = path.read_text().splitlines()
    short = path.with_name("short.csv")
    short.write_text("\n".join(lines[:-1]) + "\n")
    return short
