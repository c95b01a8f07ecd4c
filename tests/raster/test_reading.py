import pickle

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from mapmend.core.errors import GridError, RasterError
from mapmend.core.grid import Window, full_window
from mapmend.core.sensor import load_sensor
from mapmend.raster.reading import ImageSource, Reader

FINE = Affine(10, 0, 500000, 0, -10, 4000000)
COARSE = Affine(20, 0, 500000, 0, -20, 4000000)


def card(count, **changes):
    return load_sensor({"card": "png", "bands": [f"b{i}" for i in range(count)], "dtypes": [], **changes})


def read(path, sensor=None, valid=None, window=None, count=1):
    sensor = sensor or card(count)
    reader = Reader(ImageSource((path,), sensor.band_names, sensor, valid))
    return reader.read(window or full_window(reader.grid))


@pytest.mark.parametrize(
    ("stored", "read_as"),
    [
        ("uint8", "uint8"), ("uint16", "uint16"), ("int16", "int16"), ("float32", "float32"),
        ("int8", "int16"), ("int32", "float32"), ("uint32", "float32"), ("float64", "float32"),
    ],
)  # fmt: skip
def test_the_stored_type_is_kept_where_a_tensor_can_hold_it(stored, read_as, write_raster):
    pixels = np.arange(64).reshape(8, 8).astype(stored)
    values, valid = read(write_raster("a.tif", pixels))
    assert values.dtype == read_as and valid.all() and valid.dtype == bool
    np.testing.assert_array_equal(values[0], pixels)


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("int16", -32768), ("float32", -99999), ("uint16", 65535)])
def test_nodata_of_the_file_and_of_the_card(dtype, nodata, write_raster):
    pixels = np.full((8, 8), 7, dtype)
    pixels[2, 3], pixels[4, 5] = nodata, 100
    path = write_raster("a.tif", pixels, nodata=nodata)
    values, valid = read(path, card(1, nodata=100))
    assert sorted(zip(*np.nonzero(~valid), strict=True)) == [(2, 3), (4, 5)]
    assert values[0, 2, 3] == 0 and values[0, 4, 5] == 0


def test_a_nodata_value_that_the_type_cannot_hold_marks_nothing(write_raster):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for nodata in (-1, 256, 0.5, 2**40):
        assert read(write_raster("a.tif", pixels), card(1, nodata=nodata))[1].all()


def test_several_bands_at_nodata(write_raster):
    pixels = np.full((3, 4, 4), 9)
    pixels[0, 0, 0] = 0
    pixels[:, 1, 1] = 0
    _, valid = read(write_raster("a.tif", pixels.astype(np.uint8), nodata=0), count=3)
    assert valid[0, 0] and not valid[1, 1], "0 in one 8-bit band is a colour"
    _, valid = read(write_raster("b.tif", pixels.astype(np.uint16), nodata=0), count=3)
    assert not valid[0, 0] and not valid[1, 1], "0 in one band of reflectances is missing"


def test_nan_and_infinity_are_invalid_in_any_band(write_raster):
    pixels = np.ones((2, 4, 4), np.float32)
    pixels[0, 0, 0], pixels[1, 1, 1], pixels[0, 2, 2] = np.nan, np.inf, -np.inf
    values, valid = read(write_raster("a.tif", pixels), count=2)
    np.testing.assert_array_equal(valid, np.isfinite(pixels).all(axis=0))
    assert np.isfinite(values).all() and (values[:, ~valid] == 0).all()
    doubles = np.full((4, 4), 1e300)
    assert not read(write_raster("b.tif", doubles))[1].any(), "what float32 cannot hold is no value"


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_of_the_dataset(internal, write_raster):
    import rasterio

    mask = np.full((8, 8), 255, np.uint8)
    mask[:, :3] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write_raster("a.tif", np.full((2, 8, 8), 5, np.uint8), mask=mask)
    values, valid = read(path, count=2)
    np.testing.assert_array_equal(valid, mask > 0)
    np.testing.assert_array_equal(values[1], np.where(mask, 5, 0))


def test_opacity_beside_grey(write_raster):
    from rasterio.enums import ColorInterp

    pixels = np.full((2, 4, 4), 9, np.uint8)
    pixels[1, 0] = 0
    values, valid = read(write_raster("a.tif", pixels, interp=[ColorInterp.gray, ColorInterp.alpha]))
    assert values.shape == (1, 4, 4) and not valid[0].any() and valid[1:].all()


def test_a_validity_raster(write_raster):
    path = write_raster("a.tif", np.full((8, 8), 5, np.uint8))
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6], mask[3, 3] = 255, 1
    _, valid = read(path, valid=write_raster("mask.tif", mask))
    np.testing.assert_array_equal(valid, mask > 0)


def test_the_scene_classification_of_sentinel_2_at_half_the_resolution(write_raster):
    sensor = load_sensor({"card": "sentinel2", "bands": ["B02"]})
    path = write_raster("B02.tif", np.full((8, 8), 500, np.uint16))
    scl = np.array([[4, 9, 3, 5], [8, 6, 10, 0], [1, 2, 7, 11], [4, 4, 4, 4]], np.uint8)
    _, valid = read(path, sensor, write_raster("scl.tif", scl, transform=COARSE))
    clear = ~np.isin(scl, [0, 1, 3, 8, 9, 10])
    np.testing.assert_array_equal(valid, np.kron(clear, np.ones((2, 2), bool)))


