import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import Geod
from tests.sampling.small_maps import LEGEND, class_map, classes, write

from mapmend.core.errors import GridError, LegendError, RasterError
from mapmend.core.grid import PixelArea, full_window
from mapmend.sampling import counting
from mapmend.sampling.counting import UnitArea, count
from mapmend.sampling.inputs import MapReader, open_map
from mapmend.sampling.population import population_of

DEGREES = Affine(0.5, 0, 10, 0, -0.5, 70)


def counted(source, **area):
    reader = MapReader(source)
    tally = count(reader, UnitArea(reader.grid, **area))
    return tally, population_of(tally, source, reader.known)


def test_pixels_and_areas_are_those_of_the_whole_array(tmp_path):
    array = classes((1100, 1300))
    source = class_map(tmp_path, array, tiled=True, blockxsize=256, blockysize=128, compress="zstd")
    tally, population = counted(source)
    assert population.codes == (1, 2, 5, 9) and population.names == LEGEND.names
    assert population.pixels == tuple(int((array == code).sum()) for code in population.codes)
    grid = MapReader(source).grid
    true = PixelArea(grid).of(full_window(grid))
    np.testing.assert_allclose(population.areas, [true[array == code].sum() for code in population.codes], rtol=1e-6)
    assert len(tally.starts) == 3 * 3 + 1


def test_areas_in_degrees_are_those_of_the_ellipsoid(tmp_path):
    array = classes((120, 40))
    _, population = counted(class_map(tmp_path, array, transform=DEGREES, crs="EPSG:4326"))
    geod, areas = Geod(ellps="WGS84"), np.zeros(120)
    for row in range(120):  # parallels are no geodesics, so a pixel's edges are cut into short ones
        top, west = 70 - row / 2, np.linspace(10, 10.5, 50)
        ring = [*zip(west, [top] * 50, strict=True), *zip(west[::-1], [top - 0.5] * 50, strict=True)]
        areas[row] = abs(geod.polygon_area_perimeter(*zip(*ring, strict=True))[0]) / 1e4
    expected = [float((areas[:, None] * (array == code)).sum()) for code in population.codes]
    np.testing.assert_allclose(population.areas, expected, rtol=1e-4)


def test_the_area_of_interest_bounds_what_is_counted(tmp_path):
    array = classes((700, 900))
    path = write(tmp_path / "map.tif", array)
    box = shapely.box(500000 + 30 * 100, 5000000 - 30 * 650, 500000 + 30 * 640, 5000000 - 30 * 90)
    geopandas.GeoDataFrame(geometry=[box], crs="EPSG:32633").to_file(tmp_path / "aoi.gpkg")
    _, population = counted(open_map(path, LEGEND, aoi=tmp_path / "aoi.gpkg"))
    inside = array[90:650, 100:640]
    assert population.pixels == tuple(int((inside == code).sum()) for code in population.codes)


@pytest.mark.parametrize("kind", ["mask", "int16", "palette of wide blocks"])
def test_files_stored_in_other_ways(tmp_path, kind):
    import rasterio

    array = classes((300, 260))
    if kind == "int16":
        path = write(tmp_path / "map.tif", np.where(array == 255, -1, array).astype(np.int16), nodata=-1)
    elif kind == "mask":
        path = write(tmp_path / "map.tif", np.where(array == 255, 1, array).astype(np.uint8), nodata=None)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(array != 255)
    else:
        path = write(tmp_path / "map.tif", array, blockysize=300)
    _, population = counted(open_map(path, LEGEND))
    assert population.pixels == tuple(int((array == code).sum()) for code in (1, 2, 5, 9))


def test_probabilities_are_counted_by_step(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "_MOST_READ", 2**18)
    array, steps = classes((600, 530)), np.random.default_rng(1).choice([0, 3, 200, 255], (600, 530)).astype(np.uint8)
    path, other = write(tmp_path / "map.tif", array), write(tmp_path / "p.tif", steps, blockysize=16)
    tally, population = counted(open_map(path, LEGEND, probability=other))
    keys, pixels, _ = tally.totals()
    valid = np.isin(array, (1, 2, 5, 9))
    naive, numbers = np.unique(array[valid].astype(int) * 256 + steps[valid], return_counts=True)
    assert keys.tolist() == naive.tolist() and pixels.tolist() == numbers.tolist()
    shares = population.histogram[0] / population.areas[0]
    assert shares[[0, 3, 200]] == pytest.approx([np.mean(steps[array == 1] == step) for step in (0, 3, 200)], rel=1e-4)


def test_a_map_without_crs_needs_the_area_of_a_pixel(tmp_path):
    source = class_map(tmp_path, transform=Affine.identity(), crs=None)
    with pytest.raises(GridError, match="no CRS.*pixel-area-ha"):
        counted(source)
    _, population = counted(source, pixel_area_ha=0.25)
    assert population.areas == tuple(0.25 * pixels for pixels in population.pixels)
    with pytest.raises(GridError, match="tells the area"):
        counted(class_map(tmp_path, name="other.tif"), pixel_area_ha=0.25)


def test_bad_maps_are_one_line(tmp_path):
    with pytest.raises(RasterError, match="has no valid pixel"):
        counted(class_map(tmp_path, np.full((20, 20), 255, np.uint8), "a.tif"))
    array = classes()
    array[:2, :3] = 77
    with pytest.raises(LegendError, match=r"b.tif: holds code 77 \(6 px\), not in legend 'tiny'"):
        counted(class_map(tmp_path, array, "b.tif"))
    path = write(tmp_path / "c.tif", classes())
    with pytest.raises(LegendError, match="says nothing of its classes"):
        open_map(write(tmp_path / "wide.tif", classes().astype(np.int16)))
    with pytest.raises(RasterError, match="holds neither"):
        open_map(tmp_path)
    for name, steps, message in (
        ("d.tif", np.zeros((50, 70), np.uint8), "is not on the grid"),
        ("e.tif", np.zeros((60, 70), np.float32), "not probabilities"),
        ("f.tif", np.full((60, 70), 230, np.uint8), "values above 200"),
    ):
        with pytest.raises((GridError, RasterError), match=message):
            counted(open_map(path, LEGEND, probability=write(tmp_path / name, steps, nodata=None)))
