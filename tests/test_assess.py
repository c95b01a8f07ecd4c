"""`mapmend assess`: a CSV of counts to figures for programs and tables for people; one line for what is wrong."""

import json
import math

import pytest
from tests.accuracy.test_estimators import DEFORESTATION, PIXELS
from tests.projects import call

STRATA = ",".join(map(str, PIXELS))
NAMES = ["deforestation", "forest gain", "stable forest", "stable non-forest"]


@pytest.fixture
def assess(tmp_path, monkeypatch, capsys):
    def run(text, strata=STRATA, area="0.09", *more):
        (tmp_path / "m.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        options = ("--matrix", str(tmp_path / "m.csv"), "--stratum-pixels", strata, "--pixel-area-ha", area)
        return call(monkeypatch, capsys, "assess", *options, *more)

    return run


@pytest.fixture
def figures(assess):
    def run(*arguments):
        code, out, err = assess(*arguments, "--json", "-")
        assert code == 0, err
        return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))

    return run


def table(separator=",", header=False, names=False, corner="map"):
    rows = [[NAMES[i], *map(str, row)] if names else list(map(str, row)) for i, row in enumerate(DEFORESTATION)]
    top = [[*([corner] if names and corner is not None else []), *NAMES]] if header else []
    return "".join(separator.join(row) + "\n" for row in [*top, *rows])


def test_the_worked_example(figures):
    found = figures(table(header=True, names=True), STRATA, "0.09")
    assert found["level"] == 0.95
    assert found["design"]["samples"] == [75, 75, 165, 325]
    assert found["overall_accuracy"]["estimate"] == pytest.approx(0.9465118881, abs=5e-11)
    gain = found["classes"][1]
    assert gain["name"] == "forest gain"
    area = gain["area_ha"]
    assert area["estimate"] == pytest.approx(11686.15384615, abs=6e-9)
    assert area["interval"] == pytest.approx([9530.64653407, 19627.84040439], abs=6e-9)
    half = 3755.75701122
    assert area["wald"] == pytest.approx([11686.15384615 - half, 11686.15384615 + half], abs=2e-8)
    assert area["se"] == pytest.approx(half / 1.959963984540054)
    assert gain["users_accuracy"]["wald"] == pytest.approx([0.73333333 - 0.10075516, 0.73333333 + 0.10075516])
    assert gain["producers_accuracy"]["estimate"] == pytest.approx(0.8471564, abs=5e-8)
    assert gain["pixel_count_area_ha"] == pytest.approx(13500)
    assert gain["pixel_count_bias_ha"] == pytest.approx(13500 - 11686.15384615)
    shares = found["confusion"]["area_shares"]
    assert shares[3][0] == pytest.approx(0.645 * 2 / 325)
    assert sum(map(sum, shares)) == pytest.approx(1)


@pytest.mark.parametrize(
    "text",
    [
        table(),
        table(header=True),
        table(names=True),
        table(header=True, names=True, corner=""),
        table(header=True, names=True, corner=None),
        table(";", header=True, names=True),
        table("\t", names=True),
        "\ufeff" + table(),
        "\ufeff" + table(";", header=True, names=True),
        table().replace("\n", "\r\n") + "\r\n\r\n",
        table(";").replace("\n", ";;\n") + ";;;;;\n",
        table().replace("66", " 66.0 ").replace("153", '"153"'),
    ],
    ids=range(12),
)
def test_one_matrix_however_it_is_written(figures, text):
    found = figures(text, STRATA, "0.09")
    assert found["confusion"]["counts"] == DEFORESTATION
    expected = NAMES if "stable" in text else ["1", "2", "3", "4"]
    assert [one["name"] for one in found["classes"]] == expected


@pytest.mark.parametrize("text", [",10,20\n10,5,1\n20,2,8\n", "10,20\n10,5,1\n20,2,8\n"])
def test_codes_as_names(figures, text):
    found = figures(text, "1000,2000", "0.09")
    assert [one["name"] for one in found["classes"]] == ["10", "20"]
    assert found["confusion"]["counts"] == [[5, 1], [2, 8]]


