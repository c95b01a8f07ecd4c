import json
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from tests.range_server import serving
from tiny_predictors import Local, predictor
from tiny_scenes import TRANSFORM, random_pixels, read, sensor, write_image

from mapmend.cli.images import images_of, placed_images
from mapmend.core.errors import JobError, ManifestError, SensorError
from mapmend.core.sensor import QARule
from mapmend.predict.job import predict_scene
from mapmend.predict.scene import mosaic_of_files, scene_of_files
from mapmend.raster.remote import VARIABLE

CARD = sensor(3)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    with serving(tmp_path) as one:
        yield one


def test_a_scene_elsewhere_is_mapped_as_the_same_scene_here(server, tmp_path, legend):
    write_image(tmp_path / "scene.tif", random_pixels(150, 170))
    model = predictor(Local(), legend)
    maps = [
        predict_scene(model, scene_of_files([file], (CARD,)), tmp_path / str(number), block=64)
        for number, file in enumerate((str(tmp_path / "scene.tif"), server.url("scene.tif")))
    ]
    assert maps[0].class_path.read_bytes() == maps[1].class_path.read_bytes()
    assert maps[0].confidence_path.read_bytes() == maps[1].confidence_path.read_bytes()


def test_a_scene_that_was_replaced_elsewhere_is_another_job(server, tmp_path, legend):
    write_image(tmp_path / "scene.tif", random_pixels(80, 80))
    model = predictor(Local(), legend)
    url = server.url("scene.tif")
    predict_scene(model, scene_of_files([url], (CARD,)), tmp_path / "map")
    asked = len(server.asked)
    predict_scene(model, scene_of_files([url + "?signed=again"], (CARD,)), tmp_path / "map")  # it is done
    assert len(server.asked) - asked < 20
    write_image(tmp_path / "scene.tif", random_pixels(80, 80, seed=1))
    with pytest.raises(JobError):
        predict_scene(model, scene_of_files([url], (CARD,)), tmp_path / "map")


def item(name, date):
    assets = {"image": {"href": f"{name}.tif", "type": "image/tiff"}}
    return {"type": "Feature", "id": name, "properties": {"datetime": date}, "assets": assets}


def test_a_search_makes_a_mosaic_by_date(server, tmp_path, legend):
    older, newer = (
        write_image(tmp_path / f"{name}.tif", random_pixels(60, 60, seed=seed)) for seed, name in enumerate("on")
    )
    search = {
        "type": "FeatureCollection",
        "features": [item("o", "2023-01-01T00:00:00Z"), item("n", "2024-01-01T00:00:00Z")],
    }
    (tmp_path / "search.json").write_text(json.dumps(search))
    for rule, first in (("first", older), ("newest", newer)):
        placed = placed_images([tmp_path / "search.json"], (CARD,), rule, None, "", None)
        assert placed.sources[0].files == (str(first),)
        scene = mosaic_of_files([str(tmp_path / "search.json")], (CARD,), placed=placed)
        predict_scene(predictor(Local(), legend), scene, tmp_path / rule)
    search["features"].append(item("o", None))
    (tmp_path / "search.json").write_text(json.dumps(search))
    with pytest.raises(ManifestError, match="an item without a date"):
        placed_images([tmp_path / "search.json"], (CARD,), "newest", None, "", None)


def test_a_search_makes_a_mosaic_by_its_clouds(tmp_path):
    items = [item(name, "2024-01-01T00:00:00Z") for name in "abc"]
    for one, clouds in zip(items, (30, 0, 12.5), strict=True):
        one["properties"]["eo:cloud_cover"] = clouds
    path = tmp_path / "search.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    placed = placed_images([path], (CARD,), "clearest", None, "", None)
    assert [source.files for source in placed.sources] == [(str(tmp_path / f"{name}.tif"),) for name in "bca"]
    del items[1]["properties"]["eo:cloud_cover"]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    with pytest.raises(ManifestError, match="an item without 'eo:cloud_cover'"):
        placed_images([path], (CARD,), "clearest", None, "", None)
    with pytest.raises(ManifestError, match="only STAC items tell"):
        placed_images([tmp_path / "a.tif"], (CARD,), "clearest", None, "", None)


@pytest.mark.parametrize("alone", [True, False], ids=["bands in one file", "a file for each band"])
def test_clouds_of_an_items_quality_band_are_not_mapped(tmp_path, legend, alone):
    card = replace(CARD, qa=QARule("classes", "SCL", (9,)))
    pixels = random_pixels(60, 60)
    clouds = np.full((1, 30, 30), 4, np.uint8)  # of pixels twice as large
    clouds[:, :, :10] = 9
    write_image(tmp_path / "SCL.tif", clouds, transform=TRANSFORM @ Affine.scale(2))
    plain = item("o", "2023-01-01T00:00:00Z")
    if alone:
        write_image(tmp_path / "o.tif", pixels)
    else:
        plain["assets"] = {
            f"b{n}": {"href": str(write_image(tmp_path / f"b{n}.tif", pixels[n : n + 1]))} for n in range(3)
        }
    plain["assets"]["scl"] = {"href": "SCL.tif", "roles": ["data"]}
    (tmp_path / "item.json").write_text(json.dumps(plain))
    files, _ = images_of([tmp_path / "item.json"], (card,))
    assert len(files) == (2 if alone else 4)
    mapped = read(
        predict_scene(predictor(Local(), legend), scene_of_files(files, (card,)), tmp_path / "map").class_path
    )
    assert (mapped[:, :20] == 255).all()
    assert (mapped[:, 20:] != 255).all()


def test_an_item_is_one_scene_of_one_sensor(tmp_path):
    (tmp_path / "item.json").write_text(json.dumps(item("o", "2023-01-01T00:00:00Z")))
    assert images_of([tmp_path / "item.json"], (CARD,)) == ([str(tmp_path / "o.tif")], "2023-01-01")
    with pytest.raises(SensorError, match="the model wants 2"):
        images_of([tmp_path / "item.json"], (CARD, CARD))
    with pytest.raises(ManifestError, match="--mosaic"):
        images_of([tmp_path / "item.json"] * 2, (CARD,))
