"""Parts of a GeoTIFF that were never written: they are told from the file's directory, without reading a pixel."""

from __future__ import annotations

from mapmend.core.grid import Window
from mapmend.raster.opening import handle, raster_faults

_MOST_BLOCKS = 2**14  # looked up for one window; beyond, reading is as quick


def never_written(path: str, window: Window, bands: tuple[int, ...]) -> bool:
    """Whether no block of a window was written, in any of the bands; False where the format does not say.

    GDAL reads such blocks as the nodata value, or as 0 where the file has none.

    Args:
        path: the file.
        window: inside it, in its own pixels.
        bands: counted from 1.

    Raises:
        RasterError: the file cannot be read.
    """
    with raster_faults(path):
        dataset = handle(path)
        if dataset.driver != "GTiff":
            return False
        height, width = dataset.block_shapes[0]
        rows = range(window.row // height, (window.row_end - 1) // height + 1)
        cols = range(window.col // width, (window.col_end - 1) // width + 1)
        together = dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL"
        if len(rows) * len(cols) > _MOST_BLOCKS:
            return False
        return not any(
            dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
            for band in (bands[:1] if together else bands)
            for row in rows
            for col in cols
        )
