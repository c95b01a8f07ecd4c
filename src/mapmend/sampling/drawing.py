"""Random draws.

Each stratum has an endless sequence of random places of its own, which follows from seed and name alone. A sample is
the first n different units of it, so that a larger sample holds the smaller one, and a later round goes on where an
earlier one stopped: both together are what one round of their size would have been.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from mapmend.core.errors import SampleError
from mapmend.core.grid import Grid, Window, ground_pixel_size
from mapmend.sampling.frame import Frame, Units

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_SPARE = 8  # more places than are needed on average: one look is mostly enough


def draw(frame: Frame, samples: Sequence[int], seed: int, drawn: Collection[tuple[int, int]] = ()) -> Units:
    """Different units of each stratum, with equal chances, or in proportion to their area where that differs.

    Units of different area are drawn by rejection: a place is kept with the chance area / largest area.

    Args:
        frame: of the map.
        samples: of each stratum, at most its pixels that are not drawn yet.
        seed: of the sequences.
        drawn: (row, column) of units of earlier rounds, which are not drawn again.

    Returns:
        The units, stratum by stratum.

    Raises:
        RasterError: the map cannot be read.
    """
    sequences = [_Sequence(frame, stratum, samples[stratum], seed, drawn) for stratum in range(len(samples))]
    while any(each.lacking for each in sequences):
        asked = [each.next_ranks() for each in sequences]
        strata = np.repeat(np.arange(len(samples)), [len(ranks) for ranks in asked])
        found = frame.find(strata, np.concatenate(asked))
        start = 0
        for each, ranks in zip(sequences, asked, strict=True):
            each.look(ranks, found.take(np.arange(start, start + len(ranks))))
            start += len(ranks)
    kept = [units for each in sequences for units in each.units]
    parts = ([getattr(units, name) for units in kept] for name in ("rows", "cols", "strata", "codes", "areas"))
    return Units(*map(np.concatenate, parts))


class _Sequence:
    """The random places of a stratum, as far as they have been looked at."""

    def __init__(self, frame: Frame, stratum: int, wanted: int, seed: int, drawn: Collection[tuple[int, int]]) -> None:
        self.lacking, self._pixels, self._area, self._drawn = wanted, int(frame.pixels[stratum]), frame.area, drawn
        self._random = random_of(seed, frame.rule.names[stratum])
        mean = float(frame.areas_ha[stratum]) / self._pixels
        self._chance = mean / frame.area.largest if frame.area.weighted else 1.0
        self._places: Floats = np.zeros((0, 2))
        self._past: set[int] = set()
        self._kept: list[Units] = []

    def next_ranks(self) -> Ints:
        """Numbers of the next units to look at."""
        # towards the end of a small stratum, most places are those of units that were looked at before
        free = max(1, self._pixels - len(self._past)) / self._pixels
        number = math.ceil(self.lacking / self._chance / free) + _SPARE if self.lacking else 0
        self._places = self._random.random((number, 2))
        return np.minimum((self._places[:, 0] * self._pixels).astype(np.int64), self._pixels - 1)

    def look(self, ranks: Ints, units: Units) -> None:
        """Keep the first different ones."""
        sizes = units.areas / self._area.largest if self._area.weighted else np.ones(len(units))
        kept: list[int] = []
        for at, (rank, keep) in enumerate(zip(ranks.tolist(), (self._places[:, 1] < sizes).tolist(), strict=True)):
            if len(kept) == self.lacking:
                break
            if keep and rank not in self._past:
                self._past.add(rank)
                if (int(units.rows[at]), int(units.cols[at])) not in self._drawn:
                    kept.append(at)
        self.lacking -= len(kept)
        self._kept.append(units.take(np.array(kept, np.int64)))

    @property
    def units(self) -> list[Units]:
        """Those kept."""
        return self._kept


def systematic(frame: Frame, grid: Grid, total: int, seed: int) -> Units:
    """Units on a square grid of points with a random start, about `total` of them.

    On a grid in degrees the points of a row are set apart so that each stands for the same area on the ground.

    Args:
        frame: of the map, all of it one stratum.
        grid: of the map.
        total: points wanted.
        seed: of the start.

    Raises:
        RasterError: the map cannot be read.
        SampleError: no point fell on a valid pixel.
    """
    start_row, start_col = random_of(seed, "systematic").random(2).tolist()
    width, height = ground_pixel_size(grid)
    mean = float(frame.areas_ha[0] / frame.pixels[0])
    shape = height / width if grid.crs is not None else 1.0
    between = math.sqrt(float(frame.pixels[0]) / total / shape)  # pixels from row to row, if all had the mean area
    lines = np.arange(start_row * between, frame.lattice.height, between)
    rows, cols = [], []
    for row in np.floor(lines).astype(np.int64).tolist():
        area = float(frame.area.of(Window(row, 0, 1, 1))[0, 0]) if frame.area.weighted else mean
        apart = float(frame.areas_ha[0]) / total / area / between
        line = np.floor(np.arange(start_col * apart, frame.lattice.width, apart)).astype(np.int64)
        cols.append(line)
        rows.append(np.full(len(line), row))
    found = frame.at(np.concatenate(rows), np.concatenate(cols))
    units = found.take(np.flatnonzero(found.strata >= 0))
    if not len(units):
        raise SampleError("no point of the systematic sample fell on a valid pixel", fix="ask for more points")
    return units


def random_of(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose, which no other one shares."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))
