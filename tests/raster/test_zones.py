"""UTM zones: which ones an image lies in, and which pixels of a grid are a zone's own."""

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer

from mapmend.core.errors import GridError
from mapmend.core.grid import full_window, make_grid
from mapmend.raster.zones import Zone, by_zone, zones_of


def degrees(west, north, width, height, step=0.01):
    shape = (round(height / step), round(width / step))
    return make_grid(shape, Affine(step, 0, west, 0, -step, north), "EPSG:4326")


@pytest.mark.parametrize(
    "grid, names",
    [
        (degrees(9.1, 48, 0.5, 0.5), ["utm32n"]),
        (degrees(11.9, 48, 0.2, 0.5), ["utm32n", "utm33n"]),
        (degrees(12, 48, 0.2, 0.5), ["utm33n"]),
        (degrees(36.5, 0.2, 0.4, 0.5), ["utm37n", "utm37s"]),
        (degrees(-180, -17, 0.4, 0.5), ["utm01s"]),
        (degrees(179.8, -17, 0.4, 0.5), ["utm01s", "utm60s"]),
        (make_grid((900, 900), Affine(100, 0, 680_000, 0, -100, 5_300_000), "EPSG:32632"), ["utm32n", "utm33n"]),
    ],
)
def test_an_image_lies_in_these_zones(grid, names):
    assert [zone.name for zone in zones_of(grid)] == names


def test_beyond_the_zones_and_the_code_of_a_zone():
    with pytest.raises(GridError, match="in no UTM zone"):
        zones_of(degrees(10, 88, 1, 1))
    assert Zone(32, False).crs == "EPSG:32632" and Zone(1, True).crs == "EPSG:32701"


def test_images_by_zone():
    grids = [degrees(11.9, 48, 0.2, 0.5), degrees(9, 48, 0.2, 0.5), degrees(13, 48, 0.2, 0.5)]
    assert by_zone(grids) == {Zone(32, False): [0, 1], Zone(33, False): [0, 2]}


@pytest.mark.parametrize("zone", [Zone(32, False), Zone(33, False)])
def test_a_zone_s_pixels_are_those_between_its_meridians(zone):
    corner = Transformer.from_crs("EPSG:4326", zone.crs, always_xy=True).transform(12.0, 47.8)
    x, y = (100 * round(one / 100) for one in corner)
    grid = make_grid((300, 400), Affine(100, 0, x - 20_000, 0, -100, y + 15_000), zone.crs)
    mask = zone.area(grid).mask(full_window(grid))
    cols, rows = np.meshgrid(np.arange(400) + 0.5, np.arange(300) + 0.5)
    lon, _ = Transformer.from_crs(zone.crs, "EPSG:4326", always_xy=True).transform(
        x - 20_000 + 100 * cols, y + 15_000 - 100 * rows
    )
    expected = lon < 12 if zone.number == 32 else lon >= 12
    clear = np.abs(lon - 12) > 1e-5  # a metre from the meridian
    np.testing.assert_array_equal(mask[clear], expected[clear])
    assert 0.3 < mask.mean() < 0.7


def test_a_grid_that_does_not_reach_a_zone():
    grid = make_grid((10, 10), Affine(100, 0, 500_000, 0, -100, 5_300_000), "EPSG:32632")
    with pytest.raises(GridError, match="does not lie in utm35n"):
        Zone(35, False).area(grid)
