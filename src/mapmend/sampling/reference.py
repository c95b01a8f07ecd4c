"""Answers that are known already: a class raster or polygons looked up at the points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mapmend.core.classes import NODATA, Legend
from mapmend.core.errors import GridError
from mapmend.core.grid import Grid, Window
from mapmend.core.legend import load_crosswalk
from mapmend.raster.labels import LabelReader
from mapmend.raster.opening import raster_info
from mapmend.raster.placement import to_pixels
from mapmend.raster.vector import is_vector
from mapmend.sampling.points import SamplePoints


def with_references(
    points: SamplePoints,
    grid: Grid,
    legend: Legend,
    reference: Path,
    before: Path | None = None,
    codes: str | None = None,
) -> SamplePoints:
    """Points with the classes that a raster or vector file has there; empty where it has none.

    A raster is looked up at the points' coordinates, on its own grid. The interpreter is the file's name.

    Args:
        points: of a sample.
        grid: of the map.
        legend: of the map.
        reference: class raster, or polygons with the class's name or id.
        before: the same of the earlier date.
        codes: crosswalk from the files' codes to the legend, see `load_crosswalk`; None: they are the legend's.

    Raises:
        GridError: the file does not overlap the map, or lacks a CRS where one is needed; or the map has one date.
        RasterError, VectorError: a file cannot be read.
        LegendError: a code that is not in the legend.
    """
    if before is not None and points.references_before is None:
        raise GridError("the map has one date, and references of an earlier one are given", fix="leave them out")
    found = _look_up(points, grid, legend, reference, codes)
    known = [bool(name) for name in found]
    earlier = points.references_before
    if before is not None:
        earlier = _look_up(points, grid, legend, before, codes)
        known = [one or bool(name) for one, name in zip(known, earlier, strict=True)]
    names = tuple(reference.name if one else "" for one in known)
    return replace(points, references=found, references_before=earlier, interpreters=names)


def _look_up(points: SamplePoints, grid: Grid, legend: Legend, path: Path, codes: str | None) -> tuple[str, ...]:
    names = dict(zip(legend.ids, legend.names, strict=True))
    on = grid if is_vector(path) else raster_info(path).grid
    rows, cols = _places(points, grid, on, path)
    reader = LabelReader(str(path), on, load_crosswalk(codes, legend))
    ids = np.full(len(points), NODATA)
    for at in np.lexsort((cols, rows)).tolist():  # neighbours share blocks
        ids[at] = reader.read(Window(int(rows[at]), int(cols[at]), 1, 1))[0, 0]
    return tuple(names.get(int(one), "") for one in ids)


def _places(
    points: SamplePoints, grid: Grid, on: Grid, path: Path
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the points on another grid; −1 outside of it."""
    rows, cols = points.units.rows, points.units.cols
    if on is grid:
        return rows, cols
    if grid.crs is None or on.crs is None:
        if tuple(grid.shape) != tuple(on.shape):
            raise GridError("has no CRS in common with the map", where=path, fix="assign one to both")
        return rows, cols
    across, down = to_pixels(grid, on, cols.astype(np.float64) + 0.5, rows.astype(np.float64) + 0.5)
    inside = (across >= 0) & (down >= 0) & (across < int(on.shape[1])) & (down < int(on.shape[0]))
    if not inside.any():
        raise GridError("does not overlap the sample", where=path, fix="check both CRSs")
    place = [np.where(inside, np.floor(np.where(inside, axis, 0)), -1).astype(np.int64) for axis in (down, across)]
    return place[0], place[1]
