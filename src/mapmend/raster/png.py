"""Class rasters as PNGs of their codes, as contests want them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from mapmend.core.classes import NODATA
from mapmend.core.durable import replace_file
from mapmend.core.errors import RasterError
from mapmend.raster.opening import handle, raster_faults, raster_info

_MOST_PIXELS = 2**28  # a PNG is one piece, and is held in memory


def write_class_png(raster: Path, path: Path, *, nothing: int = 0) -> None:
    """Write a class raster as an 8-bit PNG of one band, its ids as they are.

    Args:
        raster: uint8 ids, nodata 255.
        path: the PNG; one that exists is replaced.
        nothing: the code of what has no class.

    Raises:
        RasterError: the raster cannot be read, or is too large for a PNG.
    """
    grid = raster_info(str(raster)).grid
    if int(grid.shape[0]) * int(grid.shape[1]) > _MOST_PIXELS:
        raise RasterError("is too large for a PNG", where=raster, fix="use the GeoTIFF")
    with raster_faults(str(raster)):
        ids = handle(str(raster)).read(1)
    content = io.BytesIO()
    Image.fromarray(np.where(ids == NODATA, nothing, ids).astype(np.uint8)).save(content, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content.getvalue())
