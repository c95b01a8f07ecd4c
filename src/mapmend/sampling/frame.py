"""The sampling frame: every pixel of a map, numbered within its stratum; and the second pass, which finds the few.

The second pass reads only the cells that hold a unit that is asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mapmend.core.grid import Window
from mapmend.sampling.counting import CELL, Lattice, Tally, UnitArea, keys_of
from mapmend.sampling.inputs import MapReader
from mapmend.sampling.strata import StrataRule
from mapmend.sampling.threads import in_threads

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_KEYS = 2**16  # of codes of 8 bits

_Pick = Callable[[Ints, npt.NDArray[np.int16], Window], Ints]
"""From the numbers of units, the strata of a cell's pixels and its window to the units' places in the flat cell."""


@dataclass(frozen=True)
class Units:
    """Pixels of a map; arrays of n.

    Attributes:
        rows: of the grid.
        cols: of the grid.
        strata: their numbers; −1 where nothing can be drawn.
        codes: in the map.
        areas: in hectares.
    """

    rows: Ints
    cols: Ints
    strata: Ints
    codes: Ints
    areas: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, at: Ints) -> Units:
        """Those at these places."""
        return Units(self.rows[at], self.cols[at], self.strata[at], self.codes[at], self.areas[at])


class Frame:
    """The pixels of a map, numbered within their strata cell by cell and, in a cell, row by row.

    Args:
        reader: of the map.
        area: of its units.
        rule: which makes the strata.
        tally: of the map.

    Attributes:
        lattice: of the cells.
        pixels: of each stratum.
        areas_ha: of each stratum.
    """

    def __init__(self, reader: MapReader, area: UnitArea, rule: StrataRule, tally: Tally) -> None:
        self.area, self.rule, self.lattice = area, rule, Lattice.of(reader.grid)
        self._reader, table = reader, rule.table()
        beyond = np.full(max(0, _KEYS - len(table)), -1, np.int16)
        self._table = np.concatenate([table, beyond])  # codes of 8 bits need no check of their range
        strata = self._strata(tally.keys)
        self._ends = np.cumsum(tally.by_cell(strata, len(rule.names)), axis=1)
        self.pixels: Ints = self._ends[:, -1]
        sums = np.bincount(strata[strata >= 0], tally.areas[strata >= 0], len(rule.names))
        self.areas_ha: Floats = sums.astype(np.float64)

    def find(self, strata: Ints, ranks: Ints) -> Units:
        """The units with these numbers, from 0, in these strata, in the order given.

        Raises:
            RasterError: the map cannot be read.
        """
        cells, within = np.empty_like(ranks), np.empty_like(ranks)
        for stratum in np.unique(strata):
            here, ends = strata == stratum, self._ends[stratum]
            cells[here] = np.searchsorted(ends, ranks[here], side="right")
            within[here] = ranks[here] - np.concatenate([[0], ends])[cells[here]]

        def pick(at: Ints, found: npt.NDArray[np.int16], _: Window) -> Ints:
            flat = np.empty_like(at)
            for stratum in np.unique(strata[at]):
                here = strata[at] == stratum
                flat[here] = np.flatnonzero(found == stratum)[within[at[here]]]
            return flat

        return self._read(cells, pick)

    def at(self, rows: Ints, cols: Ints) -> Units:
        """The units at these places inside the grid, in the order given.

        Raises:
            RasterError: the map cannot be read.
        """

        def pick(at: Ints, _: npt.NDArray[np.int16], window: Window) -> Ints:
            return (rows[at] - window.row) * window.width + cols[at] - window.col

        return self._read(rows // CELL * self.lattice.across + cols // CELL, pick)

    def _strata(self, keys: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
        if keys.dtype != np.uint16:
            keys = np.minimum(keys, len(self._table) - 1)
        return np.take(self._table, keys)

    def _read(self, cells: Ints, pick: _Pick) -> Units:
        rows, cols, strata, codes = (np.empty(len(cells), np.int64) for _ in range(4))
        units = Units(rows, cols, strata, codes, np.empty(len(cells)))

        def task(numbers: list[Ints]) -> None:
            for at in numbers:
                window = self.lattice.window(int(cells[at[0]]))
                keys = keys_of(self._reader.codes(window), self._reader.steps(window)).ravel()
                found = self._strata(keys)
                flat = pick(at, found, window)
                rows[at], cols[at] = window.row + flat // window.width, window.col + flat % window.width
                strata[at], codes[at] = found[flat], keys[flat] >> 8
                units.areas[at] = self.area.of(window).ravel()[flat] if self.area.weighted else self.area.middle(window)

        in_threads(task, self._by_row(cells))
        return units

    def _by_row(self, cells: Ints) -> list[list[Ints]]:
        """Numbers of the units in each cell, the cells of a row together: a thread decodes a row's blocks once."""
        order = np.argsort(cells, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(cells[order])) + 1) if len(order) else []
        rows = itertools.groupby(groups, key=lambda at: int(cells[at[0]]) // self.lattice.across)
        return [list(members) for _, members in rows]
