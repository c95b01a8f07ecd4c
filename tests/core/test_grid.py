import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from mapmend.core.errors import GridError
from mapmend.core.grid import (
    PixelArea,
    Window,
    finest,
    full_window,
    grid_from_dict,
    grid_to_dict,
    ground_pixel_size,
    make_grid,
    same_grid,
)

EARTH_HA = 510_065_621.7 * 100  # surface of the WGS 84 ellipsoid, km² → ha

corners = st.integers(-500, 500)
sides = st.integers(1, 40)
windows = st.builds(Window, corners, corners, sides, sides)


def geodesic_area(grid, row, col, points=200):
    """Hectares of one pixel as a geodesic polygon with many corners along each edge."""
    along = np.linspace(0, 1, points)
    edge = [(col + t, row) for t in along] + [(col + 1, row + t) for t in along]
    edge += [(col + 1 - t, row + 1) for t in along] + [(col, row + 1 - t) for t in along]
    crs = CRS(grid.crs.to_wkt())
    x, y = zip(*(grid.transform @ point for point in edge), strict=True)
    lon, lat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    return abs(crs.get_geod().polygon_area_perimeter(lon, lat)[0]) / 1e4


class TestWindow:
    @given(windows, windows)
    def test_the_intersection_holds_exactly_the_shared_pixels(self, a, b):
        def pixels(w):
            return {(r, c) for r in range(w.row, w.row_end) for c in range(w.col, w.col_end)}

        shared = a.intersect(b)
        assert (pixels(shared) if shared else set()) == pixels(a) & pixels(b)
        assert shared == b.intersect(a)

    @given(windows, st.integers(0, 30))
    def test_padding_contains_the_window_and_is_undone_by_the_opposite(self, window, n):
        padded = window.pad(n)
        assert padded.intersect(window) == window
        assert padded.pad(-n) == window
        assert (padded.height, padded.width) == (window.height + 2 * n, window.width + 2 * n)

    @given(windows, corners, corners)
    def test_shifting_keeps_the_size_and_can_be_undone(self, window, rows, cols):
        moved = window.shift(rows, cols)
        assert moved.shift(-rows, -cols) == window
        assert (moved.row - window.row, moved.col - window.col) == (rows, cols)
        assert (moved.height, moved.width) == (window.height, window.width)

    @given(st.integers(0, 20), st.integers(0, 20), sides, sides)
    def test_slices_cut_the_window_out_of_an_array(self, row, col, height, width):
        window = Window(row, col, height, width)
        marked = np.add.outer(np.arange(60) * 100, np.arange(60))
        cut = marked[window.slices]
        assert cut.shape == (height, width)
        assert cut[0, 0] == row * 100 + col

    def test_windows_that_only_touch_share_nothing(self):
        assert Window(0, 0, 4, 4).intersect(Window(4, 0, 4, 4)) is None
        assert Window(0, 0, 4, 4).intersect(Window(0, 4, 4, 4)) is None


class TestSameGrid:
    utm = make_grid((100, 200), Affine(2, 0, 500_000, 0, -2, 5_000_000), "EPSG:32633")

    def moved(self, dx=0.0, dy=0.0, size=2.0, crs="EPSG:32633", shape=(100, 200)):
        return make_grid(shape, Affine(size, 0, 500_000 + dx, 0, -size, 5_000_000 + dy), crs)

    def test_a_hundredth_of_a_pixel_is_the_limit(self):
        assert same_grid(self.utm, self.moved(dx=0.019))
        assert not same_grid(self.utm, self.moved(dx=0.021))
        assert not same_grid(self.utm, self.moved(dy=-0.021))

    def test_a_small_error_in_pixel_size_shows_at_the_far_corner(self):
        assert same_grid(self.utm, self.moved(size=2 * (1 + 0.01 / 300)))
        assert not same_grid(self.utm, self.moved(size=2 * (1 + 0.01 / 150)))

    def test_shape_and_crs_must_agree(self):
        assert not same_grid(self.utm, self.moved(shape=(200, 100)))
        assert not same_grid(self.utm, self.moved(crs="EPSG:32634"))
        assert not same_grid(self.utm, self.moved(crs=None))

    def test_the_same_crs_in_another_notation_agrees(self):
        assert same_grid(self.utm, self.moved(crs=CRS.from_epsg(32633).to_wkt()))

    def test_two_grids_without_crs_agree(self):
        a, b = (make_grid((5, 5), Affine.identity(), None) for _ in range(2))
        assert same_grid(a, b)

    def test_anisotropic_pixels_are_measured_in_their_own_size(self):
        wide = Affine(30, 0, 0, 0, -1, 0)
        a = make_grid((10, 10), wide, "EPSG:32633")
        assert same_grid(a, make_grid((10, 10), Affine.translation(0.29, 0) @ wide, "EPSG:32633"))
        assert not same_grid(a, make_grid((10, 10), Affine.translation(0, 0.29) @ wide, "EPSG:32633"))


