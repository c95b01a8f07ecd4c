"""Grids (odc-geo's GeoBox), windows on them, and the true area of their pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox as Grid
from pyproj import CRS as ProjCRS
from pyproj import Proj, Transformer

from mapmend.core.errors import GridError

__all__ = ["Grid", "PixelArea", "Window", "grid_from_dict", "grid_to_dict", "ground_pixel_size", "make_grid", "same_grid"]

_AREA_LATTICE = 64  # pixels between the points where the area of a pixel is computed; it varies slowly


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
        return Grid(shape, transform, crs)
    except Exception as error:
        raise GridError(f"the CRS cannot be understood ({error})", fix="give an EPSG code or WKT") from None


def full_window(grid: Grid) -> Window:
    """The window that covers the whole grid."""
    return Window(0, 0, int(grid.shape[0]), int(grid.shape[1]))


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


class PixelArea:
    """The true area of every pixel of a grid, on the ellipsoid.

    For a projected CRS: planar area divided by the projection's areal scale (Snyder 1987, eq. 4-10); for a
    geographic one: the ellipsoid's surface element. Computed on a lattice of points and interpolated linearly.

    Without a CRS the area is 1 per pixel and `unit` is "px".
    """

    def __init__(self, grid: Grid) -> None:
        self.unit = "px" if grid.crs is None else "ha"
        self._rows, self._cols = (_lattice(int(n)) for n in grid.shape)
        self._nodes = self._areas_at(grid)

    def of(self, window: Window) -> npt.NDArray[np.float64]:
        """Areas of the pixels of a window inside the grid, H×W, in `unit`."""
        rows = np.arange(window.row, window.row_end) + 0.5
        cols = np.arange(window.col, window.col_end) + 0.5
        by_col = np.array([np.interp(cols, self._cols, line) for line in self._nodes])
        upper = np.clip(np.searchsorted(self._rows, rows, side="right") - 1, 0, len(self._rows) - 2)
        share = (rows - self._rows[upper]) / (self._rows[upper + 1] - self._rows[upper])
        result: npt.NDArray[np.float64] = by_col[upper] * (1 - share)[:, None] + by_col[upper + 1] * share[:, None]
        return result

    def _areas_at(self, grid: Grid) -> npt.NDArray[np.float64]:
        shape = (len(self._rows), len(self._cols))
        if grid.crs is None:
            return np.ones(shape)
        crs = ProjCRS(grid.crs.to_wkt())
        t = grid.transform
        x = t.a * self._cols[None, :] + t.b * self._rows[:, None] + t.c
        y = t.d * self._cols[None, :] + t.e * self._rows[:, None] + t.f
        planar = abs(t.determinant)
        if crs.is_geographic:
            square_metres = planar * _square_metres_per_square_degree(crs, y)
        else:
            unit = crs.axis_info[0].unit_conversion_factor
            lon, lat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
            square_metres = planar * unit**2 / Proj(crs).get_factors(lon, lat).areal_scale
        if not np.isfinite(square_metres).all():
            raise GridError("pixel areas cannot be computed: part of the grid lies outside its CRS", fix="reproject")
        result: npt.NDArray[np.float64] = np.broadcast_to(square_metres, shape) / 1e4
        return result


def _lattice(size: int) -> npt.NDArray[np.float64]:
    return np.linspace(0, size, max(2, math.ceil(size / _AREA_LATTICE) + 1))


def _square_metres_per_square_degree(crs: ProjCRS, lat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    ellipsoid = crs.ellipsoid
    assert ellipsoid is not None
    a, f = ellipsoid.semi_major_metre, 1 / ellipsoid.inverse_flattening if ellipsoid.inverse_flattening else 0.0
    e2 = f * (2 - f)
    phi = np.radians(lat)
    meridian = a * (1 - e2) / (1 - e2 * np.sin(phi) ** 2) ** 1.5
    parallel = a * np.cos(phi) / np.sqrt(1 - e2 * np.sin(phi) ** 2)
    result: npt.NDArray[np.float64] = meridian * parallel * math.radians(1) ** 2
    return result


def crs_of(grid: Grid, where: str) -> CRS:
    """The grid's CRS.

    Raises:
        GridError: it has none.
    """
    if grid.crs is None:
        raise GridError("has no CRS, and one is needed here", where=where, fix="assign one, e.g. with gdal_edit -a_srs")
    return grid.crs
