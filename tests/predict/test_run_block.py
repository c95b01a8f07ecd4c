import threading
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from tiny_predictors import Constant, Counting, Local, Position, predictor
from tiny_scenes import CRS, TRANSFORM, random_pixels, read, write_scene

from mapmend.core.errors import ModelError
from mapmend.core.grid import Window
from mapmend.nn.build import build_network
from mapmend.nn.spec import NetworkSpec
from mapmend.predict.blocks import Block, count_windows, plan_blocks
from mapmend.predict.run_block import run_block


def _map(model, scene, side, folder):
    """Class ids and confidence of the whole scene, put together from blocks of a side."""
    folder.mkdir(exist_ok=True)
    layers = np.zeros((2, *scene.grid.shape), np.uint8)
    for block in reversed(plan_blocks(scene.grid, side)):
        result = run_block(model, scene, block, folder)
        for layer, path in zip(layers, result.files, strict=True):
            layer[block.window.slices] = read(path)
    return layers


def _whole(network, pixels, valid, legend):
    """Class ids and probability of the whole image in one go, with the invalid surroundings that windows see too."""
    height, width = valid.shape
    pixels, valid = np.pad(pixels, ((0, 0), (0, 64), (0, 64))), np.pad(valid, ((0, 64), (0, 64)))
    with torch.inference_mode():
        logits = network(torch.from_numpy(pixels)[None], torch.from_numpy(valid)[None, None])
        best, index = logits.softmax(1)[0].double().max(0)
    return np.array(legend.ids)[index.numpy()][:height, :width], best.numpy()[:height, :width]


@pytest.fixture(scope="module")
def lite0():
    torch.manual_seed(3)
    spec = NetworkSpec("tf_efficientnet_lite0", "unet", 3, 3, (100.0,) * 3, (50.0,) * 3)
    network, _ = build_network(spec, weights="none")
    for module in network.modules():  # random batch norms as training would leave them: an identity would hide faults
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


def test_bytes_do_not_depend_on_the_size_or_order_of_blocks(lite0, legend, tmp_path):
    pixels = random_pixels(150, 200)
    pixels[:, 40:110, 60:140] = 0
    scene = write_scene(tmp_path, pixels)
    model = predictor(lite0, legend)
    whole = _map(model, scene, 512, tmp_path / "whole")
    assert len(np.unique(whole[0])) > 2 and len(np.unique(whole[1])) > 20
    for side in (48, 96):
        np.testing.assert_array_equal(_map(model, scene, side, tmp_path / f"s{side}"), whole)


