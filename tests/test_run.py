"""A project from images to report, by the command line: what comes out, and what an interruption changes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from pyproj import Transformer
from tests.data.scenery import grid, halves, image_of, write
from tests.projects import LOOP, TINY, call, small_project

from mapmend.core.provenance import file_hash
from mapmend.train.log import read_log


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def outcome(out):
    """What must not depend on interruptions: weights and both rasters."""
    return [
        file_hash(out / path) for path in ("model/model.safetensors", "map/here/class.tif", "map/here/confidence.tif")
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run in a process of its own, as a user starts it."""
    folder = tmp_path_factory.mktemp("finished")
    project = small_project(folder)
    start = [sys.executable, "-m", "mapmend", "run", str(project), "--out", str(folder / "out"), "--json", "-"]
    done = subprocess.run(start, capture_output=True, text=True, check=True)
    return folder, json.loads(done.stdout)


def test_a_run_leaves_a_map_a_model_and_a_report(finished):
    folder, result = finished
    out = folder / "out"
    with rasterio.open(out / "map/here/class.tif") as classes, rasterio.open(out / "map/here/confidence.tif") as sure:
        assert classes.shape == sure.shape == (192, 256)
        assert set(np.unique(classes.read(1))) <= {1, 2}
        assert sure.read(1).min() >= 100  # two classes: the better one has at least half
        assert classes.crs.to_epsg() == 32632 and classes.nodata == 255
        assert classes.colormap(1)[1][:3] == (0xAA, 0x55, 0x00)
    page = (out / "report.html").read_text()
    assert "left" in page and "<script" not in page and 'src="http' not in page
    scores = result["accuracy"]
    assert scores["label"]["oa"] == pytest.approx(1 - 16 / 256)
    assert scores["map"]["pixels"] == 192 * 256
    assert json.loads((out / "accuracy.json").read_text())["accuracy"] == scores
    card = json.loads((out / "model/model.json").read_text())
    assert card["metrics"]["best_step"] in (3, 6)
    assert "random" in card["provenance"]["weights"]


def test_a_second_run_does_nothing_again(finished, cli):
    folder, _ = finished
    out = folder / "out"
    before, times = outcome(out), (out / "map/here/class.tif").stat().st_mtime_ns
    assert cli("run", folder / "project.yaml", "--out", out)[0] == 0
    assert outcome(out) == before
    assert (out / "map/here/class.tif").stat().st_mtime_ns == times


def test_a_run_that_was_stopped_ends_as_one_that_was_not(finished, tmp_path):
    """SIGTERM during training: exit code 75, and the same command goes on to the same bytes; then kill -9 anywhere."""
    folder, _ = finished
    project = small_project(tmp_path)
    out = tmp_path / "out"
    start = [sys.executable, "-m", "mapmend", "run", str(project), "--out", str(out)]
    first = subprocess.Popen(start, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: (out / "training/log.jsonl").is_file(), first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) in (0, 75)
    if first.returncode == 75:
        assert "the same command goes on" in first.stderr.read()
    second = subprocess.Popen(start, stderr=subprocess.DEVNULL)
    _wait_for(lambda: (out / "map/here/blocks").is_dir() or (out / "map/here/class.tif").is_file(), second)
    second.send_signal(signal.SIGKILL)
    second.wait()
    subprocess.run(start, check=True, capture_output=True)
    assert outcome(out) == outcome(folder / "out")
    assert (out / "report.html").is_file()


def _wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_training_goes_on_from_a_model_with_another_legend(finished, tmp_path, cli):
    folder, _ = finished
    legend = {
        "name": "three",
        "classes": [
            {"id": 1, "name": "left", "color": "#aa5500"},
            {"id": 2, "name": "right", "color": "#0055aa"},
            {"id": 3, "name": "elsewhere", "color": "#00aa00"},
        ],
    }
    project = small_project(tmp_path, legend=legend)
    code, _, err = cli("train", project, "--out", tmp_path / "out", "--from", folder / "out/model")
    assert code == 0
    assert "elsewhere" in err
    start = read_log(tmp_path / "out/training/log.jsonl")[0]
    assert "elsewhere" in start["weights"]


