import json
import sqlite3
from xml.etree import ElementTree as Xml

import geopandas
import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from rich.console import Console
from tests.sampling.small_maps import LEGEND, NAMES, class_map, classes, from_to_folder, write

from mapmend.accuracy.design import read_design
from mapmend.change.job import ChangeInputs, change_maps
from mapmend.core.errors import GridError, JobError, LegendError, SampleError
from mapmend.sampling import writing
from mapmend.sampling.files import read_sample
from mapmend.sampling.inputs import open_map
from mapmend.sampling.job import SampleSettings, draw_sample
from mapmend.sampling.page import show
from mapmend.sampling.second import second_round

SHAPE = (300, 400)


@pytest.fixture
def source(tmp_path):
    return class_map(tmp_path, classes(SHAPE))


def drawn(source, out, **chosen):
    return draw_sample(source, out, SampleSettings(**chosen), progress=False)


def test_the_files_of_a_sample_say_the_same(tmp_path, source):
    result = drawn(source, tmp_path / "out", total=200, seed=4)
    array = classes(SHAPE)
    table, frame = read_sample(tmp_path / "out/sample.csv"), geopandas.read_file(tmp_path / "out/sample.gpkg")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["design.json", "sample.csv", "sample.gpkg"]
    assert frame.crs.to_epsg() == 32633 and len(frame) == len(table) == 200 == result.points
    header = (tmp_path / "out/sample.csv").read_text().splitlines()[0]
    assert header == "id,stratum,inclusion_probability,x,y,longitude,latitude,row,col,round,reference,interpreter"
    assert list(frame.columns)[:-1] == header.split(",")
    for name, values in (("id", table.ids), ("x", table.x), ("inclusion_probability", table.probabilities)):
        assert frame[name].tolist() == values.tolist()
    assert frame["stratum"].tolist() == list(table.strata) and set(table.references) == {""}
    x, y = 500000 + 30 * (table.cols + 0.5), 5000000 - 30 * (table.rows + 0.5)
    np.testing.assert_allclose([table.x, table.y, frame.geometry.x, frame.geometry.y], [x, y, x, y])
    longitude, latitude = Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    np.testing.assert_allclose([table.longitude, table.latitude], [longitude, latitude], atol=1e-8)
    ids = dict(zip(NAMES, (1, 2, 5, 9), strict=True))
    assert [ids[name] for name in table.strata] == array[table.rows, table.cols].tolist()
    assert len(set(table.strata[:15])) > 1, "strata do not come one after the other"
    design = read_design(tmp_path / "out/design.json")
    assert design == result.design and design.kind == "stratified" and design.rounds == (200,)
    for one in design.strata:
        assert one.pixels == (array == ids[one.name]).sum()
        chances = table.probabilities[np.array(table.strata) == one.name]
        np.testing.assert_allclose(chances, one.samples / one.pixels, rtol=1e-11)
        assert len(chances) == one.samples
    assert design.class_pixels == tuple(int((array == code).sum()) for code in (1, 2, 5, 9))


def test_qgis_finds_a_form_with_the_classes(tmp_path, source):
    drawn(source, tmp_path / "out", total=50)
    with sqlite3.connect(tmp_path / "out/sample.gpkg") as database:
        [(style, default)] = database.execute("SELECT styleQML, useAsDefault FROM layer_styles").fetchall()
    root = Xml.fromstring(style)
    widgets = {field.get("name"): field.find("editWidget") for field in root.iter("field") if len(field)}
    listed = [option.get("value") for option in widgets["reference"].iter("Option") if option.get("type") == "QString"]
    assert default == 1 and listed[1:] == list(NAMES)
    assert widgets["stratum"].get("type") == widgets["inclusion_probability"].get("type") == "Hidden"
    assert root.find("renderer-v2").get("type") == "RuleRenderer" and len(root.findall(".//symbol")) == 2


def test_a_sample_is_never_written_over(tmp_path, source):
    drawn(source, tmp_path / "out", total=50)
    before = (tmp_path / "out/sample.csv").read_bytes()
    for kept in ("design.json", "sample.gpkg"):
        with pytest.raises(JobError, match="holds a sample already"):
            drawn(source, tmp_path / "out", total=50, seed=1)
        (tmp_path / "out" / kept).unlink()
    with pytest.raises(JobError, match=r"holds a sample already \(sample.csv\)"):
        drawn(source, tmp_path / "out", total=50, seed=1)
    assert (tmp_path / "out/sample.csv").read_bytes() == before


