"""Where sample points lie on the map that is assessed, whatever coordinates their files give."""

from __future__ import annotations

import numpy as np
from pyproj import CRS, Transformer

from mapmend.assessing.mapped import Floats, Ints, inside, pixels_of
from mapmend.assessing.points import Points, listed
from mapmend.core.errors import SampleError
from mapmend.core.grid import Grid
from mapmend.sampling.files import SampleTable

_NEAR = 2.0  # pixels between a point's two kinds of coordinates, of which one is rounded


def locate(table: SampleTable, points: Points, grid: Grid) -> tuple[Ints, Ints]:
    """Rows and columns of the points on a grid.

    `x` and `y` are in the CRS of the map that the sample was drawn on. Where longitude and latitude say that this is
    not the grid's, they are used instead; rows and columns where there is nothing else.

    Raises:
        SampleError: there are no coordinates, or points lie outside of the grid.
    """
    rows, cols = _found(table, points, grid)
    off = ~inside(rows, cols, grid)
    if off.any():
        raise SampleError(
            f"{int(off.sum())} of {off.size} points lie off the map (points {listed(points.ids[off])})",
            where=table.places[points.first[np.flatnonzero(off)[0]]],
            fix="give the map that the sample was drawn on, or another that covers it",
        )
    return rows, cols


def _found(table: SampleTable, points: Points, grid: Grid) -> tuple[Ints, Ints]:
    by_map = by_degrees = None
    if table.x is not None and table.y is not None:
        by_map = pixels_of(table.x[points.first], table.y[points.first], grid)
    if table.longitude is not None and table.latitude is not None and grid.crs is not None:
        longitude, latitude = table.longitude[points.first], table.latitude[points.first]
        by_degrees = pixels_of(*_to_grid(longitude, latitude, grid), grid)
    if by_map is not None and by_degrees is not None:
        apart = [np.abs(one - other) for one, other in zip(by_map, by_degrees, strict=True)]
        return by_map if np.median(np.maximum(*apart)) <= _NEAR else by_degrees
    if by_map is not None or by_degrees is not None:
        return by_map if by_map is not None else by_degrees  # type: ignore[return-value]
    if table.rows is not None and table.cols is not None:
        return table.rows[points.first].astype(np.intp), table.cols[points.first].astype(np.intp)
    raise SampleError(
        "has no coordinates",
        where=table.places[0].rpartition(", row")[0],
        fix="keep the columns x and y, or longitude and latitude, as they were drawn",
    )


def _to_grid(longitude: Floats, latitude: Floats, grid: Grid) -> tuple[Floats, Floats]:
    assert grid.crs is not None
    transformer = Transformer.from_crs("EPSG:4326", CRS.from_wkt(grid.crs.to_wkt()), always_xy=True)
    x, y = transformer.transform(longitude, latitude)
    finite = np.isfinite(x) & np.isfinite(y)
    return np.where(finite, x, 1e300), np.where(finite, y, 1e300)