def test_an_area_of_interest_and_a_dry_run(finished, tmp_path, cli):
    folder, _ = finished
    aoi = tmp_path / "aoi.geojson"
    ring = [
        [500_010, 5_299_990],
        [500_100, 5_299_990],
        [500_100, 5_299_900],
        [500_010, 5_299_900],
        [500_010, 5_299_990],
    ]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    aoi.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    image, model = folder / "image.tif", folder / "out/model"
    code, out, err = cli("predict", image, "--model", model, "--dry-run", "--json", "-")
    assert code == 0 and json.loads(out)["pixels"] == 192 * 256 and "windows" in err
    dated = ("--aoi", aoi, "--date", "2024-07", "--entropy")
    assert cli("predict", image, "--model", model, "--out", tmp_path / "map", *dated)[0] == 0
    assert set(json.loads((tmp_path / "map/item.json").read_text())["assets"]) > {"class", "confidence", "entropy"}
    with rasterio.open(tmp_path / "map/class.tif") as file:
        inside = file.read(1) != 255
    rows, cols = np.nonzero(inside)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (10, 99, 10, 99)
    assert inside.sum() == 90 * 90


def test_shards_of_a_project_and_of_an_image_are_asked_for_their_state(finished, tmp_path, cli):
    folder, _ = finished
    image, model = folder / "image.tif", folder / "out/model"
    given = ("predict", image, "--model", model, "--out", tmp_path / "map", "--block", 96)
    code, out, err = cli(*given, "--shard", "1/2", "--json", "-")
    assert code == 0 and json.loads(out) == {"finished": False} and "others are not" in err
    code, out, _ = cli("predict", tmp_path / "map", "--status", "--json", "-")
    [job] = json.loads(out)["jobs"]
    assert code == 0 and (job["state"], job["done"], job["pending"]) == ("stopped", 1, 1)
    assert cli(*given, "--shard", "2/2")[0] == 0
    assert cli("predict", tmp_path / "map", "--check")[0] == 0
    (tmp_path / "map/confidence.tif").write_bytes(b"II*")
    code, out, _ = cli("predict", tmp_path / "map", "--check")
    assert code == 1 and "confidence.tif" in out
    code, out, _ = cli("predict", folder / "project.yaml", "--out", folder / "out", "--status")
    assert code == 0 and "out/map/here: finished" in out
    for wrong, told in (
        ((tmp_path / "map",), "--status"),
        ((image, "--status"), "--out"),
        ((tmp_path, "--status", "--out", "x"), "map: finished"),
    ):
        code, out, err = cli("predict", *wrong)
        assert told in out + err and code == (0 if "finished" in told else 2)