def test_the_bits_of_landsat(write_raster):
    sensor = load_sensor({"card": "landsat", "bands": ["SR_B4"]})
    path = write_raster("SR_B4.tif", np.full((1, 6), 9000, np.uint16))
    # clear land, water, fill, cloud (high confidence), shadow, snow: values of the Collection 2 product guide
    codes = np.array([[21824, 21952, 1, 22280, 23888, 30048]], np.uint16)
    _, valid = read(path, sensor, write_raster("QA_PIXEL.tif", codes))
    assert valid.tolist() == [[True, True, False, False, False, True]]


def test_a_raster_called_valid_is_a_plain_mask_for_every_sensor(write_raster):
    sensor = load_sensor({"card": "sentinel2", "bands": ["B02"]})
    path = write_raster("B02.tif", np.full((2, 2), 500, np.uint16))
    mask = np.array([[0, 1], [1, 0]], np.uint8)
    for name, names in (("m.tif", ("valid",)), ("a_valid.tif", ())):
        _, valid = read(path, sensor, write_raster(name, mask, names=names))
        np.testing.assert_array_equal(valid, mask == 1)


@settings(max_examples=60, deadline=None)
@given(row=st.integers(-30, 40), col=st.integers(-30, 40), height=st.integers(1, 40), width=st.integers(1, 40))
def test_a_window_may_reach_outside(row, col, height, width, padded):
    path, around = padded
    values, valid = read(path, window=Window(row, col, height, width))
    expected = around[row + 90 : row + 90 + height, col + 90 : col + 90 + width]
    np.testing.assert_array_equal(values[0], expected)
    np.testing.assert_array_equal(valid, expected > 0)


@pytest.fixture(scope="module")
def padded(tmp_path_factory):
    import rasterio

    pixels = np.random.default_rng(0).integers(1, 255, (20, 25)).astype(np.uint8)
    path = tmp_path_factory.mktemp("padded") / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=25, height=20, count=1, dtype="uint8", crs="EPSG:32633", transform=FINE
    ) as file:
        file.write(pixels, 1)
    return str(path), np.pad(pixels, 90)


def test_files_of_two_resolutions_come_onto_the_finest(write_raster):
    ramp = np.add.outer(np.arange(20.0), np.arange(1.0, 21.0)).astype(np.float32)
    fine = write_raster("B02.tif", np.kron(ramp, np.ones((2, 2), np.float32)))
    coarse = write_raster("B11.tif", ramp, transform=COARSE)
    sensor = load_sensor({"card": "sentinel2", "bands": ["B11", "B02"], "dtypes": []})
    reader = Reader(ImageSource((coarse, fine), sensor.band_names, sensor))
    values, valid = reader.read(full_window(reader.grid))
    assert tuple(reader.grid.shape) == (40, 40) and reader.grid.transform == FINE
    assert valid.all()
    # bilinear between pixel centres of a plane is the plane itself: i/2 - 1/4 away from the border
    rows, cols = np.indices((40, 40)) / 2 - 0.25
    np.testing.assert_allclose(values[0, 2:-2, 2:-2], (rows + cols + 1)[2:-2, 2:-2], atol=1e-5)
    np.testing.assert_array_equal(values[1], np.kron(ramp, np.ones((2, 2))))


def test_a_cloud_on_a_coarse_band_does_not_bleed_into_its_neighbours(write_raster):
    pixels = np.full((10, 10), 1000, np.uint16)
    pixels[4, 4] = 60000
    scl = np.full((10, 10), 4, np.uint8)
    scl[4, 4] = 9
    sensor = load_sensor({"card": "sentinel2", "bands": ["B11", "B02"]})
    files = (
        write_raster("B11.tif", pixels, transform=COARSE),
        write_raster("B02.tif", np.full((20, 20), 7, np.uint16)),
    )
    reader = Reader(ImageSource(files, sensor.band_names, sensor, write_raster("scl.tif", scl, transform=COARSE)))
    values, valid = reader.read(full_window(reader.grid))
    assert np.argwhere(~valid).tolist() == [[8, 8], [8, 9], [9, 8], [9, 9]]
    assert (values[0][valid] == 1000).all()


def test_a_crop_of_the_grid_is_a_plain_cut(write_raster):
    pixels = np.random.default_rng(0).integers(1, 60000, (30, 40)).astype(np.uint16)
    path, sensor = write_raster("a.tif", pixels), card(1)
    crop = Reader(ImageSource((write_raster("b.tif", pixels[5:25, 8:30], transform=FINE @ Affine.translation(8, 5)),),
                              sensor.band_names, sensor)).grid  # fmt: skip
    values, valid = Reader(ImageSource((path,), sensor.band_names, sensor), crop).read(full_window(crop))
    assert valid.all()
    np.testing.assert_array_equal(values[0], pixels[5:25, 8:30])


def test_a_reader_is_small_and_survives_pickling(write_raster):
    pixels = np.random.default_rng(0).integers(1, 255, (300, 300)).astype(np.uint8)
    sensor = card(1)
    reader = Reader(ImageSource((write_raster("a.tif", pixels),), sensor.band_names, sensor))
    reader.read(full_window(reader.grid))
    stored = pickle.dumps(reader)
    assert len(stored) < 10_000
    np.testing.assert_array_equal(pickle.loads(stored).read(full_window(reader.grid))[0][0], pixels)


def test_images_are_not_resampled_by_mode(write_raster):
    sensor = card(1)
    with pytest.raises(GridError, match="not resampled by 'mode'; use nearest, bilinear, average"):
        Reader(
            ImageSource((write_raster("a.tif", np.ones((4, 4), np.uint8)),), sensor.band_names, sensor), None, "mode"
        )


def test_a_missing_validity_raster_is_an_error(write_raster, tmp_path):
    with pytest.raises(RasterError, match=r"none\.tif: does not exist"):
        read(write_raster("a.tif", np.ones((4, 4), np.uint8)), valid=str(tmp_path / "none.tif"))