@pytest.mark.parametrize("there", [False, True], ids=["new folder", "folder with other files"])
def test_an_interrupted_run_leaves_nothing(tmp_path, source, monkeypatch, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    before = sorted(path.name for path in tmp_path.rglob("*"))

    def killed(*_):
        raise KeyboardInterrupt

    for name in ("write_design", "sync"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(writing, name, killed)
            drawn(source, out, total=50)
        assert sorted(path.name for path in tmp_path.rglob("*")) == before
    drawn(source, out, total=50)
    assert len(list(out.iterdir())) == 3 + there


def test_one_stratum_for_simple_and_systematic_samples(tmp_path, source):
    for kind in ("simple", "systematic"):
        result = drawn(source, tmp_path / kind, kind=kind, total=100)
        [one] = result.design.strata
        assert (
            result.design.kind == kind
            and one.name == "all"
            and one.pixels == np.isin(classes(SHAPE), (1, 2, 5, 9)).sum()
        )
        assert abs(result.points - 100) <= (0 if kind == "simple" else 25)


def test_the_target_half_width_is_kept_and_a_point_less_is_too_few(tmp_path, source):
    result = drawn(source, tmp_path / "a", aims=("gain",), half_width="25 %", users={"gain": 0.7, "forest": 0.95})
    share = result.half_widths["gain"]
    fewer = drawn(source, tmp_path / "b", aims=("gain",), total=result.points - 15, users={"gain": 0.7, "forest": 0.95})
    assert share < fewer.half_widths["gain"]
    wide = drawn(source, tmp_path / "c", aims=("accuracy",), half_width="4 %")
    assert wide.half_widths["accuracy"] <= 0.04 and wide.points < result.points
    area = result.design.total_ha
    in_ha = drawn(source, tmp_path / "d", aims=("gain",), half_width=f"{0.02 * area:.1f} ha")
    assert in_ha.half_widths["gain"] <= 0.0201


def test_allocations(tmp_path, source):
    by_name = {}
    for kind in ("proportional", "equal", "neyman", "optimal"):
        users = {"forest": 0.99, "gain": 0.6, "crop": 0.99, "water": 0.99}
        result = drawn(source, tmp_path / kind, total=400, allocation=kind, aims=("gain",), minimum=5, users=users)
        by_name[kind] = {one.name: one.samples for one in result.design.strata}
        assert sum(by_name[kind].values()) == 400
    assert set(by_name["equal"].values()) == {100}
    for kind in ("neyman", "optimal"):
        assert by_name[kind]["gain"] > by_name["proportional"]["gain"]


def test_references_that_are_known_are_filled_in(tmp_path, source):
    truth = np.kron(np.random.default_rng(7).choice([1, 2, 5, 9, 255], (30, 40)), np.ones((8, 8))).astype(np.uint8)
    finer = Affine(30 / 2, 0, 500000, 0, -30 / 2, 5000000)
    path = write(tmp_path / "truth.tif", truth, transform=finer)
    draw_sample(source, tmp_path / "out", SampleSettings(total=400), reference=path, progress=False)
    table = read_sample(tmp_path / "out/sample.csv")
    names = {1: "forest", 2: "gain", 5: "crop", 9: "water", 255: ""}
    rows, cols = np.floor((5000000 - table.y) / 15).astype(int), np.floor((table.x - 500000) / 15).astype(int)
    inside = (rows < 240) & (cols < 320)
    expected = [names[truth[r, c]] if ok else "" for r, c, ok in zip(rows, cols, inside, strict=True)]
    assert list(table.references) == expected and "" in expected and len(set(expected)) == 5
    assert [who != "" for who in table.interpreters] == [name != "" for name in expected]
    assert set(table.interpreters) == {"", "truth.tif"}


def test_a_change_folder_has_two_references(tmp_path):
    codes = np.random.default_rng(3).choice([0, 5, 10, 8, 255], SHAPE, p=[0.5, 0.2, 0.1, 0.1, 0.1]).astype(np.uint8)
    source = open_map(from_to_folder(tmp_path / "change", codes))
    before = np.choose(np.minimum(codes // 4, 2), [1, 2, 5]).astype(np.uint8)
    truth = write(tmp_path / "before.tif", before, nodata=None)
    draw_sample(
        source,
        tmp_path / "out",
        SampleSettings(total=90, aims=("change",)),
        reference=truth,
        reference_before=truth,
        progress=False,
    )
    table, design = read_sample(tmp_path / "out/sample.csv"), read_design(tmp_path / "out/design.json")
    assert design.two_dates and table.references_before == table.references
    assert [one.name for one in design.strata] == [
        "forest (unchanged)",
        "gain (unchanged)",
        "crop (unchanged)",
        "crop → forest",
    ]
    assert design.class_pixels == tuple(int(np.isin(codes, of).sum()) for of in ((0, 8), (5,), (10,), ()))


def test_the_folder_that_change_makes(tmp_path):
    before, after = classes((90, 80), seed=1), classes((90, 80), seed=2)
    inputs = ChangeInputs(str(write(tmp_path / "old.tif", before)), str(write(tmp_path / "new.tif", after)))
    made = change_maps(inputs, LEGEND, tmp_path / "change", progress=False)
    result = drawn(open_map(tmp_path / "change"), tmp_path / "out", strata="class", total=60)
    pixels = {one.name: one.pixels for one in result.design.strata}
    table = made.from_to
    assert pixels["forest → crop"] == table.pixels[0][2] and pixels["water (unchanged)"] == table.pixels[3][3]
    assert result.design.total_ha == pytest.approx(sum(table.after), rel=1e-6)
    of_later = drawn(open_map(tmp_path / "change/after.tif"), tmp_path / "later", total=60)
    assert of_later.design.class_pixels == tuple(map(sum, zip(*table.pixels, strict=True)))
    with pytest.raises(LegendError, match="no record of its classes"):
        (tmp_path / "change/mapmend.json").unlink()
        open_map(tmp_path / "change")


def test_the_page_and_the_json_hold_all_strata(tmp_path, source):
    result = drawn(source, tmp_path / "out", total=100, aims=("gain",))
    console = Console(record=True, width=120)
    show(result, console)
    text = console.export_text()
    assert all(name in text for name in (*NAMES, "overall accuracy", "area of gain"))
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert [one["samples"] for one in plain["strata"]] == [one.samples for one in result.design.strata]
    assert sum(one["share"] for one in plain["strata"]) == pytest.approx(1)


FAULTS = {
    "too few": ({"total": 5, "minimum": 3}, "5 samples are too few"),
    "small stratum": ({"total": 100_000, "minimum": 20_000}, "stratum 'gain' has .*fewer than the minimum of 20000"),
    "more than there are": ({"total": 10**6}, "units in all"),
    "unknown class": ({"aims": ("gian",), "total": 100}, "did you mean 'gain'"),
    "unknown user's": ({"users": {"woods": 0.9}}, "has no class 'woods'"),
    "accuracy above one": ({"users": {"gain": 90}}, "is 90; give 0.9"),
    "total and target": ({"total": 9, "half_width": "5 %", "aims": ("gain",)}, "both a total and a target"),
    "no class for a target": ({"half_width": "5 %"}, "needs a class"),
    "no width": ({"half_width": "wide", "aims": ("gain",)}, "'wide' is no half-width"),
    "accuracy in ha": ({"half_width": "5 ha", "aims": ("accuracy",)}, "an accuracy has no area"),
    "risk without probabilities": ({"risk": "gain"}, "needs its probabilities"),
    "change of one date": ({"strata": "change"}, "need a from-to map"),
    "strata of a simple sample": ({"kind": "simple", "strata": "class"}, "a simple sample has no strata"),
    "optimal for nothing": ({"allocation": "optimal"}, "optimal allocation needs classes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_drawn_is_one_line_and_leaves_nothing(tmp_path, source, fault):
    chosen, message = FAULTS[fault]
    with pytest.raises((SampleError, LegendError), match=message) as caught:
        drawn(source, tmp_path / "out", **chosen)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_the_folder_of_a_map_may_hold_the_probabilities(tmp_path, source):
    steps = np.where(classes(SHAPE) == 2, 160, np.where(np.arange(400) % 20, 0, 120)).astype(np.uint8)
    source.path.rename(tmp_path / "class.tif")
    write(tmp_path / "probability_gain.tif", steps)
    config = {"legend": LEGEND.to_dict(), "probabilities": ["gain"]}
    files = dict.fromkeys(("class.tif", "confidence.tif", "probability_gain.tif"), "")
    (tmp_path / "mapmend.json").write_text(json.dumps({"config": config, "files": files}))
    result = drawn(open_map(tmp_path), tmp_path / "out", risk="gain", total=300)
    assert any(one.name.startswith("omission risk of gain") for one in result.design.strata)
    assert result.design.map["probability"]["path"] == "probability_gain.tif"
    with pytest.raises(SampleError, match="needs its probabilities"):
        drawn(open_map(tmp_path), tmp_path / "other", risk="crop", total=300)
    csv = tmp_path / "out/sample.csv"
    csv.write_text(csv.read_text().replace(",,\n", ",crop,\n"))
    added = second_round(open_map(tmp_path), tmp_path / "out/design.json", [csv], tmp_path / "two", 50, progress=False)
    assert added.points == 50


def test_probabilities_need_the_name_of_their_class(tmp_path, source):
    path = write(tmp_path / "p.tif", np.zeros(SHAPE, np.uint8))
    with pytest.raises(SampleError, match="not of what"):
        drawn(open_map(source.path, LEGEND, probability=path), tmp_path / "out")
    with pytest.raises(SampleError, match="nowhere probable"):
        drawn(open_map(source.path, LEGEND, probability=path), tmp_path / "out", risk="gain")
    elsewhere = write(tmp_path / "far.tif", np.zeros(SHAPE, np.uint8), transform=Affine(30, 0, 0, 0, -30, 0))
    with pytest.raises(GridError, match="does not overlap"):
        draw_sample(source, tmp_path / "out", SampleSettings(total=50), reference=elsewhere, progress=False)
    assert not (tmp_path / "out").exists()