def test_another_level_moves_the_intervals_alone(figures):
    wide, narrow = figures(table(), STRATA, "0.09"), figures(table(), STRATA, "0.09", "--level", "0.9")
    assert narrow["level"] == 0.9
    for one, other in zip(wide["classes"], narrow["classes"], strict=True):
        for key in ("users_accuracy", "producers_accuracy", "area_ha"):
            assert one[key]["estimate"] == other[key]["estimate"] and one[key]["se"] == other[key]["se"]
            for kind in ("interval", "wald"):
                assert one[key][kind][0] < other[key][kind][0] < other[key][kind][1] < one[key][kind][1]


def test_twice_the_pixel_is_twice_the_area(figures):
    one, two = figures(table(), STRATA, "0.09"), figures(table(), STRATA, "0.18")
    for first, second in zip(one["classes"], two["classes"], strict=True):
        assert second["area_ha"]["interval"] == pytest.approx([2 * limit for limit in first["area_ha"]["interval"]])
        assert second["users_accuracy"] == first["users_accuracy"]


def test_a_class_that_the_reference_lacks(figures):
    found = figures("8,2,0\n1,19,0\n3,2,0\n", "1000,3000,500", "1")
    last = found["classes"][2]
    assert last["users_accuracy"]["estimate"] == 0 and last["users_accuracy"]["interval"][0] == 0
    assert last["producers_accuracy"] == {"estimate": None, "se": None, "interval": None, "wald": None}
    assert last["area_ha"]["estimate"] == 0 and last["area_ha"]["interval"][1] > 0
    assert any("'3' is not in the reference" in note for note in found["notes"])


def test_a_class_that_the_map_lacks(figures):
    found = figures("8,1,1\n1,17,2\n0,0,0\n", "1000,3000,0", "1")
    last = found["classes"][2]
    assert last["users_accuracy"] == {"estimate": None, "se": None, "interval": None, "wald": None}
    assert last["producers_accuracy"]["estimate"] == 0
    assert last["area_ha"]["estimate"] == pytest.approx(400)
    assert any("'3' is not in the map" in note for note in found["notes"])


def test_a_stratum_sampled_once(figures):
    found = figures("8,2,0\n1,18,1\n0,0,1\n", "1000,3000,500", "1")
    one, _, last = found["classes"]
    assert one["users_accuracy"]["se"] is not None and last["users_accuracy"]["se"] is None
    assert last["users_accuracy"]["estimate"] == 1 and last["users_accuracy"]["wald"] is None
    assert found["overall_accuracy"]["se"] is None and found["overall_accuracy"]["wald"] is None
    assert one["area_ha"]["se"] is None and one["area_ha"]["estimate"] == pytest.approx(800 + 3000 * 0.05)
    assert any("sampled once" in note for note in found["notes"])


def test_a_stratum_without_a_sample_leaves_the_rest(figures):
    whole = figures("8,2,0\n1,18,1\n1,1,8\n", "1000,3000,500", "1")
    found = figures("8,2,0\n1,18,1\n0,0,0\n", "1000,3000,500", "1")
    nothing = {"estimate": None, "se": None, "interval": None, "wald": None}
    assert found["overall_accuracy"] == nothing
    for k, one in enumerate(found["classes"]):
        assert one["area_ha"] == nothing and one["producers_accuracy"] == nothing
        assert one["pixel_count_bias_ha"] is None
        pairs = zip(found["confusion"]["area_ha"][k], whole["confusion"]["area_ha"][k], strict=True)
        for cell, same in [(one["users_accuracy"], whole["classes"][k]["users_accuracy"]), *pairs]:
            for key in nothing:
                assert cell[key] == (pytest.approx(same[key]) if k < 2 else None)
    assert any("'3' has no sample" in note for note in found["notes"])


def test_uncertainty_in_the_words_of_art_trees(figures):
    found = figures(table(header=True, names=True), STRATA, "0.09")
    narrow = figures(table(header=True, names=True), STRATA, "0.09", "--level", "0.9")
    for row, one in zip(found["trees"]["areas"], narrow["classes"], strict=True):
        area = one["area_ha"]
        for kind, limits in (("classical", "wald"), ("honest", "interval")):
            half = (area[limits][1] - area[limits][0]) / 2 / area["estimate"]
            assert row[kind]["half_width"] == pytest.approx(half)
            assert row[kind]["adjustment"] == pytest.approx(0.524417 * half / 1.645006)
            assert row[kind]["deducted_ha"] == pytest.approx(0.524417 * half / 1.645006 * area["estimate"])
    # 11 686 ha with a standard error of 1 916: 1.6449 × 1 916 / 11 686 of it
    assert found["trees"]["areas"][1]["classical"]["half_width"] == pytest.approx(0.269715, abs=1e-6)
    assert any("emission factors" in note for note in found["notes"])


