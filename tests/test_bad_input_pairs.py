"""Two dates, every mistake: one line that says what, where and what to do; exit code 2; nothing half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import geopandas
import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from PIL import Image
from pyproj import Geod
from shapely.geometry import Polygon, box
from tests.data.scenery import grid, halves, image_of, write
from tests.projects import LEGEND, call, small_project, two_date_project
from tests.test_bad_input import leftovers, refused

from mapmend.core.grid import make_grid
from mapmend.core.legend import load_legend
from mapmend.core.sensor import load_sensor
from mapmend.nn.build import build_network
from mapmend.nn.model_folder import ModelCard, save_model
from mapmend.nn.spec import NetworkSpec

X, Y = 500_000, 5_300_000  # upper left corner of `scenery.grid`
BOW_TIE = Polygon([(X, Y), (X + 100, Y - 100), (X + 100, Y), (X, Y - 100)])
SQUARE = box(X + 120, Y - 150, X + 240, Y - 20)

pytestmark = pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


@pytest.fixture
def pair(tmp_path):
    """Two class rasters of one grid, and the options that compare them."""
    later = halves(192, 256)
    later[40:80, :60] = 2
    files = [
        write(tmp_path / f"{name}.tif", ids, grid(192, 256), nodata=255)
        for name, ids in (("before", halves(192, 256)), ("after", later))
    ]
    legend = tmp_path / "legend.yaml"
    legend.write_text(json.dumps(LEGEND))
    return files, ("--legend", legend, "--out", tmp_path / "out")


def random_model(folder, card="rgb"):
    """An untrained model, which maps as any other does."""
    sensor, legend = load_sensor(card), load_legend(LEGEND, folder)
    count = len(sensor.band_names)
    network, _ = build_network(
        NetworkSpec("resnet10t", "fpn", count, 2, (100.0,) * count, (50.0,) * count, (32, 32)), "none"
    )
    bands = tuple(f"optical.{band}" for band in sensor.band_names)
    cards = {"optical": sensor.to_dict()}
    return save_model(folder, network, ModelCard(network.spec, cards, legend.to_dict(), 64, 16, bands, "supervised"))


def edited(project, **changes):
    """The project file with other values."""
    project.write_text(yaml.safe_dump({**yaml.safe_load(project.read_text()), **changes}))
    return project


def steps(predict=None, change=None):
    return [{"train": {}}, {"predict": predict or {}}, {"change": change or {}}, {"report": {}}]


# two class rasters


@pytest.mark.parametrize(
    ("ids", "on", "words"),
    [
        (halves(100, 256), grid(100, 256), ["256 × 100 px", "not the same grid"]),
        (halves(192, 256), grid(192, 256, east=900_000), ["not the same grid"]),
        (halves(192, 256) + 40, grid(192, 256), ["41", "42", "'two'", "name the legend"]),
        (halves(192, 256) + np.float32(0.5), grid(192, 256), ["fractions", "1.5"]),
        (image_of(halves(192, 256)), grid(192, 256), ["colors"]),
        (np.full((192, 256), 255, np.uint8), grid(192, 256), ["no valid pixel in common"]),
    ],
    ids=["other grid", "elsewhere", "unknown codes", "fractions", "an image", "all nodata"],
)
def test_a_map_that_does_not_fit_is_refused(pair, cli, tmp_path, ids, on, words):
    (before, _), options = pair
    other = write(tmp_path / "other.tif", ids, on, nodata=255 if ids.ndim == 2 and ids.dtype == np.uint8 else None)
    refused(cli("change", before, other, *options), "other.tif", *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--mmu-ha=-1"], ["mmu_ha", "greater than 0"]),
        (["--mmu-ha=0"], ["mmu_ha", "greater than 0"]),
        (["--mmu-ha=nan"], ["mmu_ha", "finite"]),
        (["--mmu-ha=10 ha"], ["--mmu-ha", "number"]),
        (["--mmu-pixels=0"], ["mmu_pixels", "1"]),
        (["--mmu-pixels=2.5"], ["--mmu-pixels", "integer"]),
        (["--mmu-ha=1", "--mmu-pixels=5"], ["mmu_ha and mmu_pixels"]),
        (["--threshold=2"], ["threshold", "1"]),
        (["--treshold=0.5"], ["--treshold"]),
        (["--old=nowhere.tif"], ["nowhere.tif", "does not exist"]),
        (["--date-before=2020", "--date-after=2010"], ["2020", "2010", "earlier date first"]),
        (["--date-before=2020", "--date-after=2020"], ["both dates are 2020"]),
        (["--date-before=2020", "--date-after=2020-05"], ["order is unknown"]),
        (["--date-before=t1", "--date-after=2020"], ["order is unknown"]),
        (["--date-before=June", "--date-after=2020"], ["'June'", "YYYY-MM-DD"]),
    ],
    ids=lambda value: value[0] if value[0].startswith("--") else "",
)
def test_an_option_without_sense_is_refused(pair, cli, tmp_path, given, words):
    files, options = pair
    refused(cli("change", *files, *options, *given), *words)
    assert not (tmp_path / "out").exists()


def test_one_file_for_both_dates_is_refused(pair, cli, tmp_path):
    (before, _), options = pair
    refused(cli("change", before, before, *options), "before.tif", "both dates")
    model = random_model(tmp_path / "model")
    image = write(tmp_path / "image.tif", image_of(halves(70, 70)), grid(70, 70))
    refused(cli("predict", image, "--before", image, "--model", model, "--out", tmp_path / "map"), "both dates")
    assert not (tmp_path / "map").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["change", "--date-before", "2020"], ["project.yaml", "set in its file"]),
        (["predict", "--before", "image_2010-06-01.tif"], ["project.yaml", "scenes"]),
    ],
    ids=["change", "predict"],
)
def test_options_that_a_project_would_ignore_are_refused(tmp_path, cli, arguments, words):
    project = two_date_project(tmp_path)
    refused(cli(arguments[0], project, *arguments[1:], "--out", tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


def test_hectares_without_a_place_on_earth_are_refused(tmp_path, cli, pair):
    for name in ("a.png", "b.png"):
        Image.fromarray(halves(64, 64)).save(tmp_path / name)
    result = cli("change", tmp_path / "a.png", tmp_path / "b.png", *pair[1], "--mmu-ha", 1)
    refused(result, "a.png", "no CRS", "mmu_pixels")


def test_degrees_give_hectares_on_the_ellipsoid(tmp_path, cli, pair):
    on = make_grid((192, 256), Affine(1e-4, 0, 9, 0, -1e-4, 48), "EPSG:4326")
    after = halves(192, 256)
    after[50:90, :60] = 2
    files = [write(tmp_path / f"{n}.tif", ids, on, nodata=255) for n, ids in (("a", halves(192, 256)), ("b", after))]
    code, _, err = cli("change", *files, *pair[1], "--mmu-ha", 1)
    assert code == 0, err
    geod = Geod(ellps="WGS84")
    expected = abs(geod.geometry_area_perimeter(box(9, 48 - 0.009, 9.006, 48 - 0.005))[0]) / 1e4
    table = [line.split(",") for line in (tmp_path / "out/from_to.csv").read_text().splitlines()]
    assert table[0] == ["from \\ to (ha)", "left", "right", "total"] and table[1][0] == "left"
    assert float(table[1][2]) == pytest.approx(expected, rel=1e-5)
    polygons = geopandas.read_file(tmp_path / "out/changes.gpkg", layer="changes")
    assert polygons.area_ha.tolist() == pytest.approx([expected], rel=1e-5)


def test_two_rasters_with_dates_get_a_stac_item(pair, cli, tmp_path):
    files, options = pair
    assert cli("change", *files, *options)[0] == 0
    assert not (tmp_path / "out/item.json").exists()  # STAC has no words for an unknown time
    assert cli("change", *files, *options, "--date-before", 2016, "--date-after", 2024)[0] == 0
    item = json.loads((tmp_path / "out/item.json").read_text())
    assert item["properties"]["start_datetime"] == "2016-01-01T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2024-12-31T23:59:59Z" and "from_to" in item["assets"]


def test_a_full_disk_is_refused_before_change_begins(pair, cli, tmp_path, monkeypatch):
    files, options = pair
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    refused(cli("change", *files, *options), "free")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(pair, cli, tmp_path):
    files, options = pair
    (tmp_path / "out").mkdir(mode=0o500)
    refused(cli("change", *files, *options), "cannot be written")


def test_a_file_in_the_place_of_the_folder_is_refused(pair, cli, tmp_path):
    files, options = pair
    (tmp_path / "out").write_text("x")
    refused(cli("change", *files, *options), "out", "cannot be written")
    assert (tmp_path / "out").read_text() == "x"


def test_a_killed_change_ends_with_the_same_bytes(pair, cli, tmp_path):
    rng = np.random.default_rng(0)
    before = np.kron(rng.integers(1, 3, (75, 75)), np.ones((20, 20))).astype(np.uint8)
    after = np.where(np.kron(rng.random((75, 75)) < 0.1, np.ones((20, 20))) > 0, 3 - before, before).astype(np.uint8)
    files = [
        write(tmp_path / f"{n}.tif", ids, grid(1500, 1500), nodata=255) for n, ids in (("a", before), ("b", after))
    ]

    def arguments(place):
        return ["change", *files, "--legend", str(pair[1][1]), "--mmu-pixels", "500", "--out", str(place / "changes")]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert cli(*arguments(whole))[0] == 0
    process = subprocess.Popen([sys.executable, "-m", "mapmend", *arguments(killed)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (killed / "changes/.work").is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (killed / "changes").is_dir() and not (killed / "changes/mapmend.json").exists()
    assert cli(*arguments(killed))[0] == 0
    names = sorted(path.name for path in (whole / "changes").iterdir())
    assert names == sorted(path.name for path in (killed / "changes").iterdir())
    for name in names:
        if name not in ("changes.gpkg", "mapmend.json"):  # which hold the time of writing
            assert (whole / "changes" / name).read_bytes() == (killed / "changes" / name).read_bytes(), name


# two images


def test_two_images_that_do_not_fit_each_other_are_refused(tmp_path, cli):
    model = random_model(tmp_path / "model")
    after = write(tmp_path / "after.tif", image_of(halves(70, 70)), grid(70, 70))
    far = write(tmp_path / "far.tif", image_of(halves(70, 70)), grid(70, 70, east=9000))
    floating = write(tmp_path / "floating.tif", image_of(halves(60, 70)), grid(60, 70, crs=None))
    for before, words in ((far, ["overlap"]), (floating, ["floating.tif", "no CRS"]), ("no.tif", ["no.tif"])):
        refused(cli("predict", after, "--before", before, "--model", model, "--out", tmp_path / "map"), *words)
    assert leftovers(tmp_path / "map") == []


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (("2019-05-01", "2020-05-01"), ["earlier date 2020-05-01 comes after 2019-05-01"]),
        (("2019", "2019"), ["both dates are 2019"]),
        (("soon", "2019"), ["date 'soon' is not"]),
    ],
)
def test_images_in_the_wrong_order_of_dates_are_refused(tmp_path, cli, dates, words):
    image = write(tmp_path / "image.tif", image_of(halves(70, 70)), grid(70, 70))
    before = write(tmp_path / "before.tif", image_of(halves(70, 70)), grid(70, 70))
    dated = ("--date", dates[0], "--date-before", dates[1])
    model = random_model(tmp_path / "model")
    refused(cli("predict", image, "--before", before, *dated, "--model", model, "--out", tmp_path / "map"), *words)
    assert leftovers(tmp_path / "map") == []


def test_an_image_without_crs_beside_one_with_does_not_unplace_the_map(tmp_path, cli):
    model = random_model(tmp_path / "model")
    after = write(tmp_path / "after.tif", image_of(halves(70, 70)), grid(70, 70))
    before = write(tmp_path / "before.tif", image_of(halves(70, 70)), grid(70, 70, crs=None))
    assert cli("predict", after, "--before", before, "--model", model, "--out", tmp_path / "map")[0] == 0
    with rasterio.open(tmp_path / "map/class.tif") as raster:
        assert raster.crs.to_epsg() == 32632


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_an_alpha_band_is_not_taken_for_near_infrared(tmp_path, cli, suffix):
    pixels = np.concatenate([image_of(halves(70, 70)), np.full((1, 70, 70), 255, np.uint8)])
    pixels[3, :9] = 0
    image = tmp_path / f"rgba.{suffix}"
    if suffix == "png":
        Image.fromarray(np.moveaxis(pixels, 0, -1)).save(image)
    else:
        write(image, pixels, grid(70, 70), photometric="RGB", alpha="yes")
    model = random_model(tmp_path / "model", "naip")
    refused(cli("predict", image, "--model", model, "--out", tmp_path / "map"), image.name, "alpha", "'nir'")
    assert not (tmp_path / "map").exists()
    project = small_project(tmp_path, sensors={"optical": "naip"}, scenes=[{"site": "here", "image": image.name}])
    refused(cli("prepare", edited(project, reference=None), "--out", tmp_path / "out"), image.name, "alpha", "'nir'")


def test_doctor_finds_the_alpha_band_that_prepare_would_refuse(tmp_path, cli):
    pixels = np.concatenate([image_of(halves(70, 70)), np.full((1, 70, 70), 255, np.uint8)])
    image = write(tmp_path / "rgba.tif", pixels, grid(70, 70), photometric="RGB", alpha="yes")
    code, out, _ = cli("doctor", image, "--sensor", "naip")
    assert code == 1 and "would be taken for 'nir'" in " ".join(out.split())
    assert cli("doctor", image, "--sensor", "rgb")[0] == 0


def test_near_infrared_that_is_marked_as_alpha_is_data(tmp_path, cli):
    image = write(tmp_path / "i.tif", image_of(halves(70, 70), bands=4), grid(70, 70), photometric="RGB", alpha="yes")
    model = random_model(tmp_path / "model", "naip")
    assert cli("predict", image, "--model", model, "--out", tmp_path / "map")[0] == 0


# projects


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (("2020-06-01", "2020-06-01"), ["'here'", "2020-06-01", "twice"]),
        (("t1", "2020-06-01"), ["t1", "2020-06-01", "order is unknown"]),
        (("2020", "2020-06"), ["order is unknown"]),
        (("t2", "t10"), ["t2", "t10", "t01"]),
        (("01.06.2010", "2020"), ["entry 1", "01.06.2010", "YYYY-MM-DD"]),
    ],
)
def test_dates_that_cannot_be_put_in_order_are_refused(tmp_path, cli, dates, words):
    project = two_date_project(tmp_path)
    scenes = yaml.safe_load(project.read_text())["scenes"]
    edited(project, scenes=[{**scene, "date": date} for scene, date in zip(scenes, dates, strict=True)])
    refused(cli("prepare", project, "--out", tmp_path / "out"), "scenes", *words)
    assert leftovers(tmp_path / "out") == []


def test_dates_of_two_places_are_refused(tmp_path, cli):
    project = two_date_project(tmp_path)
    elsewhere = grid(192, 256, east=5000)
    write(tmp_path / "image_2010-06-01.tif", image_of(halves(192, 256)), elsewhere)
    write(tmp_path / "truth_2010-06-01.tif", halves(192, 256), elsewhere, nodata=255)
    refused(cli("prepare", project, "--out", tmp_path / "out"), "image_2020-06-01.tif", "does not overlap")
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ([{"site": "here", "lable": "x.tif"}], ["reference, entry 1", "lable", "label"]),
        ([{"site": "here", "label": "x/{name}.tif"}], ["reference, entry 1", "x/{name}.tif"]),
        ([], ["reference", "no rows"]),
        ([{"site": "here", "date": "2011", "label": "truth_2010-06-01.tif"}], ["'here'", "2011", "2010-06-01"]),
    ],
    ids=["key", "pattern", "empty", "a date without an image"],
)
def test_a_wrong_reference_is_refused_by_its_name(tmp_path, cli, reference, words):
    project = two_date_project(tmp_path)
    refused(cli("prepare", edited(project, reference=reference), "--out", tmp_path / "out"), *words)
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": steps(change={"treshold": 1})}, ["treshold", "threshold"]),
        ({"steps": steps(change={"mmu_ha": "10 ha"})}, ["mmu_ha", "10 ha", "number"]),
        ({"steps": steps(change={"mmu_ha": 1, "mmu_pixels": 3})}, ["mmu_ha and mmu_pixels"]),
        ({"steps": steps(change={"threshold": 2})}, ["threshold"]),
        ({"steps": steps(change={"old": "nowhere.tif"})}, ["nowhere.tif", "change: old"]),
        ({"steps": steps(predict={"dates": "all"})}, ["dates: all", "pair"]),
        ({"steps": steps(predict={"dates": "latest"})}, ["dates: latest", "pair"]),
        ({"steps": steps(predict={"split": "test"})}, ["'test'", "two dates"]),
    ],
    ids=["key", "unit", "two units", "threshold", "old", "all", "latest", "split"],
)
def test_what_would_stop_change_is_refused_before_anything_is_prepared(tmp_path, cli, changes, words):
    project = edited(two_date_project(tmp_path), **changes)
    refused(cli("run", project, "--out", tmp_path / "out"), "project.yaml", *words)
    assert leftovers(tmp_path / "out") == [] and not (tmp_path / "out/prepared").exists()


def test_one_date_is_refused_before_training_and_no_fault_where_steps_are_not_listed(tmp_path, cli):
    project = small_project(tmp_path, steps=steps())
    refused(cli("run", project, "--out", tmp_path / "out"), "project.yaml", "no site has two dates")
    assert not (tmp_path / "out/prepared").exists()
    plain = yaml.safe_load(project.read_text())
    del plain["steps"]
    project.write_text(yaml.safe_dump(plain))
    assert cli("prepare", project, "--out", tmp_path / "out")[0] == 0


def test_a_project_that_lists_no_steps_compares_only_what_has_two_dates(tmp_path, cli, monkeypatch):
    done = []
    for verb in ("train", "predict", "change"):
        monkeypatch.setattr(f"mapmend.run.{verb}_step", lambda *_, verb=verb, **__: done.append(verb))
    for make, verbs in ((small_project, ["train", "predict"]), (two_date_project, ["train", "predict", "change"])):
        folder = tmp_path / make.__name__
        folder.mkdir()
        project = make(folder)
        plain = yaml.safe_load(project.read_text())
        del plain["steps"]
        project.write_text(yaml.safe_dump(plain))
        refused(cli("run", project, "--out", folder / "out"), "no map to report on")  # nothing was really mapped
        assert done == verbs
        done.clear()


def test_an_old_map_lies_where_the_scenes_lie(tmp_path, cli):
    folder = tmp_path / "files"
    folder.mkdir()
    project = two_date_project(folder)
    shutil.move(project, tmp_path / "project.yaml")
    edited(tmp_path / "project.yaml", data="files", steps=steps(change={"old": "truth_2010-06-01.tif"}))
    assert cli("prepare", tmp_path / "project.yaml", "--out", tmp_path / "out")[0] == 0


def test_a_map_of_two_dates_is_not_taken_for_one_of_one(tmp_path, cli):
    model = random_model(tmp_path / "model")
    project = two_date_project(tmp_path)
    out = ("--out", tmp_path / "out")
    assert cli("prepare", project, *out)[0] == 0
    assert cli("predict", project, *out, "--model", model)[0] == 0
    edited(project, steps=[{"train": {}}, {"predict": {"window": 64, "overlap": 16}}])
    refused(cli("predict", project, *out, "--model", model), "here", "two dates", "delete this folder")
    refused(cli("change", project, *out), "list `change` among the steps")


# labels


def polygons(folder, geometries, classes, crs="EPSG:32632", **columns):
    frame = geopandas.GeoDataFrame({"class": classes}, geometry=geometries, crs=crs)
    frame.to_file(folder / "label.gpkg")
    project = small_project(folder, scenes=[{"site": "here", "image": "image.tif", "label": "label.gpkg", **columns}])
    return edited(project, reference=None)


def test_a_bow_tie_is_mended_and_counted_once(tmp_path, cli):
    project = polygons(tmp_path, [BOW_TIE, SQUARE], ["left", "right"])
    code, _, err = cli("prepare", project, "--out", tmp_path / "out")
    assert code == 0 and err.count("1 feature with invalid geometry was mended") == 1
    [site] = json.loads((tmp_path / "out/prepared/prepared.json").read_text())["sites"]
    assert site["label_counts"] == [5000, 120 * 130]  # a bow tie covers half of its square


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize(
    ("classes", "crs", "columns", "words"),
    [
        (["left", "rihgt"], "EPSG:32632", {}, ["'rihgt' (1 feature)", "right"]),
        ([1, 9], "EPSG:32632", {}, ["'9' (1 feature)"]),
        (["left", "right"], None, {}, ["no CRS"]),
        (["left", "right"], "EPSG:32632", {"label_field": "klass"}, ["klass", "class"]),
        (["left", "right"], "EPSG:32632", {"label_class": "buildng"}, ["buildng"]),
    ],
    ids=["name", "code", "crs", "field", "label_class"],
)
def test_polygons_that_say_nothing_are_refused(tmp_path, cli, classes, crs, columns, words):
    project = polygons(tmp_path, [SQUARE, BOW_TIE], classes, crs, **columns)
    refused(cli("prepare", project, "--out", tmp_path / "out"), *words)
    assert leftovers(tmp_path / "out") == []


def test_a_broken_vector_file_is_one_line(tmp_path, cli):
    (tmp_path / "label.geojson").write_text('{"type": "FeatureColl')
    project = small_project(tmp_path, scenes=[{"site": "here", "image": "image.tif", "label": "label.geojson"}])
    _, _, err = result = cli("prepare", edited(project, reference=None), "--out", tmp_path / "out")
    refused(result, "label.geojson", "cannot be read")
    assert "DRIVER" not in err


# doctor


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda folder: folder / "nowhere", 2, "does not exist"),
        (lambda folder: folder, 1, "holds no raster"),
    ],
    ids=["missing", "empty"],
)
def test_doctor_on_nothing(tmp_path, cli, make, code, words):
    found, out, err = cli("doctor", make(tmp_path))
    assert found == code and words in out + err and "Traceback" not in err


def test_doctor_finds_what_stops_change(tmp_path, cli):
    project = small_project(tmp_path, steps=steps())
    code, out, _ = cli("doctor", project)
    assert code == 1 and "no site has two dates" in out
    code, out, _ = cli("doctor", edited(two_date_project(tmp_path), steps=steps(predict={"dates": "all"})))
    assert code == 1 and "dates: all" in " ".join(out.split())


def test_doctor_writes_nothing_for_a_data_set(tmp_path, cli):
    project = small_project(tmp_path)
    scenes = yaml.safe_load(project.read_text())["scenes"]
    edited(project, scenes=[*scenes, {"torchgeo": "EuroSAT", "sensor": "optical"}])
    before = sorted(tmp_path.rglob("*"))
    _, out, _ = cli("doctor", project)
    assert "EuroSAT" in out and "after `mapmend prepare`" in " ".join(out.split())
    assert sorted(tmp_path.rglob("*")) == before
