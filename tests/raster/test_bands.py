import numpy as np
import pytest
from rasterio.enums import ColorInterp

from mapmend.core.errors import SensorError
from mapmend.core.grid import full_window
from mapmend.core.sensor import load_sensor
from mapmend.raster.reading import ImageSource, Reader, resolve_bands

NAIP, RGB, S2 = load_sensor("naip"), load_sensor("rgb"), load_sensor("sentinel2")
UINT8 = np.zeros((4, 8, 8), np.uint8)


def source(files, sensor, bands=None, valid=None):
    files = (files,) if isinstance(files, str) else tuple(files)
    return ImageSource(files, tuple(bands or sensor.band_names), sensor, valid)


def indices(*arguments):
    return [index for _, index in resolve_bands(source(*arguments))]


def test_by_description_in_any_order_and_spelling(write_raster):
    path = write_raster("a.tif", UINT8, names=("NIR", "Blue", "green", "RED"))
    assert indices(path, NAIP) == [4, 3, 2, 1]
    assert indices(path, NAIP, ("nir", "red")) == [1, 4]
    path = write_raster("b.tif", UINT8.astype(np.uint16), names=("B8", "B2", "B03", "swir16"))
    assert indices(path, S2, ("B11", "B02", "B03", "B08")) == [4, 2, 3, 1]


def test_by_colour_where_nothing_is_described(write_raster):
    colours = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    assert indices(write_raster("bgr.tif", UINT8[:3], interp=colours), RGB) == [3, 2, 1]


def test_the_names_of_a_generic_card_are_in_the_order_of_the_file(write_raster):
    false_colour = load_sensor({"card": "png", "bands": ["nir", "red", "green"]})
    path = write_raster("cir.tif", UINT8[:3], photometric="rgb")
    assert indices(path, false_colour) == [1, 2, 3]
    assert indices(path, load_sensor({"card": "png", "bands": ["blue", "green", "red"]})) == [1, 2, 3]


def test_by_order_where_nothing_is_named(write_raster):
    path = write_raster("a.tif", UINT8)
    assert indices(path, NAIP) == [1, 2, 3, 4]
    assert indices(path, NAIP, ("nir", "green")) == [4, 2]
    path = write_raster("twelve.tif", np.zeros((12, 8, 8), np.uint16), names=[f"layer {i}" for i in range(12)])
    assert indices(path, S2, ("B04", "B8A")) == [4, 9]


def test_across_files_by_their_names(write_raster):
    files = [write_raster(f"T32TQM_2023_{band}_10m.tif", UINT8[:1].astype(np.uint16)) for band in ("B08", "B02", "B8A")]
    assert resolve_bands(source(files, S2, ("B02", "B08"))) == ((files[1], 1), (files[0], 1))
    landsat = load_sensor("landsat")
    files = [write_raster(f"LC08_L2SP_SR_B{i}.TIF", UINT8[:1].astype(np.uint16)) for i in (5, 4, 3)]
    assert [file for file, _ in resolve_bands(source(files, landsat, ("SR_B3", "SR_B4", "SR_B5")))] == files[::-1]


def test_a_stack_and_a_single_band(write_raster):
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    files = [write_raster("rgb.tif", UINT8[:3], interp=colours), write_raster("a_nir.tif", UINT8[:1])]
    assert resolve_bands(source(files, NAIP)) == ((files[0], 1), (files[0], 2), (files[0], 3), (files[1], 1))


@pytest.mark.parametrize(
    ("names", "count", "reason"),
    [
        ((), 3, r"has 3 bands \(#1, #2, #3\), sensor card 'naip' wants red, green, blue, nir"),
        ((), 5, "has 5 bands"),
        (("red", "green", "blue", "swir"), 4, r"has 4 bands \(red, green, blue, swir\)"),
        (("red", "red", "blue", "nir"), 4, "band 'red' is in red, red"),
    ],
)
def test_what_does_not_fit_the_card(names, count, reason, write_raster):
    path = write_raster("a.tif", np.zeros((count, 8, 8), np.uint8), names=names, photometric="minisblack")
    with pytest.raises(SensorError, match=reason):
        resolve_bands(source(path, NAIP))


def test_the_number_type_must_fit_too(write_raster):
    with pytest.raises(SensorError, match="holds uint16, sensor card 'naip' wants uint8"):
        Reader(source(write_raster("a.tif", UINT8.astype(np.uint16)), NAIP))


def test_an_unknown_band_names_the_nearest(write_raster):
    with pytest.raises(SensorError, match="did you mean 'nir'"):
        resolve_bands(source(write_raster("a.tif", UINT8), NAIP, ("red", "nirr")))


def test_the_fourth_band_of_naip_is_infrared_even_if_marked_alpha(write_raster):
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    pixels = np.random.default_rng(0).integers(0, 3, (4, 8, 8)).astype(np.uint8)
    path = write_raster("a.tif", pixels, interp=colours)
    for bands, expected in ((None, pixels), (("red", "green", "blue"), pixels[:3])):
        reader = Reader(source(path, NAIP, bands))
        values, valid = reader.read(full_window(reader.grid))
        assert valid.all()
        np.testing.assert_array_equal(values, expected)


def test_the_fourth_band_of_a_colour_image_is_opacity(write_raster):
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    pixels = np.full((4, 8, 8), 9, np.uint8)
    pixels[3, :, :4] = 0
    reader = Reader(source(write_raster("a.tif", pixels, interp=colours), RGB))
    values, valid = reader.read(full_window(reader.grid))
    np.testing.assert_array_equal(valid, pixels[3] > 0)
    assert values.shape == (3, 8, 8) and not values[:, ~valid].any()


def test_the_quality_band_is_not_data(write_raster):
    card = load_sensor({"card": "sentinel2", "bands": ["B02", "B03"]})
    pixels = np.full((3, 8, 8), 500, np.uint16)
    pixels[1, 0, 0], pixels[1, 0, 1], pixels[1, 1:] = 9, 3, 4
    for names in (("B02", "SCL", "B03"), ("x", "SCL", "y")):
        reader = Reader(source(write_raster(f"{names[0]}.tif", pixels, names=names), card))
        values, valid = reader.read(full_window(reader.grid))
        assert values.shape == (2, 8, 8) and list(valid[0, :2]) == [False, False] and valid[1:].all()
