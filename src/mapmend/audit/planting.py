"""Errors planted into held-out labels: what wrong parts look like to a model that has not seen the label."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.audit.measuring import SUMS, View, measure, moved_back
from mapmend.audit.table import Collector, Parts, joined
from mapmend.core.legend import NODATA, Legend
from mapmend.data.noise import Injector, inject, make_injector

_MOST = 0.5  # share of a planted part's pixels that must have been changed
_ROUNDS = 3  # plantings of each kind into each tile


@dataclass(frozen=True)
class Kind:
    """A kind of error that is planted; without an injector, what a known shift has made wrong of the label as it is."""

    name: str
    injector: Injector | None


def kinds_for(found: Sequence[str], cell: float | None) -> tuple[Kind, ...]:
    """What is planted: wrong and missing objects always; what a shift makes wrong where one was found, or large pixels.

    Wrong and missing objects are what any label may have. A rate of a tenth leaves most of the label as it is, so that
    planted objects have the neighbours that wrong ones have. Large pixels that lie off are known by that better than
    by large pixels planted into them.

    Args:
        found: kinds of noise that the label shows.
        cell: side of its large pixels, in pixels.
    """
    kinds = [
        Kind("swap", make_injector("swap", {"rate": 0.1})),
        Kind("missing", make_injector("missing", {"rate": 0.1})),
    ]
    if "shifted" in found:
        kinds.append(Kind("shifted", None))
    elif "coarse" in found and cell is not None:
        kinds.append(Kind("coarse", make_injector("coarse", {"block": max(2, round(cell)), "misplaced": False})))
    return tuple(kinds)


def plant(
    tiles: Sequence[View], legend: Legend, kinds: Sequence[Kind], least: int, shift: tuple[int, int], seed: int
) -> dict[str, list[tuple[Parts, npt.NDArray[np.bool_]]]]:
    """Plant errors into copies of tiles; by kind, for each planting the copies' parts and which of them are planted.

    Args:
        tiles: labels with their held-out probabilities, without a halo.
        legend: of both.
        kinds: of errors.
        least: pixels of the smallest part.
        shift: (down, right) as of `measure`.
        seed: of the plantings.
    """

    def table_of(kind: Kind, number: int) -> tuple[Parts, npt.NDArray[np.bool_]]:
        seeds = [zlib.crc32(f"{seed} {number} {kind.name} {place}".encode()) for place in range(len(tiles))]
        views = [_planted(tile, kind, len(legend), shift, own) for tile, own in zip(tiles, seeds, strict=True)]
        table = joined([tile_parts(view, legend, least, shift) for view in views])
        return table, table.sums[SUMS.index("marked")] > _MOST * table.pixels

    return {
        kind.name: [table_of(kind, number) for number in range(1 if kind.injector is None else _ROUNDS)]
        for kind in kinds
    }


def _planted(tile: View, kind: Kind, classes: int, shift: tuple[int, int], seed: int) -> View:
    """A tile with errors of a kind, which are marked."""
    label = np.where(tile.probabilities[0] == NODATA, np.uint8(NODATA), tile.label)
    if kind.injector is not None:
        made = inject(label, kind.injector, classes=classes, seed=seed)
        return View(made.label, tile.probabilities, tile.earlier, marked=made.changed)
    back = moved_back(label, shift, tuple(np.indices(label.shape)))
    return View(label, tile.probabilities, tile.earlier, marked=(back != label) & (back != NODATA) & (label != NODATA))


def tile_parts(tile: View, legend: Legend, least: int, shift: tuple[int, int]) -> Parts:
    """The table of one tile, as if it were all there is."""
    collector = Collector(0, len(legend), least)
    rows, cols = tile.own
    collector.add(measure(tile, legend, np.ones(tile.label[rows, cols].shape), shift), 0)
    return collector.finish()[0]
