"""The label's own pixels on a site's finer grid: in which of them a pixel lies, and what the product says there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mapmend.core.classes import NODATA
from mapmend.core.grid import COARSER, Grid, Window, ground_pixel_size
from mapmend.raster.placement import to_pixels
from mapmend.raster.writing import TiledWriter


class LabelPixels:
    """Numbers the label's own pixels, window by window.

    Args:
        grid: of the site.
        own: the label's grid, where its file shows it.
        gsd: the label's pixel size in metres, where only that is known: squares that begin at the site's corner.
    """

    def __init__(self, grid: Grid, own: Grid | None, gsd: float | None) -> None:
        self._grid, self._own, self._gsd = grid, own, gsd

    def read(self, window: Window) -> np.ndarray:
        """For each pixel H×W int32 of a window the number of its label pixel, from 0; -1 where nobody knows."""
        down, right = (
            np.arange(first, first + size) + 0.5
            for first, size in ((window.row, window.height), (window.col, window.width))
        )
        if self._own is not None and self._own.crs is not None and self._grid.crs is not None:
            # over a window a change of projection is as good as affine: three corners tell it
            corner, side, below = ((window.col, window.row), (window.col_end, window.row), (window.col, window.row_end))
            cols, rows = to_pixels(self._grid, self._own, *np.array([corner, side, below], np.float64).T)
            along, across = (right - window.col) / window.width, (down - window.row)[:, None] / window.height
            row = rows[0] + (rows[1] - rows[0]) * along + (rows[2] - rows[0]) * across
            col = cols[0] + (cols[1] - cols[0]) * along + (cols[2] - cols[0]) * across
        else:
            ratio = self._ratio()
            if ratio is None:
                return np.full((window.height, window.width), -1, np.int32)
            row, col = np.broadcast_arrays((down * ratio[0])[:, None], right * ratio[1])
        if not (np.isfinite(row).all() and np.isfinite(col).all()):
            return np.full((window.height, window.width), -1, np.int32)
        row, col = np.floor(row).astype(np.int64), np.floor(col).astype(np.int64)
        row, col = row - row.min(), col - col.min()
        numbers: np.ndarray = (row * (col.max() + 1) + col).astype(np.int32)
        return numbers

    def _ratio(self) -> tuple[float, float] | None:
        """Label pixels per pixel of the grid, down and across."""
        if self._own is not None:  # without a CRS, it covers the whole grid
            (height, width), (rows, cols) = self._grid.shape, self._own.shape
            return int(rows) / int(height), int(cols) / int(width)
        if self._gsd is None:
            return None
        across, down = ground_pixel_size(self._grid)
        return down / self._gsd, across / self._gsd


def own_grid(label: Grid, grid: Grid, told: float | None) -> Grid | None:
    """The label's grid if its pixels are the label's own ones, and None if they are not.

    Args:
        label: grid of the label's file.
        grid: of the site.
        told: the label's pixel size in metres as the manifest has it; a file that was resampled since shows another.
    """
    if label.crs is not None and grid.crs is not None:
        size, fine = max(ground_pixel_size(label)), max(ground_pixel_size(grid))
        if told is not None and not 1 / COARSER < size / told < COARSER:
            return None
        return label if size > COARSER * fine else None
    return label if int(grid.shape[0]) > COARSER * int(label.shape[0]) else None


def write_rows(path: Path, grid: Grid, windows: Sequence[Window], reader: object) -> None:
    """Write which row of `share_rows` holds at each pixel, uint8, 255 = none; `reader` as of `row_crosswalk`."""
    with TiledWriter(path, grid, 1, "uint8", nodata=NODATA) as out:
        for window in windows:
            out.write(window, reader.read(window))  # type: ignore[attr-defined]
