"""Readers on real files: mixed CRSs, bands in files, ENVI, PNG, partial overlap."""

import numpy as np
import pytest

from mapmend.core.errors import GridError
from mapmend.core.grid import full_window, ground_pixel_size
from mapmend.core.legend import Legend, LegendClass, load_crosswalk
from mapmend.core.sensor import load_sensor
from mapmend.raster.reading import ImageSource, LabelReader, Reader, overlap
from mapmend.raster.vector import load_aoi

pytestmark = pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")


def reader(files, sensor, grid=None):
    return Reader(ImageSource(tuple(str(file) for file in files), sensor.band_names, sensor), grid)


def correlation(a, b):
    return float(np.corrcoef(a.astype(float), b.astype(float))[0, 1])


def test_before_and_after_a_tornado_in_two_crss(data_folder):
    """Before is in UTM, after in degrees; aligned, their roads coincide: shifting one loses correlation."""
    rgb = load_sensor("rgb")
    befores = sorted(data_folder.glob("joplin_georef/input/pre/*.tif"))
    afters = sorted(data_folder.glob("joplin_georef/input/post/*.tif"))
    pairs = 0
    for before in befores:
        first = reader([before], rgb)
        for after in afters:
            try:
                second = reader([after], rgb, first.grid)
            except GridError as error:
                assert "does not overlap" in str(error)
                continue
            (a, _), (b, valid) = first.read(full_window(first.grid)), second.read(full_window(first.grid))
            assert valid.mean() == pytest.approx(overlap(first.grid, reader([after], rgb).grid), abs=0.005)
            if valid.mean() < 0.3:
                continue
            pairs += 1
            here = correlation(a[0][valid], b[0][valid])
            for rows, cols in ((8, 0), (-8, 0), (0, 8), (0, -8)):
                moved, moved_valid = np.roll(b[0], (rows, cols), (0, 1)), np.roll(valid, (rows, cols), (0, 1))
                both = valid & moved_valid
                assert correlation(a[0][both], moved[both]) < here
    assert pairs >= 2


def test_building_footprints_on_the_image(data_folder):
    grid = reader([sorted(data_folder.glob("joplin_georef/input/pre/*.tif"))[0]], load_sensor("rgb")).grid
    mask = load_aoi(data_folder / "joplin_georef/misc/joplin.geojson", grid).mask(full_window(grid))
    assert 0.05 < mask.mean() < 0.3


def test_landsat_bands_in_files_and_training_pixels_in_another_crs(data_folder):
    folder = data_folder / "nc_landsat7"
    names = ["b10", "b20", "b30", "b40", "b50", "b70"]
    card = load_sensor({"card": "png", "bands": names, "dtypes": [], "valid_range": None})
    image = reader([folder / f"lsat7_2000_{name[1:]}.tif" for name in names], card)
    pixels, valid = image.read(full_window(image.grid))
    assert pixels.dtype == np.float32 and 0.5 < valid.mean() < 0.7 and not pixels[:, ~valid].any()
    legend = Legend("nc", tuple(LegendClass(i, f"class {i}", f"#0000{i:02x}") for i in range(1, 8)))
    crosswalk = load_crosswalk(None, legend)
    raster = LabelReader(str(folder / "landsat96_labelled_pixels.tif"), image.grid, crosswalk)
    polygons = LabelReader(str(folder / "landsat96_polygons.shp"), image.grid, crosswalk, field="id")
    from_raster, from_polygons = (label.read(full_window(image.grid)) for label in (raster, polygons))
    both = (from_raster != 255) & (from_polygons != 255)
    assert both.sum() > 2000 and (from_raster[both] == from_polygons[both]).mean() > 0.99


def test_an_anisotropic_tile(data_folder):
    name = "chesapeake16/tile_georef_downsampled/m_3907833_nw_17_1_naip-new.tif"
    image = reader([data_folder / name], load_sensor("naip"))
    assert ground_pixel_size(image.grid) == pytest.approx((23.59, 29.46), rel=1e-3)
    pixels, valid = image.read(full_window(image.grid))
    assert valid.all() and pixels.shape == (4, 260, 260), "infrared marked as alpha is data"


def test_envi_bmp_and_png(data_folder):
    six = load_sensor({"card": "png", "bands": list("abcdef")})
    image = reader([data_folder / "landsat_cd/Taizhou/2000TM"], six)
    pixels, _ = image.read(full_window(image.grid))
    raw = np.fromfile(data_folder / "landsat_cd/Taizhou/2000TM", np.uint8)
    assert pixels.shape == (6, 400, 400) and np.sort(raw).tolist() == np.sort(pixels.ravel()).tolist()
    legend = Legend("marks", (LegendClass(0, "unmarked", "#000000"), LegendClass(1, "marked", "#ffffff")))
    label = LabelReader(str(data_folder / "landsat_cd/Taizhou/change.bmp"), image.grid, load_crosswalk(None, legend))
    assert set(np.unique(label.read(full_window(image.grid)))) <= {0, 1, 255}
    radar = load_sensor({"card": "png", "bands": ["vv"]})
    flood = reader([sorted(data_folder.glob("ombria/train/s1_after/*.png"))[0]], radar)
    assert flood.read(full_window(flood.grid))[0].shape == (1, 256, 256)