@pytest.mark.parametrize("crs", ["EPSG:32633", "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84", None])
def test_a_grid_survives_its_plain_form(crs):
    grid = make_grid((7, 9), Affine(2.5, 0.1, 100, 0.2, -1.5, 900), crs)
    back = grid_from_dict(grid_to_dict(grid))
    assert back == grid
    assert same_grid(back, grid, tolerance=1e-9)


@pytest.mark.parametrize("crs", ["EPSG:99999999", "nonsense"])
def test_a_crs_that_is_none_is_one_line(crs):
    with pytest.raises(GridError, match="CRS cannot be understood") as caught:
        make_grid((2, 2), Affine.identity(), crs)
    assert "\n" not in str(caught.value)


class TestGroundPixelSize:
    def test_anisotropic_metres(self):
        # UTM shrinks by 0.9996 on its central meridian
        grid = make_grid((260, 260), Affine(23.6, 0, 500_000 - 130 * 23.6, 0, -29.5, 4_300_000), "EPSG:26917")
        assert ground_pixel_size(grid) == pytest.approx((23.6 / 0.9996, 29.5 / 0.9996), rel=1e-6)

    def test_feet_become_metres(self):
        grid = make_grid((50, 50), Affine(3, 0, 984_250, 0, -3, 200_000), "EPSG:2263")  # US survey feet
        assert ground_pixel_size(grid) == pytest.approx((3 * 1200 / 3937,) * 2, rel=1e-4)

    def test_degrees_become_metres_on_the_ellipsoid(self):
        lat = 60.0
        grid = make_grid((2, 2), Affine(0.01, 0, 10, 0, -0.01, lat + 0.01), "EPSG:4326")
        a, e2, phi = 6378137.0, 0.00669437999014, math.radians(lat)
        parallel = math.radians(0.01) * a * math.cos(phi) / math.sqrt(1 - e2 * math.sin(phi) ** 2)
        meridian = math.radians(0.01) * a * (1 - e2) / (1 - e2 * math.sin(phi) ** 2) ** 1.5
        assert ground_pixel_size(grid) == pytest.approx((parallel, meridian), rel=1e-4)

    def test_without_a_crs_the_units_are_the_pixels_own(self):
        assert ground_pixel_size(make_grid((4, 4), Affine(0.5, 0, 0, 0, -0.25, 0), None)) == (0.5, 0.25)

    def test_rotated_pixels(self):
        turned = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(4, -8)
        assert ground_pixel_size(make_grid((2, 2), turned, "EPSG:32633")) == pytest.approx((4, 8), rel=1e-3)


def test_a_grid_without_a_place_gives_way_to_one_that_has_one():
    floating = make_grid((70, 70), Affine(0.1, 0, 0, 0, -0.1, 0), None)
    placed = make_grid((70, 70), Affine(1, 0, 500_000, 0, -1, 5_300_000), "EPSG:32632")
    assert finest([floating, placed]) == finest([placed, floating]) == placed
    assert finest([floating]) == floating


