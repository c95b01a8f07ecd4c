"""`sample` and `assess` as a user calls them."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.data.scenery import grid, write
from tests.projects import call

YAML = """\
classes:
  - {id: 1, name: forest, color: "#116611"}
  - {id: 2, name: other, color: "#aaaaaa"}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A map of 200 × 240 pixels with errors, and its truth, in the working folder."""
    random = np.random.default_rng(0)
    truth = np.kron(random.choice([1, 2], (20, 24), p=[0.3, 0.7]), np.ones((10, 10))).astype(np.uint8)
    mapped = np.where(random.random(truth.shape) < 0.1, 3 - truth, truth).astype(np.uint8)
    mapped[:20, :20] = 255
    write(tmp_path / "truth.tif", truth, grid(200, 240), nodata=255)
    write(tmp_path / "map.tif", mapped, grid(200, 240), nodata=255)
    (tmp_path / "two.yaml").write_text(YAML)
    monkeypatch.chdir(tmp_path)
    return truth[mapped != 255]


@pytest.fixture
def say(monkeypatch, capsys):
    return lambda *words: call(monkeypatch, capsys, *words)


def read(path):
    return json.loads(Path(path).read_text())


DRAW = ("sample", "map.tif", "--legend", "two.yaml", "--out", "s1", "--total", "200", "--reference", "truth.tif")


def test_from_a_map_to_an_area_with_an_interval(place, say):
    assert say(*DRAW, "--for", "forest", "--json", "s1.json")[0] == 0
    assert say("assess", "s1/sample.csv", "--map", "map.tif", "--json", "areas.json")[0] == 0
    found = read("areas.json")
    [forest] = [one for one in found["classes"] if one["name"] == "forest"]
    lower, upper = forest["area_ha"]["interval"]
    true = (place == 1).mean() * read("s1.json")["area_ha"]
    assert lower < true < upper
    assert abs(forest["area_ha"]["estimate"] - true) < 0.15 * true


def test_a_raster_without_a_legend_has_its_codes_for_classes(place, say):
    assert say("sample", "map.tif", "--out", "s5", "--total", "100", "--for", "1", "--reference", "truth.tif")[0] == 0
    assert [one["name"] for one in read("s5/design.json")["strata"]] == ["1", "2"]
    assert say("assess", "s5/sample.csv", "--map", "map.tif", "--json", "areas.json")[0] == 0
    assert [one["name"] for one in read("areas.json")["classes"]] == ["1", "2"]


def test_a_reference_in_a_products_codes_is_translated(place, say, tmp_path):
    (tmp_path / "codes.yaml").write_text("mapping: {1: 2, 2: 1}\n")  # as if the truth called them the other way round
    assert say(*DRAW)[0] == 0
    assert say(*[word if word != "s1" else "s4" for word in DRAW], "--reference-legend", "codes.yaml")[0] == 0
    one, other = ((tmp_path / folder / "sample.csv").read_text().splitlines()[1:] for folder in ("s1", "s4"))
    swapped = [line.replace("forest,truth", "?,truth").replace("other,truth", "forest,truth") for line in one]
    assert [line.replace("?,truth", "other,truth") for line in swapped] == other


def test_a_second_round_adds_points_and_shortens_the_interval(place, say):
    assert say(*DRAW)[0] == 0
    more = ("--add", "300", "--design", "s1/design.json", "--answers", "s1/sample.csv", "--reference", "truth.tif")
    assert say("sample", "map.tif", "--legend", "two.yaml", "--out", "s2", *more)[0] == 0
    widths = []
    for files in (["s1/sample.csv"], ["s1/sample.csv", "s2/sample.gpkg"]):
        assert say("assess", *files, "--map", "map.tif", "--json", "areas.json")[0] == 0
        lower, upper = read("areas.json")["classes"][0]["area_ha"]["interval"]
        widths.append(upper - lower)
    assert widths[1] < 0.8 * widths[0]


@pytest.mark.parametrize(
    "words, said",
    [
        (("sample", "nothere", "--out", "x"), "no such file or folder"),
        (("sample", "truth.csv", "--out", "x"), "no such file"),
        ((*DRAW[:4], "--out", "x", "--for", "forst"), "did you mean 'forest'"),
        ((*DRAW[:4], "--out", "x", "--total", "3"), "minimum"),
        ((*DRAW[:4], "--out", "x", "--kind", "random"), "kind"),
        ((*DRAW[:4], "--out", "x", "--users", "forest"), "write forest=0.9"),
        ((*DRAW[:4], "--out", "x", "--add", "9"), "--design and --answers"),
        ((*DRAW[:4], "--out", "x", "--half-width", "9 m", "--for", "forest"), "no half-width"),
        (("assess",), "--matrix"),
        (("assess", "s.csv"), "--map"),
        (("assess", "s.csv", "--map", "map.tif"), "s.csv"),
        (("assess", "--matrix", "m.csv", "--map", "map.tif"), "--matrix stands for itself"),
    ],
)
def test_bad_words_are_one_line_and_leave_nothing(place, say, tmp_path, words, said):
    code, _, told = say(*words)
    assert code == 2 and said in told and len(told.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_sample_is_never_written_over(place, say, tmp_path):
    assert say(*DRAW)[0] == 0
    before = (tmp_path / "s1/sample.csv").read_bytes()
    code, _, told = say(*DRAW, "--seed", "1")
    assert code == 2 and "holds a sample already" in told
    assert (tmp_path / "s1/sample.csv").read_bytes() == before
