"""Files that have to show the same place."""

from __future__ import annotations

import math

from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from mapmend.core.errors import GridError
from mapmend.core.grid import Grid
from mapmend.raster.features import VectorInfo, total_bounds, touches
from mapmend.raster.opening import raster_info
from mapmend.raster.placement import overlap
from mapmend.raster.vector import is_vector, vector_info


def check_overlap(path: str, image: str, grid: Grid) -> None:
    """Refuse a raster or vector file that lies beside an image; files without a CRS are told apart by their size.

    Args:
        path: the file.
        image: the image's file, for the message.
        grid: the image's grid.

    Raises:
        GridError: they do not overlap; both extents are given.
    """
    info: VectorInfo | Grid
    if is_vector(path):
        info = vector_info(path)
        apart = info.crs is not None and grid.crs is not None and not touches(info, grid)
    else:
        info = raster_info(path).grid
        apart = info.crs is not None and grid.crs is not None and overlap(grid, info) == 0
    if apart:
        raise GridError(
            f"does not overlap {image}: {extent_of(info)} against {extent_of(grid)}",
            where=path,
            fix="check both CRSs, or leave this pair out",
        )


def extent_of(what: Grid | VectorInfo) -> str:
    """Where something lies: longitudes and latitudes, or the file's own coordinates where there are none."""
    crs = what.crs.to_wkt() if isinstance(what, Grid) and what.crs is not None else str(what.crs)
    bounds = total_bounds(what) if isinstance(what, VectorInfo) else tuple(what.boundingbox)
    if bounds is None:
        return "no feature"
    try:
        to_degrees = Transformer.from_crs(CRS.from_user_input(crs), "EPSG:4326", always_xy=True)
        left, bottom, right, top = to_degrees.transform_bounds(bounds[0], bounds[1], bounds[2], bounds[3])
    except ProjError:
        left = math.inf
    if math.isfinite(left + bottom + right + top):
        return f"lon {left:.4f} to {right:.4f}, lat {bottom:.4f} to {top:.4f}"
    return f"x {bounds[0]:.8g} to {bounds[2]:.8g}, y {bounds[1]:.8g} to {bounds[3]:.8g}"
