"""Layers brought onto a grid, checked against naive loops over pixels and pyproj."""

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer

from mapmend.core.errors import GridError
from mapmend.core.grid import Window, full_window, make_grid
from mapmend.core.sensor import load_sensor
from mapmend.raster.reading import ImageSource, Reader, overlap

UTM = make_grid((300, 280), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
# about 36.14 N, 15 E: anisotropic in metres
DEGREES = make_grid((330, 310), Affine(0.0001, 0, 14.9995, 0, -0.00012, 36.146), "EPSG:4326")


def reader(path, grid, resampling="bilinear", valid=None):
    card = load_sensor({"card": "png", "bands": ["one"], "dtypes": []})
    return Reader(ImageSource((path,), ("one",), card, valid), grid, resampling)


def centres_in(grid, other):
    """Pixel coordinates (row, col) in `other` of every pixel centre of `grid`, by pyproj."""
    rows, cols = np.indices(grid.shape) + 0.5
    x, y = grid.transform @ (cols, rows)
    if grid.crs != other.crs:
        x, y = Transformer.from_crs(str(grid.crs), str(other.crs), always_xy=True).transform(x, y)
    cols, rows = ~other.transform @ (x, y)
    return rows, cols


def inside(rows, cols, shape):
    return (rows >= 0) & (cols >= 0) & (rows < shape[0]) & (cols < shape[1])


def write_on(write_raster, name, pixels, grid, **options):
    return write_raster(name, pixels, crs=str(grid.crs), transform=grid.transform, **options)


@pytest.mark.parametrize(("layer", "target"), [(DEGREES, UTM), (UTM, DEGREES)])
def test_nearest_across_crs_and_anisotropic_pixels(layer, target, write_raster):
    pixels = np.random.default_rng(0).integers(1, 60000, tuple(layer.shape)).astype(np.uint16)
    values, valid = reader(write_on(write_raster, "a.tif", pixels, layer), target, "nearest").read(full_window(target))
    rows, cols = centres_in(target, layer)
    # within GDAL's tolerance of a pixel's edge either neighbour is right
    clear = (np.abs(rows - np.rint(rows)) > 0.02) & (np.abs(cols - np.rint(cols)) > 0.02)
    within = inside(rows, cols, pixels.shape)
    assert 0.3 < within.mean() < 1 and clear.mean() > 0.9
    np.testing.assert_array_equal(valid[clear], within[clear])
    use = clear & within
    np.testing.assert_array_equal(values[0][use], pixels[rows[use].astype(int), cols[use].astype(int)])


@pytest.mark.parametrize(("layer", "target"), [(DEGREES, UTM), (UTM, DEGREES)])
def test_bilinear_of_a_plane_is_the_plane(layer, target, write_raster):
    rows, cols = np.indices(tuple(layer.shape)) + 0.5
    path = write_on(write_raster, "a.tif", (3 * rows + 2 * cols).astype(np.float32), layer)
    values, valid = reader(path, target).read(full_window(target))
    rows, cols = centres_in(target, layer)
    deep = inside(rows - 3, cols - 3, np.array(layer.shape) - 6)
    assert deep.mean() > 0.3 and valid[deep].all()
    np.testing.assert_allclose(values[0][deep], (3 * rows + 2 * cols)[deep], atol=0.1)  # 2 % of a pixel


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "average"])
def test_a_window_does_not_depend_on_which_window_asked(resampling, write_raster):
    pixels = np.random.default_rng(0).integers(1, 255, tuple(DEGREES.shape)).astype(np.uint8)
    warped = reader(write_on(write_raster, "a.tif", pixels, DEGREES), UTM, resampling)
    whole, valid = warped.read(full_window(UTM))
    rng = np.random.default_rng(1)
    for _ in range(12):
        window = Window(*rng.integers(-20, 260, 2).tolist(), *rng.integers(1, 150, 2).tolist())
        part, part_valid = warped.read(window)
        shared = window.intersect(full_window(UTM))
        if shared is None:
            assert not part_valid.any()
            continue
        rows, cols = shared.shift(-window.row, -window.col).slices
        np.testing.assert_array_equal(part[:, rows, cols], whole[:, *shared.slices])
        np.testing.assert_array_equal(part_valid[rows, cols], valid[shared.slices])
        assert part_valid.sum() == valid[shared.slices].sum()


def test_what_is_invalid_stays_invalid_and_does_not_bleed(write_raster):
    pixels = np.full(tuple(DEGREES.shape), 100, np.uint8)
    hole = np.zeros(pixels.shape, bool)
    hole[100:150, 120:160] = True
    hole[::17, ::13] = True
    pixels[hole] = 255
    path = write_on(write_raster, "a.tif", pixels, DEGREES, nodata=255)
    values, valid = reader(path, UTM).read(full_window(UTM))
    assert set(np.unique(values[0][valid])) == {100} and not values[0][~valid].any()
    rows, cols = centres_in(UTM, DEGREES)
    clear = (np.abs(rows - np.rint(rows)) > 0.02) & (np.abs(cols - np.rint(cols)) > 0.02)
    use = clear & inside(rows, cols, hole.shape)
    np.testing.assert_array_equal(valid[use], ~hole[rows[use].astype(int), cols[use].astype(int)])


