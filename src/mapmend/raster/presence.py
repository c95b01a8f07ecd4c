"""Labels that tell a class by presence: masks that are not 0, and features without a class attribute."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from mapmend.core.grid import Grid, Window, full_window
from mapmend.core.legend import NODATA
from mapmend.raster.aligning import Array, Bool, read_onto
from mapmend.raster.labels import read_codes
from mapmend.raster.opening import RasterInfo, raster_info
from mapmend.raster.placement import place
from mapmend.raster.safety import driver_of, local_file
from mapmend.raster.vector import VectorLabels, is_vector

_LOSSY = ("JPEG", "JP2OpenJPEG")  # around the edges of a mark, such files hold small numbers that mark nothing


class PresenceReader:
    """Reads windows of a label given as one mask a class: where a mask marks a pixel, the pixel has its class.

    A raster marks what is not 0 (in a JPEG: at least half of 255), a vector file what its features cover. A pixel
    that two masks mark has no label; neither has one that a mask does not know (nodata), unless another marks it.

    Args:
        masks: (id, file) of each class.
        rest: id of the pixels that no mask marks, or NODATA.
        grid: the grid to read on.
        mode: whether rasters on other grids are resampled by mode instead of nearest neighbour.

    Attributes:
        grid: the grid that windows refer to.
        conflicts: pixels read so far that two masks mark.

    Raises:
        GridError: a file lies elsewhere, or lacks a CRS where one is needed.
        RasterError, VectorError: a file cannot be opened.
    """

    def __init__(self, masks: Sequence[tuple[int, str]], rest: int, grid: Grid, *, mode: bool = False) -> None:
        self.grid, self.conflicts = grid, 0
        self._rest, self._ids = rest, [id_ for id_, _ in masks]
        self._masks = [
            VectorLabels(path, grid, None)
            if is_vector(path)
            else _RasterMask(path, grid, "mode" if mode else "nearest")
            for _, path in masks
        ]

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        """Ids H×W of a window, which may reach outside the grid; NODATA where there is no label.

        Raises:
            RasterError, VectorError: a file cannot be read.
        """
        ids = np.full((window.height, window.width), NODATA, np.uint8)
        marks = np.zeros(ids.shape, np.uint8)
        known = np.zeros(ids.shape, bool)
        inside = window.intersect(full_window(self.grid))
        if inside is not None:
            known[inside.shift(-window.row, -window.col).slices] = True
        for id_, mask in zip(self._ids, self._masks, strict=True):
            marked = mask.read(window)
            ids[marked == 1] = id_
            marks += marked == 1
            known &= (marked != NODATA) | isinstance(mask, VectorLabels)
        ids[marks > 1] = NODATA
        self.conflicts += int((marks > 1).sum())
        ids[known & (marks == 0)] = self._rest
        return ids

    @property
    def mended(self) -> int:
        """Features read so far whose geometry was invalid and has been mended."""
        return sum(mask.mended for mask in self._masks if isinstance(mask, VectorLabels))


class _RasterMask:
    """Windows of a raster as 1 where it marks, 0 where not, NODATA where it does not know."""

    def __init__(self, path: str, grid: Grid, resampling: str) -> None:
        self._info, self._resampling = raster_info(path), resampling
        lossy = driver_of(local_file(path), allow_vrt=False) in _LOSSY or self._info.compression == "jpeg"
        self._least = 128 if lossy and self._info.dtype == "uint8" else None
        self._placement = place(self._info.grid, grid, where=path, zoomable=True)

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        read = partial(_read_marks, self._info, self._least)
        marked, known = read_onto(read, self._placement, window, self._resampling, 1, np.uint8)
        return np.where(known, marked[0], np.uint8(NODATA))


def _read_marks(info: RasterInfo, least: int | None, window: Window) -> tuple[Array, Bool]:
    data, known = read_codes(info, window)
    known &= np.isfinite(data).all(axis=0)
    marked = (data != 0 if least is None else data >= least).any(axis=0)
    return (marked & known)[None].astype(np.uint8), known
