import pickle

import numpy as np
import pytest
from affine import Affine

from mapmend.core.errors import GridError, LabelError, LegendError
from mapmend.core.grid import Window, full_window, make_grid
from mapmend.core.legend import Crosswalk, Legend, LegendClass, load_crosswalk
from mapmend.raster.reading import LabelReader

LEGEND = Legend(
    "three",
    (LegendClass(1, "water", "#0000ff"), LegendClass(2, "tree", "#008000"), LegendClass(5, "built", "#ff0000")),
)
OWN = load_crosswalk(None, LEGEND)
FINE = make_grid((60, 60), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
CODES = np.random.default_rng(0).choice(np.array([1, 2, 5]), (60, 60))


def read(path, grid=FINE, crosswalk=OWN, window=None, **options):
    return LabelReader(path, grid, crosswalk, **options).read(window or full_window(grid))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_codes_of_any_type(dtype, write_raster):
    codes = CODES.astype(dtype)
    codes[0, 0] = 99
    ids = read(write_raster("a.tif", codes, nodata=99))
    expected = CODES.copy()
    expected[0, 0] = 255
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, expected)


def test_a_crosswalk_translates_and_ignores(write_raster):
    crosswalk = Crosswalk("product", LEGEND, {11: 1, 41: 2, 42: 2, 22: 5, 0: 255})
    codes = np.array([[11, 41, 42], [22, 0, 255]], np.uint8)
    grid = make_grid((2, 3), FINE.transform, FINE.crs)
    np.testing.assert_array_equal(read(write_raster("a.tif", codes), grid, crosswalk), [[1, 2, 2], [5, 255, 255]])


def test_an_unknown_code_is_an_error_that_names_file_code_and_count(write_raster):
    codes = CODES.copy()
    codes[3:5, 7] = 77
    with pytest.raises(LegendError, match=r"a\.tif: code 77 \(2 px\) not in 'three'"):
        read(write_raster("a.tif", codes.astype(np.uint8)))


def test_fractions_are_no_codes(write_raster):
    with pytest.raises(LegendError, match="fractions"):
        read(write_raster("a.tif", CODES.astype(np.float32) + 0.5))


def test_colours_of_the_legend(write_raster):
    colour = {entry.id: entry.rgb for entry in LEGEND.classes}
    rgb = np.array([[colour[code] for code in row] for row in CODES.tolist()], np.uint8).transpose(2, 0, 1)
    path = write_raster("a.png", rgb, driver="PNG", crs=None, transform=None)
    with pytest.warns(UserWarning, match="has no georeference"):
        np.testing.assert_array_equal(read(path), CODES)
    see_through = np.concatenate([rgb, np.full((1, 60, 60), 255, np.uint8)])
    see_through[:, 0] = 0
    ids = read(write_raster("b.tif", see_through, photometric="rgb", alpha="yes"))
    assert (ids[0] == 255).all()
    np.testing.assert_array_equal(ids[1:], CODES[1:])


def test_several_bands_that_are_no_colours(write_raster):
    with pytest.raises(LabelError, match="has 2 bands and they are no 8-bit colours; give one band"):
        read(write_raster("a.tif", np.stack([CODES, CODES]).astype(np.int16)))


@pytest.mark.parametrize("resampling", ["bilinear", "average", "cubic", ""])
def test_only_nearest_and_mode(resampling, write_raster):
    with pytest.raises(GridError, match="invents classes; use nearest or mode"):
        read(write_raster("a.tif", CODES.astype(np.uint8)), resampling=resampling)


def test_a_coarse_label_on_a_fine_grid(write_raster):
    coarse = CODES[:20, :20].astype(np.uint8)
    path = write_raster("a.tif", coarse, transform=Affine(30, 0, 500000, 0, -30, 4000000))
    for resampling in ("nearest", "mode"):
        np.testing.assert_array_equal(read(path, resampling=resampling), np.kron(coarse, np.ones((3, 3), int)))


def test_a_fine_label_on_a_coarse_grid_by_mode(write_raster):
    rng = np.random.default_rng(1)
    fine = rng.choice(np.array([1, 2, 5, 255], np.uint8), (60, 60), p=[0.5, 0.2, 0.1, 0.2])
    coarse = make_grid((12, 12), Affine(50, 0, 500000, 0, -50, 4000000), "EPSG:32633")
    ids = read(write_raster("a.tif", fine, nodata=255), coarse, resampling="mode")
    blocks = fine.reshape(12, 5, 12, 5).swapaxes(1, 2).reshape(12, 12, 25)
    for row in range(12):
        for col in range(12):
            labelled = blocks[row, col][blocks[row, col] != 255]
            if len(labelled) < 12.5:
                assert ids[row, col] == 255
                continue
            codes, counts = np.unique(labelled, return_counts=True)
            assert ids[row, col] in codes[counts == counts.max()]


def test_only_codes_of_the_label_come_out_of_a_warp(write_raster):
    grid = make_grid((330, 310), Affine(0.00002, 0, 15.0, 0, -0.00002, 36.145), "EPSG:4326")
    codes = np.where(CODES == 2, 1, CODES).astype(np.uint8)
    for resampling in ("nearest", "mode"):
        ids = read(write_raster("a.tif", codes), grid, resampling=resampling)
        assert set(np.unique(ids)) == {1, 5, 255}


@pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")
def test_a_label_without_crs_on_the_image_grid(write_raster):
    plain = {"crs": None, "transform": None}
    np.testing.assert_array_equal(read(write_raster("same.tif", CODES.astype(np.uint8), **plain)), CODES)
    third = CODES[:20, :30].astype(np.uint8)
    whole = np.kron(third, np.ones((3, 2), int))
    reader = LabelReader(write_raster("third.tif", third, **plain), FINE, OWN)
    np.testing.assert_array_equal(reader.read(full_window(FINE)), whole)
    np.testing.assert_array_equal(reader.read(Window(7, 11, 17, 23)), whole[7:24, 11:34])
    part = reader.read(Window(-4, 50, 10, 20))
    np.testing.assert_array_equal(part[4:, :10], whole[:6, 50:])
    assert (part[:4] == 255).all() and (part[:, 10:] == 255).all()
    with pytest.raises(GridError, match="has no CRS"):
        read(write_raster("odd.tif", CODES[:25, :25].astype(np.uint8), **plain))


def test_a_label_elsewhere_is_one_line(write_raster):
    path = write_raster("far.tif", CODES.astype(np.uint8), transform=Affine(10, 0, 0, 0, -10, 4000000))
    with pytest.raises(GridError, match=r"far\.tif: does not overlap the image"):
        read(path)


def test_a_reader_survives_pickling(write_raster):
    reader = LabelReader(write_raster("a.tif", CODES.astype(np.uint8)), FINE, OWN)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read(full_window(FINE)), CODES)