@pytest.mark.parametrize(
    ("encoder", "decoder"), [("resnet18", "fpn"), ("mit_b0", "segformer"), ("convnext_atto", "unet")]
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_window_gets_the_same_numbers_wherever_it_stands_in_its_batch(encoder, decoder, precision):
    torch.manual_seed(1)
    network, _ = build_network(NetworkSpec(encoder, decoder, 3, 3, (0.0,) * 3, (1.0,) * 3), weights="none")
    network.eval().to(memory_format=torch.channels_last)
    windows = torch.randn(5, 3, 64, 64)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        one, other = (
            network(images.contiguous(memory_format=torch.channels_last)).float().softmax(1)
            for images in (windows, windows[order])
        )
        alone = network(torch.cat([windows[:1], torch.zeros(4, 3, 64, 64)])).float().softmax(1)
    assert torch.equal(one[order], other)
    assert torch.equal(one[0], alone[0])


@pytest.mark.parametrize("depth", [1, 4])
def test_tiled_is_whole_for_a_network_that_looks_no_further_than_a_quarter_of_the_overlap(depth, legend, tmp_path):
    pixels = random_pixels(150, 170)
    pixels[:, 40:60, 90:140] = 0
    valid = (pixels != 0).all(0)
    network = Local(depth=depth)
    ids, probability = _whole(network, pixels, valid, legend)
    classes, confidence = _map(predictor(network, legend), write_scene(tmp_path, pixels), 96, tmp_path / "map")
    assert len(np.unique(ids)) == 3
    np.testing.assert_array_equal(classes[valid], ids[valid])
    assert np.abs(confidence[valid] - 200 * probability[valid]).max() < 0.501
    assert (classes[~valid] == 255).all() and (confidence[~valid] == 255).all()


def test_constant_in_is_constant_out(legend, tmp_path):
    scene = write_scene(tmp_path, np.full((3, 130, 170), 77, np.uint8))
    classes, confidence = _map(predictor(Constant([0.0, 1.0, 0.5]), legend), scene, 96, tmp_path / "map")
    share = np.exp(1) / (1 + np.exp(1) + np.exp(0.5))
    assert (classes == 20).all()
    assert (confidence == round(200 * share)).all()


def test_no_seams_even_where_neighbouring_windows_contradict_each_other(legend, tmp_path):
    scene = write_scene(tmp_path, np.full((3, 200, 200), 77, np.uint8))
    model = predictor(Position(), legend, overlap=32)
    _, confidence = _map(model, scene, 128, tmp_path / "map")
    steps = np.abs(np.diff(confidence[100].astype(int)))
    assert confidence.max() - confidence.min() > 50
    assert steps.max() <= 16  # a hard cut between windows would step by about 75


def test_all_invalid_gives_nodata_and_asks_the_network_nothing(legend, tmp_path):
    scene = write_scene(tmp_path, np.zeros((3, 100, 100), np.uint8))
    model = Counting(predictor(Constant([0.0, 1.0, 0.5]), legend))
    result = run_block(model, scene, Block(Window(0, 0, 100, 100)), tmp_path)
    assert [np.unique(read(path)).tolist() for path in result.files] == [[255], [255]]
    assert model.shapes == [] and result.windows == 0 and result.pixels == 0


def test_every_batch_has_the_same_shape_and_no_window_is_predicted_twice(legend, tmp_path):
    pixels = random_pixels(200, 200)
    scene = write_scene(tmp_path, pixels)
    model = Counting(predictor(Constant([0.0, 1.0, 0.5]), legend))
    block = Block(Window(0, 0, 200, 200))
    result = run_block(model, scene, block, tmp_path)
    assert set(model.shapes) == {(3, 3, 64, 64)}
    assert result.windows == count_windows(block, scene.grid, model.lattice) == 16
    assert len(set(model.windows)) - (len(model.windows) > 16) == 16  # the padding is one more


def test_a_small_scene_is_not_padded_to_a_full_batch(legend, tmp_path):
    model = Counting(predictor(Constant([0.0, 1.0, 0.5]), legend, batch=16))
    run_block(model, write_scene(tmp_path, random_pixels(64, 100)), Block(Window(0, 0, 64, 100)), tmp_path)
    assert model.shapes == [(2, 3, 64, 64)]


def test_windows_without_a_valid_pixel_are_left_out(legend, tmp_path):
    pixels = random_pixels(200, 200)
    pixels[:, :, 70:] = 0
    model = Counting(predictor(Constant([0.0, 1.0, 0.5]), legend))
    result = run_block(model, write_scene(tmp_path, pixels), Block(Window(0, 0, 200, 200)), tmp_path)
    assert result.windows == 8
    assert result.pixels == 200 * 70


def test_outside_of_the_area_of_interest_is_nodata_and_inside_nothing_changes(lite0, legend, tmp_path):
    scene = write_scene(tmp_path, random_pixels(200, 200))
    model = Counting(predictor(lite0, legend))
    shape = shapely.Point(50, 120).buffer(35)
    ring = shapely.transform(shape, lambda xy: np.column_stack(TRANSFORM @ (xy[:, 0], xy[:, 1])))
    gpd.GeoDataFrame(geometry=[ring], crs=CRS).to_file(tmp_path / "aoi.gpkg")
    everywhere = _map(model, scene, 512, tmp_path / "all")
    needed = len(model.shapes)
    model.shapes.clear()
    within = _map(model, replace(scene, aoi=str(tmp_path / "aoi.gpkg")), 96, tmp_path / "aoi")
    cols, rows = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    inside = shapely.contains_xy(shape, cols, rows)
    np.testing.assert_array_equal(within[:, inside], everywhere[:, inside])
    assert (within[:, ~inside] == 255).all()
    assert len(model.shapes) < needed


def test_modalities_keep_their_own_validity_and_the_map_has_data_where_all_have(legend, tmp_path):
    optical, radar = random_pixels(100, 100), random_pixels(100, 100, bands=2, seed=5).astype(np.float32) / 7
    optical[:, 10:20] = 0
    radar[:, :, 30:50] = np.nan
    seen = {}

    class Spy(torch.nn.Module):
        def forward(self, image, valid):
            seen["image"], seen["valid"] = image[0].numpy(), valid[0].numpy()
            return torch.zeros(len(image), 3, *image.shape[-2:])

    model = predictor(Spy(), legend, size=128, overlap=0, batch=1)
    classes, _ = _map(model, write_scene(tmp_path, optical, radar), 512, tmp_path / "map")
    expected = np.ones((5, 100, 100), bool)
    expected[:3, 10:20], expected[3:, :, 30:50] = False, False
    np.testing.assert_array_equal(seen["valid"][:, :100, :100], expected)
    assert not seen["valid"][:, 100:].any() and not seen["valid"][:, :, 100:].any()
    np.testing.assert_array_equal(seen["image"][:3, :100, :100], optical)
    np.testing.assert_array_equal(seen["image"][3:, :100, :100], np.nan_to_num(radar))
    np.testing.assert_array_equal(classes != 255, expected.all(0))


def test_each_pixel_is_read_once(legend, tmp_path, monkeypatch):
    from mapmend.predict import scene as module

    scene = write_scene(tmp_path, random_pixels(300, 300))
    hits, read_window = np.zeros((400, 400), int), module.Reader.read

    def remember(self, window):
        hits[window.slices] += 1
        assert window.height <= 64
        return read_window(self, window)

    monkeypatch.setattr(module.Reader, "read", remember)
    run_block(predictor(Local(), legend), scene, Block(Window(0, 0, 300, 300)), tmp_path)
    assert (hits[:300, :300] == 1).all()


def test_probabilities_that_are_not_numbers_are_an_error_and_leave_no_file(legend, tmp_path):
    scene = write_scene(tmp_path, random_pixels(100, 100))
    with pytest.raises(ModelError, match="not numbers"):
        run_block(predictor(Constant([0.0, float("nan"), 0.5]), legend), scene, Block(Window(0, 0, 100, 100)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scene0.tif"]


def test_a_block_that_is_given_up_leaves_no_file_and_no_thread(legend, tmp_path):
    scene, threads = write_scene(tmp_path, random_pixels(300, 300)), threading.active_count()

    def give_up(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_block(predictor(Local(), legend), scene, Block(Window(0, 0, 300, 300)), tmp_path, on_rows=give_up)
    assert [path.name for path in tmp_path.iterdir()] == ["scene0.tif"]
    assert threading.active_count() == threads


@pytest.mark.parametrize("nodata", [0, None, 7])
def test_what_was_never_written_is_not_read_and_the_map_is_the_same(nodata, legend, tmp_path, monkeypatch):
    from mapmend.predict import scene as module

    pixels = random_pixels(1024, 256)
    pixels[:, 200:900] = nodata or 0
    dense = write_scene(tmp_path, pixels)
    profile = {"driver": "GTiff", "height": 1024, "width": 256, "count": 3, "dtype": "uint8", "nodata": nodata}
    path = tmp_path / "sparse.tif"
    tiles = {"tiled": True, "blockxsize": 128, "blockysize": 128, "SPARSE_OK": True}
    with rasterio.open(path, "w", crs=CRS, transform=TRANSFORM, **profile, **tiles) as file:
        for row in (*range(0, 256, 128), 896):
            file.write(pixels[:, row : row + 128], window=rasterio.windows.Window(0, row, 256, 128))
    source = replace(dense.sources[0], files=(str(path),))
    heights, read_window = [], module.Reader.read

    def remember(self, window):
        heights.append(window.height)
        return read_window(self, window)

    monkeypatch.setattr(module.Reader, "read", remember)
    model = predictor(Local(), legend)
    with rasterio.open(tmp_path / "scene0.tif", "w", crs=CRS, transform=TRANSFORM, **profile) as file:
        file.write(pixels)
    expected = _map(model, dense, 512, tmp_path / "dense")
    needed = sum(heights)
    heights.clear()
    np.testing.assert_array_equal(_map(model, replace(dense, sources=(source,)), 512, tmp_path / "sparse"), expected)
    # without a nodata value, what was never written is black, and black is an ordinary value
    assert sum(heights) == needed if nodata is None else sum(heights) < needed / 1.5
