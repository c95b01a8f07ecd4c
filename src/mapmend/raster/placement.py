"""Where the pixels of one grid lie on another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.crs import CRS
from rasterio.warp import transform

from mapmend.core.errors import GridError
from mapmend.core.grid import Grid
from mapmend.raster.opening import raster_faults

Floats = npt.NDArray[np.float64]

_WHOLE = 0.01  # pixels; transforms this near to whole pixels need no resampling


@dataclass(frozen=True)
class Placement:
    """How a layer comes onto a target grid.

    Attributes:
        layer: the layer's own grid.
        onto: the target grid.
        shift: (row, column) in the layer of the target's first pixel where whole pixels coincide, else None.
        zoom: (rows, columns) of target pixels per layer pixel where neither has to be warped; 1 mostly.
        ratio: layer pixels per target pixel, the larger of both axes.
        where: the layer's file, for messages.
    """

    layer: Grid
    onto: Grid
    shift: tuple[int, int] | None
    zoom: tuple[int, int] = (1, 1)
    ratio: float = 1.0
    where: str = ""


def place(layer: Grid, onto: Grid, *, where: str, zoomable: bool = False) -> Placement:
    """Find out how a layer comes onto a grid.

    Args:
        layer: the layer's own grid.
        onto: the target grid.
        where: the layer's file, for messages.
        zoomable: accept a layer without a CRS that is coarser by a whole factor.

    Raises:
        GridError: the layer lies elsewhere, or one of the two lacks a CRS and their shapes differ.
    """
    if layer.crs is None or onto.crs is None:
        (height, width), (rows, cols) = onto.shape, layer.shape
        if (height, width) == (rows, cols):
            return Placement(layer, onto, (0, 0), where=where)
        if zoomable and layer.crs is None and height % rows == 0 and width % cols == 0:
            return Placement(layer, onto, (0, 0), (height // rows, width // cols), where=where)
        missing = "it has no CRS" if layer.crs is None else "the grid it is used on has no CRS"
        raise GridError(
            f"is {cols} × {rows} pixels on a grid of {width} × {height}, and {missing}",
            where=where,
            fix="assign a CRS, e.g. with gdal_edit -a_srs, or give layers of the same size",
        )
    if overlap(onto, layer) == 0:
        raise GridError("does not overlap the image", where=where, fix="check both CRSs, or leave this pair out")
    shift = _whole_shift(layer, onto)
    return Placement(layer, onto, shift, ratio=1.0 if shift is not None else _ratio(layer, onto), where=where)


def overlap(grid: Grid, other: Grid) -> float:
    """The share of a grid's area that another grid covers, 0 to 1.

    Raises:
        GridError: one of the two has no CRS and their shapes differ.
    """
    if grid.crs is None or other.crs is None:
        if grid.shape != other.shape:
            raise GridError("grids of different size cannot be compared without a CRS", fix="assign one to both")
        return 1.0
    height, width = (int(n) for n in grid.shape)
    along = np.linspace(0, 1, 33)
    square = [*((t, 0.0) for t in along), *((1.0, t) for t in along[1:]), *((t, 1.0) for t in along[-2::-1])]
    ring = np.array([*square, *((0.0, t) for t in along[-2::-1])]) * (width, height)
    cols, rows = to_pixels(grid, other, ring[:, 0], ring[:, 1])
    if not (np.isfinite(cols).all() and np.isfinite(rows).all()):
        return _share_of_points(grid, other)
    outline = shapely.make_valid(shapely.Polygon(np.column_stack([cols, rows])))
    if outline.area == 0:
        return 0.0
    covered = outline.intersection(shapely.box(0, 0, int(other.shape[1]), int(other.shape[0])))
    return float(covered.area / outline.area)


def _whole_shift(layer: Grid, onto: Grid) -> tuple[int, int] | None:
    """(row, column) in the layer of the target's first pixel if every pixel coincides with one, else None."""
    if layer.crs != onto.crs:
        return None
    to_layer = ~layer.transform @ onto.transform
    row, col = round(to_layer.f), round(to_layer.c)
    height, width = onto.shape
    corners = [(0, 0), (width, 0), (0, height), (width, height)]
    near = all(math.dist(to_layer @ (x, y), (x + col, y + row)) <= _WHOLE for x, y in corners)
    return (row, col) if near else None


def _ratio(layer: Grid, onto: Grid) -> float:
    """Layer pixels per target pixel around the middle of the target, the larger of both axes."""
    row, col = onto.shape[0] / 2, onto.shape[1] / 2
    step_x, step_y = onto.shape[1] / 8, onto.shape[0] / 8
    cols, rows = to_pixels(onto, layer, np.array([col, col + step_x, col]), np.array([row, row, row + step_y]))
    across = math.hypot(cols[1] - cols[0], rows[1] - rows[0]) / step_x
    down = math.hypot(cols[2] - cols[0], rows[2] - rows[0]) / step_y
    return max(across, down) if math.isfinite(across + down) else 1.0


def _share_of_points(grid: Grid, other: Grid) -> float:
    """The share of a lattice of points of a grid that lies inside another; for outlines that leave the other's CRS."""
    across, down = (np.linspace(0, int(n), 65) for n in (grid.shape[1], grid.shape[0]))
    cols, rows = np.meshgrid(across, down)
    cols, rows = to_pixels(grid, other, cols.ravel(), rows.ravel())
    inside = (cols >= 0) & (rows >= 0) & (cols <= int(other.shape[1])) & (rows <= int(other.shape[0]))
    return float(inside.mean())


def to_pixels(grid: Grid, other: Grid, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Pixel coordinates (column, row) of a grid with a CRS as those of another; infinite where there is no way."""
    t, back = grid.transform, ~other.transform
    x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    if grid.crs != other.crs:
        with raster_faults("grid", "cannot be transformed"):
            x, y = (np.asarray(axis) for axis in transform(gdal_crs(grid), gdal_crs(other), x, y))
    return back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f


def gdal_crs(grid: Grid) -> CRS:
    """The CRS of a grid that has one, as rasterio wants it."""
    assert grid.crs is not None
    return _crs_from(grid.crs.to_wkt())


@lru_cache(maxsize=64)
def _crs_from(wkt: str) -> CRS:
    return CRS.from_wkt(wkt)
