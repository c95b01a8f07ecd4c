"""The first pass over a map: how many pixels of each kind lie in each cell of a lattice on its grid.

Cells are anchored at the grid's origin, so that what is counted, and in which order, does not depend on how the file
is stored or on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mapmend.core.errors import GridError, RasterError
from mapmend.core.grid import Grid, PixelArea, Window, full_window
from mapmend.sampling.inputs import Bytes, Codes, MapReader
from mapmend.sampling.threads import in_threads

CELL = 512
UNKNOWN = 255
"""The step of a pixel whose probability is not known."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MOST_READ = 2**24  # pixels read at a time by each thread
_MOST_ROWS = 4096
_PROBES = 16  # along the longer side, where areas are compared
_EVEN = 0.01  # pixels of a projected grid that differ by less are units of one size


@dataclass(frozen=True)
class Lattice:
    """Squares of 512² pixels that cover a grid, numbered row by row."""

    height: int
    width: int

    @classmethod
    def of(cls, grid: Grid) -> Lattice:
        """The lattice on a grid."""
        return cls(int(grid.shape[0]), int(grid.shape[1]))

    @property
    def across(self) -> int:
        """Cells in a row."""
        return -(-self.width // CELL)

    @property
    def count(self) -> int:
        """Cells in all."""
        return -(-self.height // CELL) * self.across

    def window(self, cell: int) -> Window:
        """Where a cell lies; those at the right and lower edge are cut off there."""
        row, col = cell // self.across * CELL, cell % self.across * CELL
        return Window(row, col, min(CELL, self.height - row), min(CELL, self.width - col))

    def cells(self, window: Window) -> Iterator[int]:
        """The cells that a window touches."""
        for row in range(window.row // CELL, -(-window.row_end // CELL)):
            for col in range(window.col // CELL, -(-window.col_end // CELL)):
                yield row * self.across + col


class UnitArea:
    """The area of the units, in hectares.

    On a grid in degrees, or one whose pixels differ by more than 1 %, units count by their area; elsewhere they are of
    one size, and a cell's pixels have the area of the one in its middle.

    Args:
        grid: of the map.
        pixel_area_ha: area of a pixel where the grid has no CRS.

    Attributes:
        weighted: whether units count by their area.
        largest: area of the largest.

    Raises:
        GridError: areas are unknown, or are given where they are known.
    """

    def __init__(self, grid: Grid, pixel_area_ha: float | None = None) -> None:
        if grid.crs is None and pixel_area_ha is None:
            raise GridError("the map has no CRS: the area of its pixels is unknown", fix="give --pixel-area-ha")
        if grid.crs is not None and pixel_area_ha is not None:
            raise GridError("the map's CRS tells the area of its pixels", fix="leave --pixel-area-ha out")
        if pixel_area_ha is not None and not 0 < pixel_area_ha < float("inf"):
            raise GridError(f"a pixel of {pixel_area_ha:g} ha", fix="give a positive area")
        self._scale = pixel_area_ha if pixel_area_ha is not None else 1.0
        self._area, whole = PixelArea(grid), full_window(grid)
        self._by_row = grid.crs is not None and grid.crs.geographic and not grid.transform.b and not grid.transform.d
        step = max(1, max(whole.height, whole.width) // _PROBES)
        probes = [
            self._area.of(Window(row, col, 1, 1))[0, 0]
            for row in {*range(0, whole.height, step), whole.height - 1}
            for col in ({0} if self._by_row else {*range(0, whole.width, step), whole.width - 1})
        ]
        self.largest = max(probes) * self._scale
        self.weighted = grid.crs is not None and (bool(grid.crs.geographic) or self.largest > min(probes) * (1 + _EVEN))
        if self.weighted:
            self.largest *= 1 + _EVEN  # the largest may lie between the probes

    def of(self, window: Window) -> Floats:
        """Areas of a window's pixels, H×W."""
        if self._by_row:
            column = self._area.of(Window(window.row, window.col, window.height, 1)) * self._scale
            return np.broadcast_to(column, (window.height, window.width))
        return self._area.of(window) * self._scale

    def middle(self, window: Window) -> float:
        """Area of the pixel in the middle of a window."""
        at = Window(window.row + window.height // 2, window.col + window.width // 2, 1, 1)
        return float(self._area.of(at)[0, 0]) * self._scale


@dataclass(frozen=True)
class Tally:
    """What occurs in each cell. A key is code · 256 + step, with the step UNKNOWN where there are no probabilities.

    Attributes:
        starts: C + 1, where each cell's entries start.
        keys: of the entries, increasing within a cell.
        counts: pixels with this key in the cell.
        areas: their area in hectares.
    """

    starts: Ints
    keys: npt.NDArray[np.uint32]
    counts: npt.NDArray[np.uint32]
    areas: Floats

    def totals(self) -> tuple[Ints, Ints, Floats]:
        """Keys that occur, increasing, with their pixels and area in the whole map."""
        keys, place = np.unique(self.keys, return_inverse=True)
        pixels = np.bincount(place, self.counts.astype(np.float64), len(keys))
        areas = np.bincount(place, self.areas, len(keys)).astype(np.float64)
        return keys.astype(np.int64), np.rint(pixels).astype(np.int64), areas

    def by_cell(self, strata: npt.NDArray[np.int16], number: int) -> Ints:
        """Pixels of each stratum in each cell, H×C.

        Args:
            strata: number of the stratum of each entry, −1 for none.
            number: H.
        """
        counts = np.zeros((number, len(self.starts) - 1), np.int64)
        cells = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        drawn = strata >= 0
        np.add.at(counts, (strata[drawn], cells[drawn]), self.counts[drawn].astype(np.int64))
        return counts


def count(reader: MapReader, area: UnitArea, *, on_pixels: Callable[[int], None] = lambda _: None) -> Tally:
    """Count a map, in memory that grows with its cells alone.

    Args:
        reader: of the map.
        area: of its units.
        on_pixels: called with the number of pixels read, again and again, from several threads.

    Raises:
        RasterError: a file cannot be read, or no pixel is valid.
    """
    lattice = Lattice.of(reader.grid)
    entries: dict[int, tuple[npt.NDArray[Any], ...]] = {}

    def task(window: Window) -> None:
        codes, steps = reader.codes(window), reader.steps(window)
        for cell in lattice.cells(window):
            place = lattice.window(cell)
            rows, cols = place.shift(-window.row, -window.col).slices
            found = _entries(codes[rows, cols], None if steps is None else steps[rows, cols], place, reader, area)
            if len(found[0]):
                entries[cell] = found
        on_pixels(window.height * window.width)

    in_threads(task, list(_reads(reader, lattice)))
    if not entries:
        raise RasterError("has no valid pixel", where=reader.path, fix="check nodata, legend and area of interest")
    lengths = np.zeros(lattice.count, np.int64)
    order = sorted(entries)
    lengths[order] = [len(entries[cell][0]) for cell in order]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    keys, counts, areas = (np.concatenate([entries[cell][part] for cell in order]) for part in range(3))
    return Tally(starts, keys, counts, areas)


def _reads(reader: MapReader, lattice: Lattice) -> Iterator[Window]:
    """Windows of whole cells for one read each, which decode as few of the file's blocks twice as can be."""
    height, width = (-(-side // CELL) * CELL for side in reader.block)
    height = min(height, _MOST_ROWS)
    width = max(CELL, _MOST_READ // height // width * width or _MOST_READ // height // CELL * CELL)
    if reader.block[1] >= lattice.width and height * lattice.width <= 4 * _MOST_READ:
        width = lattice.width  # rows are stored as a whole
    cells = reader.bounds
    top, left = cells.row // CELL * CELL, cells.col // CELL * CELL
    for row in range(top, cells.row_end, height):
        for col in range(left, cells.col_end, width):
            asked = Window(row, col, height, width).intersect(Window(0, 0, lattice.height, lattice.width))
            if asked is not None:
                yield asked


def keys_of(codes: Codes, steps: Bytes | None) -> npt.NDArray[Any]:
    """Codes · 256 + steps, the steps UNKNOWN where there are none."""
    wide: npt.NDArray[Any] = codes.astype(np.uint16 if codes.dtype == np.uint8 else np.uint32)
    np.left_shift(wide, 8, out=wide)
    np.bitwise_or(wide, UNKNOWN if steps is None else steps, out=wide)
    return wide


def _entries(
    codes: Codes, steps: Bytes | None, place: Window, reader: MapReader, area: UnitArea
) -> tuple[npt.NDArray[Any], ...]:
    """Keys, pixels and areas of a cell."""
    flat: npt.NDArray[Any] = (codes if steps is None else keys_of(codes, steps)).ravel()
    names: npt.NDArray[Any] | None = None
    if flat.dtype == np.uint32:  # too many numbers to count by: those that occur are numbered first
        names, flat = np.unique(flat, return_inverse=True)
    counts = _histogram(flat)
    areas = np.bincount(flat, area.of(place).ravel()) if area.weighted else counts * area.middle(place)
    found = np.flatnonzero(counts)
    keys = found if names is None else names[found]
    keys = keys << 8 | UNKNOWN if steps is None else keys
    drawn = keys >> 8 != reader.nodata
    return keys[drawn].astype(np.uint32), counts[found[drawn]].astype(np.uint32), areas[found[drawn]]


def _histogram(flat: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """How often each number occurs; bytes are counted two at a time, which takes half as long."""
    if flat.dtype != np.uint8 or len(flat) % 2:
        return np.bincount(flat)
    pairs = np.bincount(flat.view(np.uint16), minlength=2**16).reshape(256, 256)
    return np.asarray(pairs.sum(axis=0) + pairs.sum(axis=1))
