import json
import shutil
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rio_cogeo.cogeo import cog_validate
from tiny_predictors import Local, predictor
from tiny_scenes import CRS, random_pixels, read, sensor, write_image, write_scene

from mapmend.core.errors import DiskError, GridError, JobError, ModelError, ProjectError, RasterError, SensorError
from mapmend.core.grid import make_grid
from mapmend.nn.build import build_network
from mapmend.nn.model_folder import ModelCard, save_model
from mapmend.nn.spec import NetworkSpec
from mapmend.predict import assembly, estimate
from mapmend.predict import job as module
from mapmend.predict.executors import local
from mapmend.predict.job import estimate_scene, predict_scene
from mapmend.predict.predictor import load_predictor
from mapmend.predict.run_block import run_block
from mapmend.raster.reading import ImageSource


def test_a_map_is_two_cogs_with_colours_names_and_a_record(model, scene, legend, tmp_path):
    result = predict_scene(model, scene, tmp_path / "map", block=96)
    assert cog_validate(result.class_path)[0] and cog_validate(result.confidence_path)[0]
    ids, confidence = read(result.class_path), read(result.confidence_path)
    assert set(np.unique(ids)) == {10, 20, 44, 255}
    np.testing.assert_array_equal(ids == 255, confidence == 255)
    assert (ids[20:50, 100:] == 255).all() and result.pixels == (ids != 255).sum()
    with rasterio.open(result.class_path) as file:
        assert file.nodata == 255 and file.colormap(1)[20] == (0, 170, 0, 255)
        assert file.transform == scene.grid.transform and file.crs.to_epsg() == 32633
    with rasterio.open(result.confidence_path) as file:
        assert file.nodata == 255 and file.scales == (0.005,)
    record = json.loads((tmp_path / "map" / "mapmend.json").read_text())
    assert record["config"]["window"] == 64 and record["config"]["weights"] == "test"
    assert record["pixels"] == result.pixels
    assert {path.name for path in (tmp_path / "map").iterdir()} == {
        *("class.tif", "class.tif.aux.xml", "class.qml", "confidence.tif", "mapmend.json", "job.json")
    }


def test_the_map_s_bytes_do_not_depend_on_the_size_of_blocks(model, scene, tmp_path):
    maps = [predict_scene(model, scene, tmp_path / f"map{side}", block=side) for side in (48, 96, 512)]
    for layer in ("class_path", "confidence_path"):
        assert len({getattr(result, layer).read_bytes() for result in maps}) == 1


def test_a_finished_job_returns_at_once(model, scene, tmp_path):
    first = predict_scene(model, scene, tmp_path / "map")
    model.shapes.clear()
    again = predict_scene(model, scene, tmp_path / "map")
    assert model.shapes == []
    assert again == replace(first, seconds=again.seconds)


def test_blocks_that_are_done_are_not_done_again_unless_their_files_were_changed(model, scene, tmp_path, monkeypatch):
    calm = predict_scene(model, scene, tmp_path / "calm", block=96)
    done = []

    def fail_at_third(predictor, scene, block, folder, **more):
        if len(done) == 3:
            raise DiskError("is full")
        done.append(block.id)
        return run_block(predictor, scene, block, folder, **more)

    monkeypatch.setattr(local, "run_block", fail_at_third)
    with pytest.raises(DiskError):
        predict_scene(model, scene, tmp_path / "map", block=96)
    path = tmp_path / "map" / "blocks" / f"{done[1]}.class.tif"
    path.write_bytes(path.read_bytes()[:-10])
    second = []

    def remember(predictor, scene, block, folder, **more):
        second.append(block.id)
        return run_block(predictor, scene, block, folder, **more)

    monkeypatch.setattr(local, "run_block", remember)
    result = predict_scene(model, scene, tmp_path / "map", block=96)
    assert second[0] == done[1] and done[0] not in second and done[2] not in second
    assert result.class_path.read_bytes() == calm.class_path.read_bytes()
    assert not (tmp_path / "map" / "blocks").exists()


def test_another_block_size_can_finish_a_job(model, scene, tmp_path, monkeypatch):
    def fail(*arguments, **more):
        raise DiskError("is full")

    calm = predict_scene(model, scene, tmp_path / "calm", block=96)
    real = assembly.write_cog
    monkeypatch.setattr(assembly, "write_cog", fail)
    with pytest.raises(DiskError):
        predict_scene(model, scene, tmp_path / "map", block=96)
    monkeypatch.setattr(assembly, "write_cog", real)
    assert (
        predict_scene(model, scene, tmp_path / "map", block=48).class_path.read_bytes() == calm.class_path.read_bytes()
    )


