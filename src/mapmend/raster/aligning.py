"""Windows of a layer brought onto a target grid.

A layer on the target grid, or shifted on it by whole pixels, is only cut. Any other is warped in tiles of a lattice
anchored at the target grid's origin, each a function of layer and tile alone: what a window returns does not depend
on which window asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject

from mapmend.core.errors import GridError
from mapmend.core.grid import Window, full_window
from mapmend.raster.opening import raster_faults
from mapmend.raster.placement import Placement, gdal_crs, to_pixels

Bool = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]  # of whatever type the layer stores
ReadWindow = Callable[[Window], tuple[Array, Bool]]
"""Reads a window that lies inside a layer: pixels C×H×W and validity H×W."""

_TILE = 256  # pixels; warped tiles lie on this lattice of the target grid
_MOST_SOURCE = 2**24  # source values (pixels × bands) read for one piece of a tile
_MARGIN = 3  # source pixels around a piece: a bilinear kernel has radius 1, GDAL is exact to an eighth of a pixel
_STRONG = 2  # from this many source pixels per target pixel on, an image is averaged over the target pixel


def read_onto(
    read: ReadWindow, placement: Placement, window: Window, resampling: str, count: int, dtype: npt.DTypeLike
) -> tuple[Array, Bool]:
    """A window of the target grid, filled from a layer.

    Args:
        read: reads windows of the layer.
        placement: of the layer on the target grid.
        window: on the target grid; may reach outside, where nothing is valid.
        resampling: nearest, bilinear or average for measurements, nearest or mode for codes.
        count: number of bands that `read` returns.
        dtype: type that `read` returns.

    Returns:
        Pixels C×H×W, 0 where invalid, and validity H×W.
    """
    pixels, valid = np.zeros((count, window.height, window.width), dtype), np.zeros((window.height, window.width), bool)
    inside = window.intersect(full_window(placement.onto))
    for piece in [] if inside is None else _pieces(placement, inside):
        values, good = (
            _warp(read, placement, piece, resampling, count)
            if placement.shift is None
            else _cut(read, placement, piece)
        )
        shared = piece.intersect(window)
        if values is None or good is None or shared is None:
            continue
        rows, cols = shared.shift(-piece.row, -piece.col).slices
        to_rows, to_cols = shared.shift(-window.row, -window.col).slices
        valid[to_rows, to_cols] = good[rows, cols]
        np.copyto(pixels[:, to_rows, to_cols], values[:, rows, cols], where=good[rows, cols])
    return pixels, valid


def _pieces(placement: Placement, inside: Window) -> Iterator[Window]:
    if placement.shift is not None:
        yield inside
        return
    whole = full_window(placement.onto)
    for row in range(inside.row // _TILE * _TILE, inside.row_end, _TILE):
        for col in range(inside.col // _TILE * _TILE, inside.col_end, _TILE):
            tile = Window(row, col, _TILE, _TILE).intersect(whole)
            if tile is not None:
                yield tile


def _cut(read: ReadWindow, placement: Placement, window: Window) -> tuple[Array | None, Bool | None]:
    """Pixels of a layer whose pixels coincide with the target's, or with squares of them."""
    assert placement.shift is not None
    down, across = placement.zoom
    moved = window.shift(*placement.shift)
    first = Window(moved.row // down, moved.col // across, 0, 0)
    asked = Window(first.row, first.col, -(-moved.row_end // down) - first.row, -(-moved.col_end // across) - first.col)
    held = asked.intersect(full_window(placement.layer))
    if held is None:
        return None, None
    values, good = read(held)
    if held != asked:
        top, left = held.row - asked.row, held.col - asked.col
        around = ((top, asked.row_end - held.row_end), (left, asked.col_end - held.col_end))
        values, good = np.pad(values, ((0, 0), *around)), np.pad(good, around)
    if (down, across) != (1, 1):
        values, good = (np.repeat(np.repeat(part, down, -2), across, -1) for part in (values, good))
        rows = slice(moved.row - asked.row * down, moved.row - asked.row * down + moved.height)
        cols = slice(moved.col - asked.col * across, moved.col - asked.col * across + moved.width)
        values, good = values[:, rows, cols], good[rows, cols]
    return values, good


def _warp(
    read: ReadWindow, placement: Placement, piece: Window, resampling: str, count: int
) -> tuple[Array | None, Bool | None]:
    """A piece of the target grid, warped; split further where its source would not fit in memory."""
    source = _source_window(placement, piece)
    if source is None:
        return None, None
    if source.height * source.width * count <= _MOST_SOURCE:
        return _warp_arrays(*read(source), source, placement, piece, resampling)
    if piece.height == piece.width == 1:
        raise GridError(
            "cannot be warped: one pixel of the grid spreads over the whole layer",
            where=placement.where,
            fix="keep grids off the date line and the poles, or reproject the layer first",
        )
    values: Array | None = None
    good = np.zeros((piece.height, piece.width), bool)
    for part in _quarters(piece):
        part_values, part_good = _warp(read, placement, part, resampling, count)
        if part_values is None or part_good is None:
            continue
        if values is None:
            values = np.zeros((len(part_values), piece.height, piece.width), part_values.dtype)
        rows, cols = part.shift(-piece.row, -piece.col).slices
        values[:, rows, cols], good[rows, cols] = part_values, part_good
    return values, good


def _warp_arrays(
    values: Array, good: Bool, source: Window, placement: Placement, piece: Window, resampling: str
) -> tuple[Array, Bool]:
    """GDAL's warp with invalid pixels taken out of every kernel.

    Measurements go through float32 with NaN for invalid, so that all values of an 8-bit type stay usable. A target
    pixel is valid where its centre falls on a valid pixel, and where several are averaged if half of them are valid.
    """
    if resampling == "bilinear" and placement.ratio >= _STRONG:
        resampling = "average"
    if resampling == "mode" and placement.ratio <= 1:
        resampling = "nearest"
    by_share = "average" if resampling in ("average", "mode") else "nearest"
    share = _reproject(good[None].astype(np.float32), source, placement, piece, by_share, None)
    valid = share[0] >= 0.5
    plain = np.where(good, values, np.nan).astype(np.float32)
    warped = _reproject(plain, source, placement, piece, resampling, math.nan)
    valid &= np.isfinite(warped).all(axis=0)
    warped = np.where(valid, warped, 0)
    if np.issubdtype(values.dtype, np.integer):
        limits = np.iinfo(values.dtype)
        warped = np.clip(np.rint(warped), limits.min, limits.max)
    return warped.astype(values.dtype), valid


def _reproject(
    array: npt.NDArray[np.float32],
    source: Window,
    placement: Placement,
    piece: Window,
    resampling: str,
    nodata: float | None,
) -> npt.NDArray[np.float32]:
    target = np.full((len(array), piece.height, piece.width), 0 if nodata is None else nodata, np.float32)
    with raster_faults(placement.where, "cannot be warped"):
        reproject(
            array,
            target,
            src_transform=placement.layer.transform @ Affine.translation(source.col, source.row),
            src_crs=gdal_crs(placement.layer),
            src_nodata=nodata,
            dst_transform=placement.onto.transform @ Affine.translation(piece.col, piece.row),
            dst_crs=gdal_crs(placement.onto),
            dst_nodata=nodata,
            resampling=Resampling[resampling],
            # GDAL would widen a bilinear kernel by a factor it estimates from each tile, so that tiles might differ
            **({"XSCALE": 1, "YSCALE": 1} if resampling == "bilinear" else {}),
        )
    return target


def _source_window(placement: Placement, piece: Window) -> Window | None:
    """The layer's pixels that a piece of the target grid needs, kernels included; None where there are none."""
    cols, rows = (
        grid.ravel()
        for grid in np.meshgrid(
            np.linspace(piece.col, piece.col_end, 17), np.linspace(piece.row, piece.row_end, 17), indexing="xy"
        )
    )
    cols, rows = to_pixels(placement.onto, placement.layer, cols, rows)
    finite = np.isfinite(cols) & np.isfinite(rows)
    if not finite.any():
        return None
    top, left = (math.floor(axis[finite].min()) - _MARGIN for axis in (rows, cols))
    bottom, right = (math.ceil(axis[finite].max()) + _MARGIN for axis in (rows, cols))
    return Window(top, left, bottom - top, right - left).intersect(full_window(placement.layer))


def _quarters(piece: Window) -> list[Window]:
    height, width = max(1, -(-piece.height // 2)), max(1, -(-piece.width // 2))
    corners = [(row, col) for row in (0, height) for col in (0, width)]
    parts = [Window(piece.row + row, piece.col + col, height, width).intersect(piece) for row, col in corners]
    return [part for part in parts if part is not None]
