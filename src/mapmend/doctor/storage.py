"""How a raster is stored and placed: what slows reading down, and what makes areas doubtful."""

from __future__ import annotations

from math import ceil

import numpy as np

from mapmend.core.grid import Grid, ground_pixel_size
from mapmend.doctor.finding import Finding
from mapmend.raster.opening import RasterInfo, handle, raster_faults

_WINDOW = 256  # side of the window whose cost is told
_LARGE = 2048  # pixels along the longer side from which on storage matters
_COSTLY = 4.0  # times the bytes of the window itself
_ANISOTROPIC = 1.05


def layout(info: RasterInfo) -> list[Finding]:
    """Strips, or no blocks at all: every window read decodes much more than itself."""
    height, width = (int(n) for n in info.grid.shape)
    tall, wide = info.block
    rows = min(height, tall * (ceil(_WINDOW / tall) + (tall > 1)))
    cols = min(width, wide * (ceil(_WINDOW / wide) + (wide > 1)))
    factor = rows * cols / min(_WINDOW, height) / min(_WINDOW, width)
    if max(height, width) <= _LARGE or info.tiled or factor < _COSTLY:
        return []
    size = rows * cols * info.count * np.dtype(info.dtype).itemsize
    what = f"is stored in strips: a window of {_WINDOW}² reads {size / 1e6:.1f} MB, {factor:.0f} times its own pixels"
    return [Finding("note", "strips", what, info.path, "`mapmend prepare` makes tiles, once")]


def overviews(info: RasterInfo) -> list[Finding]:
    """No overviews on a large raster: viewers read all of it to show it small."""
    with raster_faults(info.path):
        levels = handle(info.path).overviews(1)
    if levels or max(info.grid.shape) <= 2 * _LARGE:
        return []
    return [
        Finding("note", "overviews", "has no overviews: viewers show it slowly", info.path, f"gdaladdo {info.path}")
    ]


def georeference(info: RasterInfo) -> list[Finding]:
    """No CRS, degrees as units, or pixels that are not square on the ground."""
    grid = info.grid
    if grid.crs is None and grid.transform.is_identity:
        what = "has no georeference: areas are counted in pixels, and nothing tells where it lies"
        return [Finding("note", "no georeference", what, info.path, "give a GeoTIFF if there is one")]
    if grid.crs is None:
        what = "has coordinates and no CRS: areas are counted in pixels"
        return [Finding("warning", "no CRS", what, info.path, f"gdal_edit -a_srs EPSG:… {info.path}")]
    found = []
    width, height = ground_pixel_size(grid)
    if not np.isfinite(width * height) or width * height == 0:
        return [Finding("error", "no CRS", "lies outside its CRS", info.path, "check CRS and transform")]
    if grid.crs.geographic:
        what = f"is in degrees ({width:.3g} × {height:.3g} m per pixel): areas are computed on the ellipsoid"
        found.append(Finding("note", "degrees", what, info.path, "reproject it where distances in pixels matter"))
    ratio = max(width, height) / min(width, height)
    if ratio > _ANISOTROPIC:
        what = f"has pixels of {width:.3g} × {height:.3g} m: shapes are stretched by {ratio:.2f}"
        found.append(Finding("note", "anisotropic", what, info.path, "gdalwarp -tr with equal sizes, if shapes matter"))
    return found


def crs_name(grid: Grid) -> str:
    """The CRS in a few words: EPSG:n, or its own name, or none."""
    if grid.crs is None:
        return "none"
    return f"EPSG:{grid.crs.epsg}" if grid.crs.epsg else str(grid.crs.proj.name)