@pytest.mark.parametrize("factor", [(2, 2), (6, 6), (3, 5)])
def test_a_much_finer_image_is_averaged_over_each_pixel(factor, write_raster):
    rng = np.random.default_rng(0)
    down, across = factor
    coarse = make_grid((40, 30), Affine(10 * across, 0, 500000, 0, -10 * down, 4000000), "EPSG:32633")
    pixels = rng.random((40 * down, 30 * across)).astype(np.float32)
    missing = rng.random(pixels.shape) < 0.3
    pixels[missing] = np.nan
    path = write_raster("a.tif", pixels, transform=UTM.transform)
    values, valid = reader(path, coarse).read(full_window(coarse))
    blocks = pixels.reshape(40, down, 30, across).swapaxes(1, 2).reshape(40, 30, -1)
    share = np.isfinite(blocks).mean(axis=-1)
    np.testing.assert_array_equal(valid, share >= 0.5 - 1e-6)
    expected = np.nanmean(blocks[valid], axis=-1)
    np.testing.assert_allclose(values[0][valid], expected, atol=1e-5)


def test_a_tile_whose_source_is_large_is_read_in_pieces(write_raster, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (600, 600)).astype(np.uint8)
    path = write_raster("a.tif", pixels)
    coarse = make_grid((30, 30), Affine(200, 0, 500000, 0, -200, 4000000), "EPSG:32633")
    whole, _ = reader(path, coarse).read(full_window(coarse))
    monkeypatch.setattr("mapmend.raster.aligning._MOST_SOURCE", 5000)
    pieces, valid = reader(path, coarse).read(full_window(coarse))
    assert valid.all()
    np.testing.assert_array_equal(pieces, whole)
    np.testing.assert_allclose(whole[0], np.rint(pixels.reshape(30, 20, 30, 20).mean(axis=(1, 3))), atol=1)


def test_a_grid_across_the_date_line(write_raster):
    world = make_grid((180, 3600), Affine(0.1, 0, -180, 0, -0.1, -8), "EPSG:4326")
    longitude = np.tile((np.arange(3600) // 10).astype(np.uint16) + 1, (180, 1))
    fiji = make_grid((100, 160), Affine(2000, 0, 100000, 0, -2000, 8000000), "EPSG:32701")
    values, valid = reader(write_on(write_raster, "a.tif", longitude, world), fiji, "nearest").read(full_window(fiji))
    rows, cols = centres_in(fiji, world)
    seen = values[0][valid]
    assert valid.mean() > 0.95 and {1, 360} <= set(seen.tolist())
    use = valid & (np.abs(cols / 10 - np.rint(cols / 10)) > 0.02)
    np.testing.assert_array_equal(values[0][use], (cols[use] // 10).astype(int) % 360 + 1)


def test_no_overlap_is_one_line(write_raster):
    path = write_raster("far.tif", np.ones((20, 20), np.uint8), transform=Affine(10, 0, 700000, 0, -10, 4000000))
    with pytest.raises(GridError, match=r"far\.tif: does not overlap the image; check both CRSs"):
        reader(path, UTM)


def test_a_layer_without_crs_fits_only_a_grid_of_its_size(write_raster):
    path = write_raster("plain.tif", np.ones((20, 20), np.uint8), crs=None, transform=Affine(3, 0, 7, 0, -3, 9))
    with pytest.raises(GridError, match=r"is 20 × 20 pixels on a grid of 280 × 300, and it has no CRS; assign a CRS"):
        reader(path, UTM)
    same_size = make_grid((20, 20), UTM.transform, "EPSG:32633")
    assert reader(path, same_size).read(full_window(same_size))[1].all()
    georeferenced = write_raster("geo.tif", np.ones((20, 20), np.uint8))
    with pytest.raises(GridError, match="the grid it is used on has no CRS"):
        reader(georeferenced, make_grid((10, 10), Affine.identity(), None))


def shifted(by):
    return make_grid((100, 100), Affine(10, 0, 500000 + by, 0, -10, 4000000), "EPSG:32633")


def test_overlap_is_a_share_of_the_first_grid():
    assert overlap(shifted(0), shifted(0)) == pytest.approx(1)
    assert overlap(shifted(0), shifted(250)) == pytest.approx(0.75)
    assert overlap(shifted(0), shifted(1000)) == 0
    wide = make_grid((200, 400), Affine(10, 0, 499000, 0, -10, 4000500), "EPSG:32633")
    assert overlap(shifted(0), wide) == pytest.approx(1) and overlap(wide, shifted(0)) == pytest.approx(0.125)
    rows, cols = centres_in(UTM, DEGREES)
    assert overlap(UTM, DEGREES) == pytest.approx(inside(rows, cols, DEGREES.shape).mean(), abs=0.01)
    plain = make_grid((5, 5), Affine.identity(), None)
    assert overlap(plain, plain) == 1
    with pytest.raises(GridError):
        overlap(plain, UTM)