class TestPixelArea:
    @pytest.mark.parametrize(
        ("crs", "transform"),
        [
            ("EPSG:32633", Affine(10, 0, 300_000, 0, -10, 5_000_000)),
            ("EPSG:26917", Affine(23.6, 0, 700_000, 0, -29.5, 4_300_000)),  # anisotropic
            ("EPSG:32633", Affine(8, 3, 300_000, 2, -9, 5_000_000)),  # sheared
            ("EPSG:2263", Affine(30, 0, 980_000, 0, -30, 200_000)),  # US survey feet
            ("EPSG:5070", Affine(30, 0, 1_000_000, 0, -30, 2_000_000)),  # equal area, NAD 83
            ("EPSG:3413", Affine(100, 0, -1_000_000, 0, -100, -1_000_000)),  # polar stereographic
            ("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 60)),
            ("EPSG:4277", Affine(0.001, 0, -2, 0, -0.001, 55)),  # Airy's ellipsoid
        ],
    )
    def test_every_pixel_has_its_geodesic_area(self, crs, transform):
        grid = make_grid((150, 200), transform, crs)
        area = PixelArea(grid)
        assert area.unit == "ha"
        for row, col in [(0, 0), (31, 170), (149, 199)]:
            expected = geodesic_area(grid, row, col)
            assert area.of(Window(row, col, 1, 1))[0, 0] == pytest.approx(expected, rel=2e-6)

    def test_web_mercator_is_not_an_ellipsoids_projection(self):
        # its plane comes from a sphere's formula: areas by a sphere's scale are 0.2 % off at 53° N
        grid = make_grid((20, 20), Affine(10, 0, 1_000_000, 0, -10, 7_000_000), "EPSG:3857")
        assert PixelArea(grid).of(Window(3, 4, 1, 1))[0, 0] == pytest.approx(geodesic_area(grid, 3, 4), rel=2e-6)

    @pytest.mark.parametrize("crs", ["EPSG:3035", "EPSG:6933"])
    def test_an_equal_area_projection_keeps_planar_areas(self, crs):
        # EPSG:6933 spans the globe at one scale of area
        grid = make_grid((300, 130), Affine(100, 0, 4_000_000, 0, -50, 3_000_000), crs)
        assert PixelArea(grid).of(full_window(grid)) == pytest.approx(0.5, rel=1e-6)

    def test_a_zone_between_parallels_has_the_closed_form_area(self):
        # area from the equator to φ, per radian: b²/2 (sin φ/(1-e² sin²φ) + artanh(e sin φ)/e)
        a, e2 = 6378137.0, 0.0066943799901413165

        def to_equator(lat):
            s, e = math.sin(math.radians(lat)), math.sqrt(e2)
            return a**2 * (1 - e2) / 2 * (s / (1 - e2 * s**2) + math.atanh(e * s) / e)

        grid = make_grid((1000, 3), Affine(0.001, 0, 5, 0, -0.001, 48), "EPSG:4326")
        expected = math.radians(0.003) * (to_equator(48) - to_equator(47)) / 1e4
        assert PixelArea(grid).of(full_window(grid)).sum() == pytest.approx(expected, rel=1e-6)

    def test_coarse_global_grids_add_up_to_the_earth(self):
        for size in (1.0, 0.1):
            grid = make_grid((round(180 / size), 4), Affine(size, 0, -180, 0, -size, 90), "EPSG:4326")
            whole = PixelArea(grid).of(full_window(grid)).sum() * 360 / (4 * size)
            assert whole == pytest.approx(EARTH_HA, rel=1e-4)

    def test_a_window_has_the_areas_it_has_in_the_whole(self):
        grid = make_grid((200, 333), Affine(100, 0, 300_000, 0, -100, 7_000_000), "EPSG:32633")
        area, window = PixelArea(grid), Window(57, 101, 80, 190)
        assert np.array_equal(area.of(full_window(grid))[window.slices], area.of(window))

    def test_one_pixel(self):
        grid = make_grid((1, 1), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
        assert PixelArea(grid).of(Window(0, 0, 1, 1)) == pytest.approx(0.01 / 0.9996**2, rel=1e-6)

    def test_without_a_crs_areas_are_pixels(self):
        grid = make_grid((70, 90), Affine(0.5, 0, 0, 0, -0.5, 0), None)
        area = PixelArea(grid)
        assert area.unit == "px"
        assert np.array_equal(area.of(Window(3, 5, 4, 6)), np.ones((4, 6)))

    @pytest.mark.parametrize(
        ("crs", "transform"),
        [
            ("EPSG:4326", Affine(1, 0, 0, 0, -1, 100)),  # latitudes beyond the pole
            ("EPSG:32633", Affine(1e6, 0, 5e7, 0, -1e6, 5e7)),  # beyond the globe
        ],
    )
    def test_a_grid_outside_its_crs_is_refused(self, crs, transform):
        with pytest.raises(GridError, match="outside its CRS"):
            PixelArea(make_grid((30, 30), transform, crs))

    def test_a_local_system_has_no_place_on_earth(self):
        grid = make_grid((3, 3), Affine(2, 0, 0, 0, -2, 0), 'LOCAL_CS["arbitrary",UNIT["metre",1]]')
        assert PixelArea(grid).unit == "px"
        assert ground_pixel_size(grid) == (2, 2)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:3857", None])
def test_part_of_a_grid_has_the_same_areas_to_the_last_bit(crs):
    """However few points of the lattice a window needs."""
    step = 1e-4 if crs == "EPSG:4326" else 30
    grid = make_grid((700, 300), Affine(step, 0, 9, 0, -step, 48), crs)
    area = PixelArea(grid)
    whole = area.of(full_window(grid))
    for row, height in ((0, 1), (0, 700), (63, 2), (64, 1), (130, 300), (699, 1), (350, 0)):
        window = Window(row, 17, height, 250)
        np.testing.assert_array_equal(area.of(window), whole[window.slices])