def test_tables_for_people(assess, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = assess(table(header=True, names=True).replace("forest gain", "[bold]gain"))
    assert code == 0
    for text in ("Sampled units", "153", "user's, [bold]gain", "73.33", "11,686", "9,531 – 19,628", "+15.5 %", "94.65"):
        assert text in out, text


@pytest.mark.parametrize(
    "text, strata, area, more, words",
    [
        (table().replace("66", "-66"), STRATA, "0.09", (), ("m.csv, row 1, column 1", "'-66' is no count")),
        (table().replace("153", "153.5"), STRATA, "0.09", (), ("row 3, column 3", "'153.5' is no count")),
        (table().replace("153", "nan"), STRATA, "0.09", (), ("m.csv",)),
        (table().replace("153", "1e999"), STRATA, "0.09", (), ("no count",)),
        (table().replace("153", ""), STRATA, "0.09", (), ("row 3, column 3", "'' is no count")),
        (table().replace("153,11", "153"), STRATA, "0.09", (), ("4 rows", "one of 3 counts")),
        (table() + "1,2,3,4\n", STRATA, "0.09", (), ("5 rows", "one of 4 counts")),
        ("5\n", "100", "0.09", (), ("1 rows",)),
        ("", STRATA, "0.09", (), ("is empty",)),
        ("a,b,c\n", STRATA, "0.09", (), ("no rows of counts",)),
        (b"\xff\xfe\x00\x01", STRATA, "0.09", (), ("not text in UTF-8",)),
        ("a,a\n1,2\n3,4\n", "10,20", "0.09", (), ("two of one name",)),
        (",a,b\nb,5,1\na,2,8\n", "10,20", "0.09", (), ("rows b, a and the columns a, b",)),
        (table(), "200000,150000", "0.09", (), ("4 classes, and sizes of 2 strata",)),
        (table(), STRATA + ",5", "0.09", (), ("sizes of 5 strata",)),
        (table(), "200000,x,3200000,6450000", "0.09", (), ("--stratum-pixels", "'x' is no number of pixels")),
        (table(), "200000,-5,3200000,6450000", "0.09", (), ("'-5' is no number of pixels",)),
        (table(), "200000,1.5,3200000,6450000", "0.09", (), ("'1.5' is no number of pixels",)),
        (table(), "50,150000,3200000,6450000", "0.09", (), ("row 1", "75 samples", "50 pixels")),
        ("0,0\n0,0\n", "100,200", "0.09", (), ("no sample",)),
        ("0,0\n0,0\n", "0,0", "0.09", (), ("empty",)),
        (table(), STRATA, "0", (), ("0 ha is no pixel's area",)),
        (table(), STRATA, "-0.09", (), ("no pixel's area",)),
        (table(), STRATA, "nan", (), ("no pixel's area",)),
        (table(), STRATA, "1e300", (), ("larger than the Earth",)),
        (table(), STRATA, "0.09", ("--level", "95"), ("level", "95", "0.95 for 95 %")),
        (table(), STRATA, "0.09", ("--level", "0"), ("level",)),
        (table(), STRATA, "0.09", ("--level", "nan"), ("level",)),
        (table(), STRATA, "many", (), ("pixel-area-ha",)),
    ],
)
def test_bad_input_is_one_line(assess, tmp_path, text, strata, area, more, words):
    code, out, err = assess(text, strata, area, *more, "--json", str(tmp_path / "out.json"))
    assert code == 2 and not out
    assert len(err.splitlines()) == 1 and err.startswith("mapmend: "), err
    for word in words:
        assert word in err
    assert not (tmp_path / "out.json").exists()


def test_a_file_that_is_not_there(monkeypatch, capsys):
    options = ("--matrix", "/nowhere/m.csv", "--stratum-pixels", STRATA, "--pixel-area-ha", "0.09")
    code, _, err = call(monkeypatch, capsys, "assess", *options)
    assert code == 2 and "/nowhere/m.csv: cannot be read" in err


def test_a_level_near_one_gives_numbers(figures):
    found = figures(table(), STRATA, "0.09", "--level", "0.999999999")
    lower, upper = found["classes"][0]["area_ha"]["interval"]
    assert math.isfinite(lower) and 0 <= lower < upper <= 900_000
