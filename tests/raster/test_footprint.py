import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.warp import transform_geom

from mapmend.core.grid import make_grid
from mapmend.raster.footprint import footprint, union


def grid(crs, left, top, pixel, shape=(200, 300)):
    return make_grid(shape, Affine(pixel, 0, left, 0, -pixel, top), crs)


def inside(place, lon, lat):
    return shapely.geometry.shape(place.geometry).covers(shapely.Point(lon, lat))


@pytest.mark.parametrize(
    "crs, left, top, pixel",
    [
        ("EPSG:32633", 500_000, 4_000_000, 10),
        ("EPSG:3035", 4_000_000, 3_000_000, 1000),
        ("EPSG:5070", 1_600_000, 1_900_000, 30),
        ("EPSG:4326", 12, 45, 0.01),
    ],
)
def test_a_footprint_is_what_other_routes_find(crs, left, top, pixel):
    place = footprint(grid(crs, left, top, pixel))
    bounds = (left, top - 200 * pixel, left + 300 * pixel, top)
    to_wgs84 = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    size = max(1.0, place.bbox[2] - place.bbox[0])
    np.testing.assert_allclose(place.bbox, to_wgs84.transform_bounds(*bounds, densify_pts=500), atol=1e-3 * size)
    fine = shapely.segmentize(shapely.box(*bounds), pixel)
    by_gdal = shapely.geometry.shape(transform_geom(crs, "EPSG:4326", shapely.geometry.mapping(fine)))
    found = shapely.geometry.shape(place.geometry)
    assert found.symmetric_difference(by_gdal).area < 1e-3 * by_gdal.area
    assert found.exterior.is_ccw, "as RFC 7946 asks"


def test_a_place_on_the_antimeridian_is_two_polygons():
    place = footprint(grid("EPSG:32701", 150_000, 8_100_000, 1000))  # Taveuni, Fiji
    west, south, east, north = place.bbox
    assert place.geometry["type"] == "MultiPolygon" and 177 < west <= 180 and -180 <= east < -176 and south < north
    to_wgs84 = Transformer.from_crs("EPSG:32701", "EPSG:4326", always_xy=True)
    for x, y in ((160_000, 8_090_000), (300_000, 8_000_000), (440_000, 7_910_000)):
        assert inside(place, *to_wgs84.transform(x, y))
    for x, y in ((140_000, 8_090_000), (300_000, 7_890_000), (460_000, 7_910_000)):
        assert not inside(place, *to_wgs84.transform(x, y))
    lon = shapely.get_coordinates(shapely.geometry.shape(place.geometry))[:, 0]
    assert lon.min() >= -180 and lon.max() <= 180


def test_a_place_around_a_pole_holds_it():
    place = footprint(grid("EPSG:3413", -1_500_000, 1_000_000, 10_000))
    assert place.bbox[0] == -180 and place.bbox[2] == 180 and place.bbox[3] == 90
    to_wgs84 = Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    for x, y in ((1, 1), (-1_400_000, 900_000), (1_400_000, -900_000), (10_000, -900_000)):
        assert inside(place, *to_wgs84.transform(x, y))
    assert not inside(place, *to_wgs84.transform(0, 1_100_000))


def test_longitudes_beyond_180_come_back():
    place = footprint(grid("EPSG:4326", 190, 10, 0.1))
    assert place.bbox == (-170, -10, -140, 10)
    whole = footprint(make_grid((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326"))
    assert whole.bbox == (-180, -90, 180, 90) and shapely.geometry.shape(whole.geometry).area == 360 * 180


def test_an_unknown_place_has_no_footprint():
    assert footprint(grid(None, 0, 0, 1)) is None
    assert footprint(grid("+proj=ortho +lat_0=50", -7e6, 7e6, 70_000)) is None


def test_boxes_are_joined_across_the_antimeridian():
    assert union([(10, 0, 12, 2), (20, -5, 21, 1)]) == (10, -5, 21, 2)
    assert union([(175, 0, -179, 1), (170, 0, 176, 1)]) == (170, 0, -179, 1)
