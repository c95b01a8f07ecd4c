from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject
from tiny_predictors import Local, predictor
from tiny_scenes import CRS, TRANSFORM, random_pixels, read, sensor, write_image

from mapmend.core.errors import GridError, SensorError
from mapmend.core.grid import Window, make_grid
from mapmend.predict.job import predict_scene
from mapmend.predict.scene import SceneReader, mosaic_of_files
from mapmend.raster.bands import ImageSource
from mapmend.raster.mosaic import Placed

CARD = sensor(3)


def _write(path, pixels, row, col, crs=CRS, transform=None):
    at = transform or TRANSFORM @ Affine.translation(col, row)
    profile = {"driver": "GTiff", "height": pixels.shape[1], "width": pixels.shape[2], "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=at, nodata=0, **profile) as file:
        file.write(pixels)
    return str(path)


@pytest.fixture
def parts(tmp_path):
    """A whole image, and three files that overlap and hold it; where they overlap, the second is darker."""
    whole = random_pixels(120, 200)
    whole[:, 30:50, 60:80] = 0
    darker = whole // 2
    files = [
        _write(tmp_path / "a.tif", whole[:, :, :90], 0, 0),
        _write(tmp_path / "b.tif", darker[:, 10:, 60:], 10, 60),
        _write(tmp_path / "c.tif", whole[:, :, 80:], 0, 80),
    ]
    return whole, darker, files


def test_the_first_image_that_is_valid_counts(parts):
    whole, darker, files = parts
    scene = mosaic_of_files(files, (CARD,))
    pixels, valid = SceneReader(scene).read(Window(0, 0, 120, 200))
    expected = whole.copy()
    expected[:, 10:, 90:] = darker[:, 10:, 90:]
    expected[:, :10, 90:] = whole[:, :10, 90:]
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(valid[0], (expected != 0).any(0))
    other = SceneReader(mosaic_of_files([files[0], files[2], files[1]], (CARD,))).read(Window(0, 0, 120, 200))[0]
    np.testing.assert_array_equal(other, whole)


def test_a_mosaic_is_mapped_as_the_whole_image_and_its_bytes_do_not_depend_on_blocks(parts, legend, tmp_path):
    whole, _, files = parts
    model = predictor(Local(), legend)
    card = mosaic_of_files([files[0], files[2]], (CARD,))
    maps = [predict_scene(model, card, tmp_path / f"m{side}", block=side) for side in (48, 512)]
    assert maps[0].class_path.read_bytes() == maps[1].class_path.read_bytes()
    path = _write(tmp_path / "whole.tif", whole, 0, 0)
    source = ImageSource((path,), CARD.band_names, CARD)
    plain = predict_scene(model, replace(card, sources=(source,), mosaic=()), tmp_path / "plain")
    np.testing.assert_array_equal(read(plain.class_path), read(maps[0].class_path))
    np.testing.assert_array_equal(read(plain.confidence_path), read(maps[0].confidence_path))


def test_an_image_of_another_zone_lies_where_gdal_puts_it(tmp_path):
    first, second = random_pixels(100, 100), random_pixels(100, 100, seed=4)
    near = _write(tmp_path / "a.tif", first, 0, 0)
    zone = rasterio.warp.transform(CRS, "EPSG:32634", [500_400], [4_000_100])
    at = Affine(2, 0, round(zone[0][0]), 0, -2, round(zone[1][0]))
    far = _write(tmp_path / "b.tif", second, 0, 0, crs="EPSG:32634", transform=at)
    scene = mosaic_of_files([near, far], (CARD,))
    height, width = (int(n) for n in scene.grid.shape)
    pixels, valid = SceneReader(scene).read(Window(0, 0, height, width))
    assert width > 250 and scene.grid.crs.to_epsg() == 32633
    expected = np.zeros_like(pixels)
    places = {"src_transform": at, "src_crs": "EPSG:32634", "dst_transform": scene.grid.transform, "dst_crs": CRS}
    reproject(second, expected, **places, src_nodata=0, dst_nodata=0, resampling=Resampling.bilinear)
    alone = valid[0] & (np.arange(width)[None, :] >= 130)
    assert alone.sum() > 8000
    off = np.abs(pixels.astype(int) - expected)[:, alone]
    assert off.mean() < 1.5  # GDAL's default is exact to an eighth of a pixel; half a pixel off would be 8


def test_a_grid_of_its_own_and_what_does_not_touch_it(parts, tmp_path):
    _, _, files = parts
    sources = tuple(ImageSource((file,), CARD.band_names, CARD) for file in files)
    like = make_grid((40, 30), TRANSFORM @ Affine.translation(10, 20), CRS)
    scene = mosaic_of_files(files, (CARD,), placed=Placed(sources, like=like))
    assert tuple(scene.grid.shape) == (40, 30) and [piece.source.files[0] for piece in scene.mosaic] == [files[0]]
    with pytest.raises(GridError, match="no image touches"):
        mosaic_of_files(files, (CARD,), placed=Placed(sources, like=make_grid((9, 9), Affine(2, 0, 0, 0, -2, 0), CRS)))
    grid = Placed(sources, crs="EPSG:25833", gsd=5).grid
    assert grid.crs.to_epsg() == 25833 and tuple(grid.shape) == (48, 80) and grid.transform.c % 5 == 0
    with pytest.raises(GridError, match="--gsd"):
        _ = Placed(sources, crs="EPSG:25833").grid


def test_images_of_other_types_or_without_a_place_are_one_line(parts, tmp_path):
    _, _, files = parts
    other = str(write_image(tmp_path / "d.tif", random_pixels(50, 50, dtype=np.uint16)))
    with pytest.raises(SensorError, match=r"stores uint16, and .*a\.tif uint8"):
        mosaic_of_files([*files, other], (CARD,))
    lost = str(tmp_path / "lost.tif")
    with rasterio.open(lost, "w", driver="GTiff", height=9, width=9, count=3, dtype="uint8") as file:
        file.write(np.ones((3, 9, 9), np.uint8))
    with pytest.raises(GridError, match=r"lost\.tif: has no CRS"), pytest.warns(UserWarning):
        mosaic_of_files([*files, lost], (CARD,))
    with pytest.raises(SensorError, match="one sensor"):
        mosaic_of_files(files, (CARD, CARD))
