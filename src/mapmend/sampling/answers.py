"""What the first round's interpreters found, by stratum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.allocation import smoothed_shares
from mapmend.accuracy.design import SampleDesign
from mapmend.core.classes import Legend
from mapmend.core.errors import LegendError, SampleError
from mapmend.core.grid import Grid, full_window
from mapmend.sampling.files import SampleTable
from mapmend.sampling.frame import Frame, Units
from mapmend.sampling.population import Population
from mapmend.sampling.settings import ACCURACY

Floats = npt.NDArray[np.float64]

_AS_DRAWN = "give the files of all rounds, with all of their points, as they were drawn"


@dataclass(frozen=True)
class FirstRound:
    """Points that were drawn, and what is known of the strata.

    Attributes:
        units: of the points.
        last_id: the highest.
        right: H, share that is mapped rightly, smoothed.
        aims: of each name, H shares that truly are of it, smoothed.
        answered: points with a reference.
    """

    units: Units
    last_id: int
    right: Floats
    aims: Mapping[str, Floats]
    answered: int


def first_round(
    table: SampleTable, design: SampleDesign, frame: Frame, grid: Grid, population: Population, aims: Sequence[str]
) -> FirstRound:
    """Take in filled samples.

    Args:
        table: rows of the sample files.
        design: of the rounds so far.
        frame: of the map, in the design's strata.
        grid: of the map.
        population: of the map.
        aims: names of classes, see `Population.codes_of`.

    Raises:
        SampleError: points that are missing, too many, or not where they were drawn; or none with a reference.
        LegendError: a reference that is no class.
    """
    _, first = np.unique(table.ids, return_index=True)
    units = frame.at(*_places(table, grid, first))
    _check_drawn(table, design, units, first)
    codes = _codes(table, population.source.legend, two_dates=population.source.two_dates)
    known = codes >= 0
    if not known.any():
        raise SampleError("no point has a reference", where=table.places[0], fix="give the filled sample")
    point = np.searchsorted(table.ids[first], table.ids[known])
    weight = 1 / np.bincount(point)[point]  # interpreters of one point share it
    stratum, number = units.strata[point], len(frame.rule.names)
    tried = np.bincount(stratum, weight, number)
    sets = {name: population.codes_of(name) for name in aims if name != ACCURACY}
    is_right = codes[known] == units.codes[point]
    hits = {name: np.isin(codes[known], list(members)) for name, members in sets.items()}

    def shares(hit: npt.NDArray[np.bool_]) -> Floats:
        return smoothed_shares(np.bincount(stratum, weight * hit, number), tried)

    aimed = {name: shares(hit) for name, hit in hits.items()}
    return FirstRound(units, int(table.ids.max()), shares(is_right), aimed, int(np.unique(point).size))


def _places(
    table: SampleTable, grid: Grid, first: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the points."""
    if table.rows is not None and table.cols is not None:
        rows, cols = table.rows[first], table.cols[first]
    else:
        assert table.x is not None and table.y is not None
        back, x, y = ~grid.transform, table.x[first], table.y[first]
        cols = np.floor(back.a * x + back.b * y + back.c).astype(np.int64)
        rows = np.floor(back.d * x + back.e * y + back.f).astype(np.int64)
    whole = full_window(grid)
    outside = np.flatnonzero((rows < 0) | (cols < 0) | (rows >= whole.height) | (cols >= whole.width))
    if len(outside):
        raise SampleError("lies outside the map", where=table.places[first[outside[0]]], fix=_AS_DRAWN)
    return rows, cols


def _check_drawn(table: SampleTable, design: SampleDesign, units: Units, first: npt.NDArray[np.intp]) -> None:
    names = [one.name for one in design.strata]
    assert table.strata is not None
    for at, stratum in zip(first.tolist(), units.strata.tolist(), strict=True):
        here = names[stratum] if stratum >= 0 else "none"
        if table.strata[at] != here:
            raise SampleError(
                f"is said to be in the stratum '{table.strata[at]}', and the map has '{here}' there",
                where=table.places[at],
                fix=_AS_DRAWN,
            )
    counts = np.bincount(units.strata, minlength=len(names)).tolist()
    for one, number in zip(design.strata, counts, strict=True):
        if one.samples != number:
            raise SampleError(
                f"hold {number} points of stratum '{one.name}', of which {one.samples} were drawn",
                where="the sample files",
                fix=_AS_DRAWN,
            )


def _codes(table: SampleTable, legend: Legend, *, two_dates: bool) -> npt.NDArray[np.int64]:
    """The code that a map without errors would have; −1 where there is no answer."""
    later = [_index(text, legend, place) for text, place in zip(table.references, table.places, strict=True)]
    if not two_dates:
        return np.array([-1 if index is None else legend.ids[index] for index in later])
    earlier_texts = table.references_before or ("",) * len(table)
    earlier = [_index(text, legend, place) for text, place in zip(earlier_texts, table.places, strict=True)]
    return np.array(
        [-1 if i is None or j is None else i * len(legend) + j for i, j in zip(earlier, later, strict=True)]
    )


def _index(text: str, legend: Legend, place: str) -> int | None:
    if not text:
        return None
    try:
        return legend.index_of(text)
    except LegendError as fault:
        raise LegendError(f"reference '{text}' is no class", where=place, fix=fault.fix) from None
