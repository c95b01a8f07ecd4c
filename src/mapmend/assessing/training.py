"""Reference points among the data that a model was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS, Transformer

from mapmend.accuracy.design import SampleDesign
from mapmend.assessing.mapped import Bool, Ints, inside, pixels_of
from mapmend.assessing.points import Points, listed
from mapmend.core.errors import GridError, SampleError
from mapmend.core.grid import Grid, Window
from mapmend.raster.features import check_crs, is_vector, read_features, vector_info
from mapmend.raster.labels import read_codes
from mapmend.raster.opening import raster_info


def check_training(path: Path, points: Points, rows: Ints, cols: Ints, grid: Grid, design: SampleDesign) -> None:
    """Refuse a sample with points in training polygons, or on labelled pixels of a training raster.

    Args:
        path: the training data, a vector file or a raster in the design's class ids.
        points: of the sample.
        rows: of the points on the grid.
        cols: of the points on the grid.
        grid: of the map.
        design: its ids tell labelled pixels from others.

    Raises:
        SampleError: a point is among the training data.
        VectorError: the vector file cannot be read.
        RasterError: the raster cannot be read.
        GridError: it has no CRS where one is needed.
    """
    taught = _in_features(path, rows, cols, grid) if is_vector(path) else _on_labels(path, rows, cols, grid, design)
    if taught.any():
        raise SampleError(
            f"{int(taught.sum())} of {taught.size} reference points are training data (points "
            f"{listed(points.ids[taught])}): a model is right where it was taught, and not elsewhere",
            where=path,
            fix="draw the sample from what was left out of training, or train without these labels",
        )


def _in_features(path: Path, rows: Ints, cols: Ints, grid: Grid) -> Bool:
    info = vector_info(path)
    check_crs(info, grid)
    geometries, _ = read_features(info, grid, None, None, set())
    found = np.zeros(rows.size, bool)
    areal = np.isin(shapely.get_type_id(geometries), (3, 6))
    centres = shapely.points(cols + 0.5, rows + 0.5)
    pixels = shapely.box(cols, rows, cols + 1, rows + 1)
    for shapes, chosen in ((centres, geometries[areal]), (pixels, geometries[~areal])):
        if len(chosen):
            found[shapely.STRtree(chosen).query(shapes, predicate="intersects")[0]] = True
    return found


def _on_labels(path: Path, rows: Ints, cols: Ints, grid: Grid, design: SampleDesign) -> Bool:
    info = raster_info(path)
    if (info.grid.crs is None) != (grid.crs is None):
        raise GridError("has a CRS and the map has none, or the other way round", where=path, fix="assign it")
    t = grid.transform
    x, y = (a * (cols + 0.5) + b * (rows + 0.5) + c for a, b, c in ((t.a, t.b, t.c), (t.d, t.e, t.f)))
    if grid.crs is not None and info.grid.crs is not None and grid.crs != info.grid.crs:
        source, target = (CRS.from_wkt(crs.to_wkt()) for crs in (grid.crs, info.grid.crs))
        x, y = Transformer.from_crs(source, target, always_xy=True).transform(x, y)
        x, y = (np.where(np.isfinite(each), each, 1e300) for each in (x, y))
    there = pixels_of(np.asarray(x), np.asarray(y), info.grid)
    found = np.zeros(rows.size, bool)
    for at in np.flatnonzero(inside(*there, info.grid)):
        codes, valid = read_codes(info, Window(int(there[0][at]), int(there[1][at]), 1, 1))
        found[at] = bool(valid[0, 0]) and int(codes[0, 0, 0]) in design.class_ids
    return found