@pytest.mark.parametrize("change", ["window", "weights", "source", "grid", "aoi"])
def test_the_folder_of_another_job_is_refused_in_one_line_and_left_alone(change, model, scene, legend, tmp_path):
    predict_scene(model, scene, tmp_path / "map")
    before = {path: path.read_bytes() for path in (tmp_path / "map").iterdir()}
    aoi = None
    if change == "window":
        model = predictor(Local(), legend, size=32, overlap=8)
    elif change == "weights":
        model = predictor(Local(), legend)
        model.identity["weights"] = "others"
    elif change == "source":
        write_image(scene.sources[0].files[0], random_pixels(150, 170, seed=9))
    elif change == "grid":
        scene = replace(scene, grid=make_grid((140, 170), scene.grid.transform, CRS))
    else:
        aoi = str(tmp_path / "aoi.gpkg")
        left, top = scene.grid.transform.c, scene.grid.transform.f
        box = shapely.box(left, top - 100, left + 100, top)
        gpd.GeoDataFrame(geometry=[box], crs=CRS).to_file(aoi)
    with pytest.raises(JobError, match="another job.*(window|weights|sources|grid|aoi)") as fault:
        predict_scene(model, replace(scene, aoi=aoi), tmp_path / "map")
    assert "\n" not in str(fault.value) and str(tmp_path / "map") in str(fault.value)
    assert {path: path.read_bytes() for path in (tmp_path / "map").iterdir()} == before


def test_a_map_without_its_job_file_is_not_overwritten(model, scene, tmp_path):
    predict_scene(model, scene, tmp_path / "map")
    (tmp_path / "map" / "job.json").unlink()
    with pytest.raises(JobError, match=r"job\.json"):
        predict_scene(model, scene, tmp_path / "map")


def test_a_moved_job_is_still_the_same_job(model, scene, tmp_path):
    predict_scene(model, scene, tmp_path / "map")
    shutil.move(tmp_path / "map", tmp_path / "moved")
    model.shapes.clear()
    predict_scene(model, scene, tmp_path / "moved")
    assert model.shapes == []


def test_a_scene_without_a_valid_pixel_is_an_error_and_leaves_nothing(model, tmp_path):
    scene = write_scene(tmp_path, np.zeros((3, 100, 100), np.uint8))
    with pytest.raises(RasterError, match="no valid pixel"):
        predict_scene(model, scene, tmp_path / "map")
    assert not (tmp_path / "map").exists()


def test_a_file_that_cannot_be_read_is_an_error_and_leaves_nothing(model, scene, tmp_path):
    path = tmp_path / "scene0.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RasterError, match="scene0"):
        predict_scene(model, scene, tmp_path / "map")
    assert not (tmp_path / "map").exists()


def test_an_area_of_interest_elsewhere_is_an_error(model, scene, tmp_path):
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 9, 9)], crs=CRS).to_file(tmp_path / "aoi.gpkg")
    with pytest.raises(GridError, match="aoi"):
        predict_scene(model, replace(scene, aoi=str(tmp_path / "aoi.gpkg")), tmp_path / "map")
    assert not (tmp_path / "map").exists()


def test_a_disk_too_small_is_an_error_before_anything_is_computed(model, scene, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "disk_bytes", lambda *_: 2**60)
    with pytest.raises(DiskError, match="GB"):
        predict_scene(model, scene, tmp_path / "map")
    assert model.shapes == [] and not (tmp_path / "map").exists()


@pytest.fixture
def folder(legend, tmp_path):
    spec = NetworkSpec("tf_efficientnet_lite0", "unet", 3, 3, (100.0,) * 3, (50.0,) * 3)
    network, _ = build_network(spec)
    card = ModelCard(
        network.spec,
        {"camera0": sensor(3, "camera0").to_dict()},
        legend.to_dict(),
        window=64,
        overlap=16,
        bands=("b0", "b1", "b2"),
    )
    return save_model(tmp_path / "model", network, card)