def test_a_mosaic_of_a_manifest_s_images_is_mapped_onto_a_grid(finished, tmp_path, cli):
    folder, _ = finished
    image, model = folder / "image.tif", folder / "out/model"
    with rasterio.open(image) as file:
        pixels, profile = file.read(), file.profile
    for name, cols in (("west", slice(0, 160)), ("east", slice(100, 256))):
        part = {**profile, "width": cols.stop - cols.start, "nodata": 0}
        part["transform"] = profile["transform"] @ rasterio.Affine.translation(cols.start, 0)
        with rasterio.open(tmp_path / f"{name}.tif", "w", **part) as file:
            file.write(np.maximum(pixels[:, :, cols] // (1 if name == "east" else 2), 1))
    (tmp_path / "scenes.csv").write_text("site,date,image\nwest,2020,west.tif\neast,2024,east.tif\n")
    given = ("predict", tmp_path / "scenes.csv", "--model", model, "--mosaic", "newest")
    assert cli(*given, "--out", tmp_path / "map")[0] == 0
    assert cli(*given, "--out", tmp_path / "cut", "--grid", tmp_path / "east.tif")[0] == 0
    with rasterio.open(tmp_path / "map/class.tif") as whole, rasterio.open(tmp_path / "cut/class.tif") as cut:
        assert whole.shape == (192, 256) and cut.shape == (192, 156)
        assert whole.transform == profile["transform"] and (whole.read(1) != 255).all()
    for wrong, told in (
        (("--mosaic", "newest", tmp_path / "west.tif"), "no dates"),
        (("--grid", image, image), "--mosaic"),
        (("--mosaic", "first", image, "--before", image), "two dates"),
        (("--mosaic", "first", image, "--crs", "EPSG:25832"), "--gsd"),
        (("--mosaic", "first", tmp_path / "none.csv"), "no such manifest"),
        (("--mosaic", "first", image, "--crs", "utm"), "--gsd in metres"),
        (("--mosaic", "first", image, "--crs", "utm", "--gsd", 1, "--grid", image), "no --grid"),
    ):
        code, _, err = cli("predict", *wrong, "--model", model, "--out", tmp_path / "wrong")
        assert code == 2 and told in err and len(err.strip().splitlines()) == 1, err
        assert not (tmp_path / "wrong").exists()


def test_a_mosaic_across_zones_is_a_map_for_each(finished, tmp_path, cli):
    folder, _ = finished
    with rasterio.open(folder / "image.tif") as file:
        pixels, profile = file.read(), {**file.profile, "nodata": 0, "crs": "EPSG:32632"}
    x, y = (round(one) for one in Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True).transform(12, 47))
    for name, east in (("over", x - 100), ("beside", x - 300)):
        profile["transform"] = rasterio.Affine(1, 0, east, 0, -1, y)
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as file:
            file.write(np.maximum(pixels, 1))
    images = (tmp_path / "over.tif", tmp_path / "beside.tif")
    given = ("predict", *images, "--model", folder / "out/model", "--mosaic", "first", "--crs", "utm", "--gsd", 2)
    assert cli(*given, "--dry-run")[0] == 0 and not (tmp_path / "maps").exists()
    code, _, told = cli(*given, "--out", tmp_path / "maps", "--json", tmp_path / "maps.json", "--date", "2024-05-01")
    assert code == 0, told
    made, area = json.loads((tmp_path / "maps.json").read_text())["maps"], 0
    assert list(made) == ["utm32n", "utm33n"]
    for name, zone in made.items():
        with rasterio.open(zone["class"]) as file:
            assert file.crs.to_epsg() == (32632 if name == "utm32n" else 32633)
            valid = file.read(1) != 255
            rows, cols = np.nonzero(valid)
            places = file.transform @ (cols + 0.5, rows + 0.5)
            lon, _ = Transformer.from_crs(file.crs.to_wkt(), "EPSG:4326", always_xy=True).transform(*places)
            assert ((lon < 12) if name == "utm32n" else (lon >= 12)).mean() > 0.999  # but for what lies on it
            area += 4 * valid.sum()
        assert (tmp_path / "maps" / name / "item.json").is_file()
    assert area == pytest.approx(456 * 192, rel=0.02)
    before = [Path(zone["class"]).read_bytes() for zone in made.values()]
    assert cli(*given, "--out", tmp_path / "maps", "--date", "2024-05-01")[0] == 0  # all is done
    assert before == [Path(zone["class"]).read_bytes() for zone in made.values()]
    west = tmp_path / "west.geojson"
    degrees = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    left, right = (degrees.transform(east, y - 90) for east in (x - 250, x - 150))
    ring = [left, right, (right[0], right[1] + 0.0005), (left[0], left[1] + 0.0005), left]
    west.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert cli(*given, "--out", tmp_path / "part", "--aoi", west)[0] == 0
    assert [one.name for one in (tmp_path / "part").iterdir()] == ["utm32n"]


def test_invalid_pixels_are_in_no_metric_and_no_map(tmp_path, cli):
    project = small_project(tmp_path)
    with rasterio.open(tmp_path / "image.tif") as image:
        pixels, profile = image.read(), image.profile
    pixels[:, :, 100:140] = 0
    with rasterio.open(tmp_path / "image.tif", "w", **{**profile, "nodata": 0}) as image:
        image.write(pixels)
    code, out, _ = cli("run", project, "--out", tmp_path / "out", "--json", "-")
    assert code == 0
    with rasterio.open(tmp_path / "out/map/here/class.tif") as file:
        assert ((file.read(1) == 255) == (np.arange(256) >= 100) * (np.arange(256) < 140)).all()
    scores = json.loads(out)["accuracy"]
    assert scores["map"]["pixels"] == 192 * 216 and scores["map"]["missing"] == 0
    assert scores["label"]["oa"] == 1.0  # the label's only errors lie under the invalid strip


def test_a_run_on_pictures_without_georeference_says_so_once(tmp_path, cli):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        mask = np.zeros((96, 96), np.uint8)
        mask[:, 48:] = 255
        picture = np.clip(mask[..., None] / 2 + 60 + rng.normal(0, 9, (96, 96, 3)), 0, 255).astype(np.uint8)
        for folder, array in (("image", picture), ("mask", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"{name}.png")
    plain = {
        "name": "pictures",
        "legend": "water",
        "sensors": {"optical": "png"},
        "scenes": [{"image": "image/{name}.png", "label": "mask/{name}.png", "label_legend": "mask255"}],
        "reference": [{"label": "mask/{name}.png", "label_legend": "mask255"}],
        "steps": [{"train": {**TINY, **LOOP}}, {"predict": {"window": 64, "overlap": 16}}, "report"],
    }
    (tmp_path / "project.yaml").write_text(yaml.safe_dump(plain))
    code, out, err = cli("run", tmp_path / "project.yaml", "--out", tmp_path / "out", "--json", "-")
    assert code == 0
    assert sorted(json.loads(out)["maps"]) == ["a", "b"]
    assert "georeference" in err
    assert " px" in (tmp_path / "out/report.html").read_text()


def test_two_processes_train_one_model(tmp_path):
    """torchrun with two CPU processes (gloo): one log, one model, and both end well."""
    project = small_project(tmp_path)
    subprocess.run(
        [sys.executable, "-m", "mapmend", "prepare", str(project), "--out", str(tmp_path / "out")], check=True
    )
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m", "mapmend"]
    done = subprocess.run(
        [*start, "train", str(project), "--out", str(tmp_path / "out"), "--device", "cpu"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = read_log(tmp_path / "out/training/log.jsonl")
    assert [row["kind"] for row in rows].count("start") == 1
    assert (tmp_path / "out/model/model.json").is_file()


def test_mixed_split_names_select_what_is_mapped(tmp_path, cli):
    project = small_project(tmp_path)
    plain = yaml.safe_load(project.read_text())
    plain["scenes"] = [
        {"site": "here", "image": "image.tif", "label": "label.tif", "split": "train"},
        {"site": "there", "image": "image_there.tif", "split": "test"},
    ]
    elsewhere = grid(192, 256, east=5000)
    write(tmp_path / "image_there.tif", image_of(halves(192, 256), seed=1), elsewhere)
    write(tmp_path / "truth_there.tif", halves(192, 256), elsewhere, nodata=255)
    plain["reference"] = [{"site": "there", "label": "truth_there.tif"}]
    plain["steps"][1]["predict"]["split"] = "test"
    project.write_text(yaml.safe_dump(plain))
    code, out, _ = cli("run", project, "--out", tmp_path / "out", "--json", "-")
    assert code == 0
    result = json.loads(out)
    assert list(result["maps"]) == ["there"] and result["accuracy"]["label"] is None


def test_a_test_site_on_the_ground_of_a_training_site_is_refused(tmp_path, cli):
    project = small_project(tmp_path)
    plain = yaml.safe_load(project.read_text())
    plain["scenes"] = [
        {"site": "here", "image": "image.tif", "label": "label.tif", "split": "train"},
        {"site": "there", "image": "image.tif", "split": "test"},
    ]
    plain["reference"] = [{"site": "there", "label": "truth.tif"}]
    project.write_text(yaml.safe_dump(plain))
    code, _, err = cli("prepare", project, "--out", tmp_path / "out")
    assert code == 2 and "'here' (train)" in err and "'there' (test)" in err and "100%" in err


def test_the_projects_seed_draws_the_training(tmp_path):
    from mapmend.project import load_project

    for seed, asked, expected in ((0, {}, 0), (7, {}, 7), (7, {"seed": 3}, 3)):
        project = small_project(tmp_path, seed=seed, steps=[{"train": {**TINY, **asked}}])
        assert load_project(project).train_settings().loop.seed == expected


def test_only_the_steps_that_are_named_are_done(tmp_path, cli):
    project = small_project(tmp_path, steps=[{"train": {**TINY, **LOOP}}])
    code, out, _ = cli("run", project, "--out", tmp_path / "out", "--json", "-")
    assert code == 0
    assert json.loads(out)["report"] is None
    assert (tmp_path / "out/model/model.json").is_file() and not (tmp_path / "out/map").exists()


def test_two_runs_at_once_in_one_folder_are_refused(tmp_path, cli):
    from filelock import FileLock

    project = small_project(tmp_path)
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out/.lock"):
        code, _, err = cli("run", project, "--out", tmp_path / "out")
    assert code == 2 and "another run is working" in err


@pytest.mark.parametrize("robust", [{"robust": "forward", "transition": "crosswalk"}, {"robust": "posterior"}])
def test_a_crosswalks_mixtures_say_how_its_label_errs(tmp_path, monkeypatch, capsys, robust):
    mixed = {"name": "mixed", "source": "mixed", "target": "two", "table_source": "a test"}
    mixed |= {"mapping": {"left": [1], "right": [2]}, "mixture": {1: [0.9, 0.1], 2: [0.2, 0.8]}}
    (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(mixed))
    scene = {"site": "here", "image": "image.tif", "label": "label.tif", "label_legend": "mixed.yaml"}
    train = {"train": {**TINY, **LOOP, **robust}}
    path = small_project(tmp_path, scenes=[scene], steps=[train, {"predict": {"window": 64, "overlap": 16}}])
    code, _, err = call(monkeypatch, capsys, "run", path, "--out", tmp_path / "out")
    assert code == 0, err
    assert (tmp_path / "out" / "map" / "here" / "class.tif").is_file()
