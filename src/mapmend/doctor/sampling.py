"""A few windows of a raster, spread over it: enough to see what it holds, however large it is."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod

import numpy as np
from rasterio.windows import Window as RasterioWindow

from mapmend.core.grid import Grid, Window, full_window
from mapmend.raster.opening import RasterInfo, handle, raster_faults

_SIDE = 128
_LATTICE = 4  # windows along each axis
_MOST_VALUES = 2**22  # pixels × bands of a sample


def spread(grid: Grid, side: int = _SIDE, along: int = _LATTICE) -> Iterator[Window]:
    """At most `along`² windows of at most `side`², evenly spread; they cover a small grid whole."""
    height, width = (int(n) for n in grid.shape)
    for row in _starts(height, side, along):
        for col in _starts(width, side, along):
            yield Window(row, col, min(side, height - row), min(side, width - col))


def sample(info: RasterInfo) -> np.ndarray:
    """Pixels C×N of windows spread over a raster, in its own type, valid or not; of a small one all its pixels.

    Raises:
        RasterError: the file cannot be read.
    """
    if _is_small(info):
        return read(info, full_window(info.grid)).reshape(info.count, -1)
    side = _SIDE
    while info.count * side**2 * _LATTICE**2 > _MOST_VALUES and side > 8:
        side //= 2
    return np.concatenate([read(info, window).reshape(info.count, -1) for window in spread(info.grid, side)], axis=1)


def corners(info: RasterInfo, side: int = 16) -> list[np.ndarray]:
    """The four corners of a raster, each C×side×side.

    Raises:
        RasterError: the file cannot be read.
    """
    height, width = (int(n) for n in info.grid.shape)
    tall, wide = min(side, height), min(side, width)
    if _is_small(info):
        whole = read(info, full_window(info.grid))
        return [whole[:, rows, cols] for rows in np.s_[:tall, -tall:] for cols in np.s_[:wide, -wide:]]
    places = [(row, col) for row in (0, height - tall) for col in (0, width - wide)]
    return [read(info, Window(row, col, tall, wide)) for row, col in places]


def read(info: RasterInfo, window: Window) -> np.ndarray:
    """All bands of a window inside a raster.

    Raises:
        RasterError: the file cannot be read.
    """
    with raster_faults(info.path):
        data: np.ndarray = handle(info.path).read(
            window=RasterioWindow(window.col, window.row, window.width, window.height)
        )
    return data


def missing(info: RasterInfo, pixels: np.ndarray) -> np.ndarray:
    """Which pixels of C×N have the file's nodata value, or no number, in all bands."""
    gone = np.ones(pixels.shape[1:], bool)
    for band, nodata in zip(pixels, info.nodata, strict=True):
        absent = ~np.isfinite(band) if band.dtype.kind == "f" else np.zeros(band.shape, bool)
        gone &= absent | (band == nodata) if nodata is not None else absent
    return gone


def _is_small(info: RasterInfo) -> bool:
    """Whether it costs less to read all of it than parts: files without blocks are decoded from their start."""
    return info.count * prod(int(n) for n in info.grid.shape) <= _MOST_VALUES // 4


def _starts(size: int, side: int, along: int) -> list[int]:
    number = min(along, ceil(size / side))
    if number * side >= size:
        return list(range(0, size, side))
    return [int(start) for start in np.linspace(0, size - side, number)]
