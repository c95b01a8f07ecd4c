"""Errors planted into held-out labels: what wrong parts look like to a model that has not seen the label."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from mapmend.audit.measuring import SUMS, View, measure
from mapmend.audit.table import Collector, Parts, joined
from mapmend.core.legend import NODATA, Legend
from mapmend.data.noise import Injector, Truth, inject, make_injector

_MOST = 0.5  # share of a planted part's pixels that must have been changed
_ROUNDS = 3  # plantings of each kind into each tile


@dataclass(frozen=True)
class Kind:
    """A kind of error that is planted, and which reason it stands for."""

    name: str
    injector: Injector


@dataclass(frozen=True)
class _Moved:
    """A label that lies a known way off, moved once more as far: moved back, it is what it was."""

    down: int
    right: int
    name: ClassVar[str] = "moved"
    measures: ClassVar[Literal["lost", "gained"]] = "lost"

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], None]:
        """What enters from outside is what lies at the edge."""
        height, width = truth.label.shape
        rows = np.clip(np.arange(height) - self.down, 0, height - 1)
        cols = np.clip(np.arange(width) - self.right, 0, width - 1)
        moved = truth.label[rows][:, cols]
        return np.where(moved == NODATA, truth.label, moved), None


def kinds_for(found: Sequence[str], cell: float | None, shift: tuple[int, int]) -> tuple[Kind, ...]:
    """What is planted: wrong and missing objects always; shifted and coarse labels where they were found.

    Wrong and missing objects are what any label may have. A rate of a tenth leaves most of the label as it is, so that
    planted objects have the neighbours that wrong ones have.

    Args:
        found: kinds of noise that the label shows.
        cell: side of its large pixels, in pixels.
        shift: (down, right) pixels by which it lies off.
    """
    kinds = [
        Kind("swap", make_injector("swap", {"rate": 0.1})),
        Kind("missing", make_injector("missing", {"rate": 0.1})),
    ]
    if "coarse" in found and cell is not None:
        kinds.append(Kind("coarse", make_injector("coarse", {"block": max(2, round(cell)), "misplaced": False})))
    if "shifted" in found and any(shift):
        kinds.append(Kind("shifted", _Moved(*shift)))
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
    plantings: dict[str, list[tuple[Parts, npt.NDArray[np.bool_]]]] = {kind.name: [] for kind in kinds}
    for number in range(_ROUNDS):
        for kind in kinds:
            tables = []
            for place, tile in enumerate(tiles):
                label = np.where(tile.probabilities[0] == NODATA, np.uint8(NODATA), tile.label)
                own = zlib.crc32(f"{seed} {number} {kind.name} {place}".encode())
                made = inject(label, kind.injector, classes=len(legend), seed=own)
                view = View(made.label, tile.probabilities, tile.earlier, marked=made.changed)
                tables.append(tile_parts(view, legend, least, shift))
            table = joined(tables)
            plantings[kind.name].append((table, table.sums[SUMS.index("marked")] > _MOST * table.pixels))
    return plantings


def tile_parts(tile: View, legend: Legend, least: int, shift: tuple[int, int]) -> Parts:
    """The table of one tile, as if it were all there is."""
    collector = Collector(0, len(legend), least)
    rows, cols = tile.own
    collector.add(measure(tile, legend, np.ones(tile.label[rows, cols].shape), shift), 0)
    return collector.finish()[0]