def test_a_model_folder_is_mapped_with_its_own_window_and_legend(folder, scene, tmp_path):
    result = predict_scene(load_predictor(folder, device="cpu", batch=4), scene, tmp_path / "map")
    assert set(np.unique(read(result.class_path))) <= {10, 20, 44, 255}
    identity = json.loads((tmp_path / "map" / "job.json").read_text())
    assert (identity["window"], identity["overlap"], identity["batch"]) == (64, 16, 4)
    assert identity["threads"] == 1 and identity["precision"] == "float32" and len(identity["weights"]) == 64


def test_what_does_not_fit_the_model_s_sensor_card_is_refused(folder, scene, tmp_path):
    source, card = scene.sources[0], sensor(3, "camera0")

    def refused(*sources, match):
        with pytest.raises(SensorError, match=match):
            predict_scene(folder, replace(scene, sources=sources), tmp_path / "map")
        assert not (tmp_path / "map").exists()

    refused(source, source, match="2 images, the model wants 1")
    refused(replace(source, bands=("b0", "b2", "b1")), match="b0, b2, b1; the model wants b0, b1, b2")
    refused(replace(source, sensor=replace(card, scale=0.0001)), match="scale 0.0001")
    refused(replace(source, sensor=replace(card, unit="dB")), match="unit dB")


def test_a_number_type_the_model_s_card_excludes_is_refused(legend, scene, tmp_path):
    model = predictor(Local(), legend, sensors=(sensor(3, "camera0", dtypes=("uint16",)),))
    with pytest.raises(SensorError, match="uint8"):
        predict_scene(model, scene, tmp_path / "map")


def test_a_device_or_precision_that_is_not_there_is_one_line(folder):
    for settings in ({"device": "abacus"}, {"device": "cuda:77"}, {"precision": "float4"}):
        with pytest.raises(ModelError) as fault:
            load_predictor(folder, **settings)
        assert "\n" not in str(fault.value)


def test_bfloat16_maps_almost_alike(folder, scene, tmp_path):
    maps = [
        predict_scene(load_predictor(folder, device="cpu", precision=name), scene, tmp_path / name)
        for name in ("float32", "bfloat16")
    ]
    maps = [read(result.confidence_path) for result in maps]
    off = np.abs(maps[0].astype(int) - maps[1])
    assert np.quantile(off, 0.99) <= 10  # five per cent; single pixels of a network with random weights may differ more


def test_an_estimate_counts_what_the_job_then_does_and_writes_nothing(model, scene, tmp_path):
    before = sorted(tmp_path.iterdir())
    estimate = estimate_scene(model, scene, block=96)
    assert sorted(tmp_path.iterdir()) == before
    assert estimate.blocks == 4 and estimate.pixels == 150 * 170
    assert estimate.seconds > 0 and estimate.memory > 2**20
    model.shapes.clear()
    whole = write_scene(tmp_path, random_pixels(150, 170), name="whole")
    result = predict_scene(model, whole, tmp_path / "map", block=96)
    windows = json.loads((tmp_path / "map" / "mapmend.json").read_text())["windows"]
    assert estimate.windows == windows
    assert sum(path.stat().st_size for path in (result.class_path, result.confidence_path)) < 2 * estimate.disk


def test_uint16_and_unreferenced_images_are_mapped_in_pixel_units(legend, tmp_path):
    pixels = random_pixels(100, 100, dtype=np.uint16)
    path = tmp_path / "plain.png"
    with rasterio.open(path, "w", driver="PNG", height=100, width=100, count=3, dtype="uint16") as file:
        file.write(pixels)
    card = sensor(3)
    scene = write_scene(tmp_path, pixels)
    georeferenced = predict_scene(predictor(Local(), legend), scene, tmp_path / "map")
    plain = replace(
        scene,
        sources=(ImageSource((str(path),), card.band_names, card),),
        grid=make_grid((100, 100), Affine.identity(), None),
    )
    with pytest.warns(UserWarning):
        result = predict_scene(predictor(Local(), legend), plain, tmp_path / "plain")
    np.testing.assert_array_equal(read(result.class_path), read(georeferenced.class_path))


def test_blocks_larger_than_memory_allows_are_one_line_before_anything_is_written(model, scene, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_free", lambda: 300_000)
    with pytest.raises(ProjectError, match=r"blocks 170 pixels wide need about 0\.0 GB of memory.*smaller") as fault:
        predict_scene(model, scene, tmp_path / "map")
    assert "\n" not in str(fault.value) and not (tmp_path / "map").exists()
    monkeypatch.setattr(estimate, "_free", lambda: None)
    predict_scene(model, scene, tmp_path / "map")
