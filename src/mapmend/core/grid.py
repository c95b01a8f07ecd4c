"""Grids (odc-geo's GeoBox), windows on them, and the true area of their pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox as Grid
from pyproj import CRS as ProjCRS
from pyproj import Transformer

from mapmend.core.errors import GridError

__all__ = [
    "COARSER",
    "Grid",
    "PixelArea",
    "Window",
    "grid_from_dict",
    "grid_to_dict",
    "ground_pixel_size",
    "make_grid",
    "same_grid",
]

COARSER = 1.5  # times an image's pixel: larger pixels of a label have borders of their own, which are those of squares
_ALIKE = 1.25  # times the area of a pixel
_AREA_LATTICE = 64  # at most so many pixels, and
_AREA_SPAN = 10_000.0  # so many metres, lie between the points where the area of a pixel is computed
_OUTSIDE = "pixel areas cannot be computed: part of the grid lies outside its CRS"
_AREA_STEP = 50.0  # metres; differences over less drown in the rounding of inverse projections


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels; it may reach beyond the grid it is used on."""

    row: int
    col: int
    height: int
    width: int

    @property
    def row_end(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_end(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slice; only for a window whose corner is not negative."""
        return slice(self.row, self.row_end), slice(self.col, self.col_end)

    @property
    def area(self) -> int:
        """How many pixels."""
        return self.height * self.width

    def pad(self, pixels: int) -> Window:
        """The window grown by `pixels` on every side."""
        return Window(self.row - pixels, self.col - pixels, self.height + 2 * pixels, self.width + 2 * pixels)

    def intersect(self, other: Window) -> Window | None:
        """The part shared with another window, or None."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height, width = min(self.row_end, other.row_end) - row, min(self.col_end, other.col_end) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def shift(self, rows: int, cols: int) -> Window:
        """The window moved by a number of rows and columns."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)


def make_grid(shape: tuple[int, int], transform: Affine, crs: object | None) -> Grid:
    """A grid from (height, width), affine transform and any CRS that odc-geo understands (or None).

    Raises:
        GridError: the CRS cannot be understood.
    """
    try:
        grid = Grid(shape, transform, crs)  # type: ignore[arg-type]  # what it cannot take, it says
        if grid.crs is None or grid.crs.proj.geodetic_crs is not None:
            return grid
        return Grid(shape, transform, None)  # a local system ("arbitrary") has no place on Earth
    except Exception as error:
        raise GridError(f"the CRS cannot be understood ({error})", fix="give an EPSG code or WKT") from None


def full_window(grid: Grid) -> Window:
    """The window that covers the whole grid."""
    return Window(0, 0, int(grid.shape[0]), int(grid.shape[1]))


def windows(grid: Grid, side: int) -> Iterator[Window]:
    """Windows of at most `side`² that cover a grid, row by row."""
    height, width = (int(n) for n in grid.shape)
    for row in range(0, height, side):
        for col in range(0, width, side):
            yield Window(row, col, min(side, height - row), min(side, width - col))


def same_grid(a: Grid, b: Grid, tolerance: float = 0.01) -> bool:
    """Whether two grids agree: shape, CRS, and every corner within `tolerance` pixels."""
    if tuple(a.shape) != tuple(b.shape) or a.crs != b.crs:
        return False
    height, width = a.shape
    to_b = ~b.transform @ a.transform
    corners = [(0, 0), (width, 0), (0, height), (width, height)]
    return all(math.dist(corner, to_b @ corner) <= tolerance for corner in corners)


def grid_to_dict(grid: Grid) -> dict[str, object]:
    """A plain form for JSON: shape, the transform's six numbers, CRS as `EPSG:n` or WKT or None."""
    epsg = grid.crs.to_epsg() if grid.crs is not None else None
    crs = None if grid.crs is None else f"EPSG:{epsg}" if epsg else grid.crs.to_wkt()
    return {"shape": [int(n) for n in grid.shape], "transform": list(grid.transform)[:6], "crs": crs}


def grid_from_dict(plain: dict[str, object]) -> Grid:
    """The inverse of `grid_to_dict`."""
    shape, transform = plain["shape"], plain["transform"]
    assert isinstance(shape, Sequence) and isinstance(transform, Sequence)
    return make_grid((int(shape[0]), int(shape[1])), Affine(*transform), plain["crs"])


def ground_pixel_size(grid: Grid) -> tuple[float, float]:
    """Width and height of the central pixel on the ground in metres; pixels' own units without a CRS."""
    if grid.crs is None:
        return math.hypot(grid.transform.a, grid.transform.d), math.hypot(grid.transform.b, grid.transform.e)
    row, col = grid.shape[0] / 2, grid.shape[1] / 2
    crs = ProjCRS(grid.crs.to_wkt())
    to_lonlat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    x, y = zip(*(grid.transform @ point for point in ((col, row), (col + 1, row), (col, row + 1))), strict=True)
    lon, lat = to_lonlat.transform(x, y)
    geod = crs.get_geod()
    assert geod is not None
    _, _, distance = geod.inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    return float(distance[0]), float(distance[1])


def finest(grids: Sequence[Grid]) -> Grid:
    """The grid with the smallest pixels on the ground, the first of equals; rather in metres than in degrees.

    A grid in degrees gives way to a projected one whose pixels are larger by less than a quarter; one without a CRS,
    whose pixels have no size on the ground, to any that has one.
    """
    grids = [grid for grid in grids if grid.crs is not None] or grids

    def area(grid: Grid) -> float:
        return math.prod(ground_pixel_size(grid))

    best = min(grids, key=area)
    if best.crs is None or best.crs.projected:
        return best
    alike = (
        grid for grid in grids if grid.crs is not None and grid.crs.projected and area(grid) <= _ALIKE * area(best)
    )
    return min(alike, key=area, default=best)


class PixelArea:
    """The true area of every pixel of a grid, on the ellipsoid.

    |∂P/∂col × ∂P/∂row| of the pixel's place P in space, by central differences: it needs no formula for the
    projection, and holds at poles and date line. Computed on a lattice of points and interpolated linearly.

    Without a CRS the area is 1 per pixel and `unit` is "px".

    Raises:
        GridError: part of the grid lies outside its CRS.
    """

    def __init__(self, grid: Grid) -> None:
        self.unit = "px" if grid.crs is None else "ha"
        pixel = max(ground_pixel_size(grid))
        if not math.isfinite(pixel):
            raise GridError(_OUTSIDE, fix="reproject")
        step = 2**31 if grid.crs is None else max(1.0, min(_AREA_LATTICE, _AREA_SPAN / pixel))
        self._rows, self._cols = (_lattice(int(n), step) for n in grid.shape)
        if grid.crs is not None and grid.crs.geographic and not grid.transform.b and not grid.transform.d:
            self._cols = _lattice(int(grid.shape[1]), 2**31)  # areas vary with latitude alone
        self._nodes = self._areas_at(grid, max(0.5, _AREA_STEP / pixel))

    def of(self, window: Window) -> npt.NDArray[np.float64]:
        """Areas of the pixels of a window inside the grid, H×W, in `unit`."""
        rows = np.arange(window.row, window.row_end) + 0.5
        cols = np.arange(window.col, window.col_end) + 0.5
        upper = np.clip(np.searchsorted(self._rows, rows, side="right") - 1, 0, len(self._rows) - 2)
        share = (rows - self._rows[upper]) / (self._rows[upper + 1] - self._rows[upper])
        used = slice(int(upper[0]), int(upper[-1]) + 2) if len(upper) else slice(0, 1)
        by_col = np.array([np.interp(cols, self._cols, line) for line in self._nodes[used]])
        upper = upper - used.start
        result: npt.NDArray[np.float64] = by_col[upper] * (1 - share)[:, None] + by_col[upper + 1] * share[:, None]
        return result

    def _areas_at(self, grid: Grid, half: float) -> npt.NDArray[np.float64]:
        shape = (len(self._rows), len(self._cols))
        if grid.crs is None:
            return np.ones(shape)
        row, col = np.broadcast_to(self._rows[:, None], shape), np.broadcast_to(self._cols[None, :], shape)
        across = _places(grid, col + half, row) - _places(grid, col - half, row)
        down = _places(grid, col, row + half) - _places(grid, col, row - half)
        square_metres = np.linalg.norm(np.cross(across, down), axis=-1) / (2 * half) ** 2
        if not np.isfinite(square_metres).all():
            raise GridError(_OUTSIDE, fix="reproject")
        result: npt.NDArray[np.float64] = square_metres / 1e4
        return result


def _lattice(size: int, step: float) -> npt.NDArray[np.float64]:
    return np.linspace(0, size, max(2, math.ceil(size / step) + 1))


def _places(grid: Grid, col: npt.NDArray[np.float64], row: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Geocentric coordinates in metres, shape + (3,), of places in pixels; not finite outside the CRS."""
    assert grid.crs is not None
    crs = ProjCRS(grid.crs.to_wkt())
    geodetic = crs.geodetic_crs
    assert geodetic is not None and geodetic.ellipsoid is not None
    t = grid.transform
    x, y = t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f
    lon, lat = Transformer.from_crs(crs, geodetic, always_xy=True).transform(x, y)
    unit = geodetic.axis_info[0].unit_conversion_factor  # radians per degree or gradian
    lon, lat = np.asarray(lon) * unit, np.asarray(lat) * unit
    a, inverse = geodetic.ellipsoid.semi_major_metre, geodetic.ellipsoid.inverse_flattening
    f = 1 / inverse if inverse else 0.0
    e2 = f * (2 - f)
    with np.errstate(invalid="ignore"):
        normal = a / np.sqrt(1 - e2 * np.sin(lat) ** 2)
        places = np.stack(
            [normal * np.cos(lat) * np.cos(lon), normal * np.cos(lat) * np.sin(lon), normal * (1 - e2) * np.sin(lat)],
            -1,
        )
    beyond = np.abs(lat) > math.pi / 2 + 0.01  # differences may reach just over a pole
    places[beyond] = np.nan
    return places
