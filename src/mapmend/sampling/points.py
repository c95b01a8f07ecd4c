"""Drawn units as the rows of a sample file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer

from mapmend.core.grid import Grid
from mapmend.sampling.drawing import random_of
from mapmend.sampling.files import COLUMNS
from mapmend.sampling.frame import Units

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_OF_PIXEL = 6  # decimals of a pixel that coordinates are written with
_DEGREES = 8  # decimals: a millimetre
_DIGITS = 12  # of probabilities: what sums of areas are good for


@dataclass(frozen=True)
class SamplePoints:
    """The rows of a sample, in the order of the file; arrays and tuples of n.

    Attributes:
        units: what was drawn.
        ids: numbers.
        strata: names.
        probabilities: of inclusion.
        x: of the pixel's centre in the map's CRS.
        y: of the pixel's centre in the map's CRS.
        longitude: degrees on WGS 84; NaN where the map has no CRS.
        latitude: degrees on WGS 84; NaN where the map has no CRS.
        round: in which they were drawn.
        references: answers known already, else empty.
        references_before: of the earlier date; None where the map has one date.
        interpreters: whose answers these are.
    """

    units: Units
    ids: Ints
    strata: tuple[str, ...]
    probabilities: Floats
    x: Floats
    y: Floats
    longitude: Floats
    latitude: Floats
    round: int
    references: tuple[str, ...]
    references_before: tuple[str, ...] | None
    interpreters: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def columns(self) -> dict[str, list[int] | list[float] | list[str]]:
        """Values by the names of the file's columns."""
        columns: dict[str, list[int] | list[float] | list[str]] = {
            "id": self.ids.tolist(),
            "stratum": list(self.strata),
            "inclusion_probability": self.probabilities.tolist(),
            "x": self.x.tolist(),
            "y": self.y.tolist(),
            "longitude": self.longitude.tolist(),
            "latitude": self.latitude.tolist(),
            "row": self.units.rows.tolist(),
            "col": self.units.cols.tolist(),
            "round": [self.round] * len(self),
            "reference": list(self.references),
            "interpreter": list(self.interpreters),
        }
        if self.references_before is not None:
            columns["reference_before"] = list(self.references_before)
        return {name: columns[name] for name in COLUMNS if name in columns}

    def csv(self) -> str:
        """The rows as CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = self.columns()
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(["" if isinstance(cell, float) and math.isnan(cell) else cell for cell in row])
        return text.getvalue()


def points_of(
    units: Units,
    names: Sequence[str],
    probabilities: Floats,
    grid: Grid,
    *,
    seed: int,
    round: int = 1,
    first_id: int = 1,
    two_dates: bool = False,
) -> SamplePoints:
    """Drawn units in random order, so that who interprets them does not see the strata one after the other.

    Args:
        units: what was drawn.
        names: of the strata.
        probabilities: of inclusion, of each unit.
        grid: of the map.
        seed: of the draw.
        round: number of the round.
        first_id: number of the first.
        two_dates: whether there will be a reference of the earlier date too.
    """
    order = random_of(seed, f"order of round {round}").permutation(len(units))
    units = units.take(order)
    x, y = coordinates(grid, units.rows, units.cols)
    longitude, latitude = _degrees(grid, x, y)
    empty = ("",) * len(units)
    return SamplePoints(
        units=units,
        ids=np.arange(first_id, first_id + len(units)),
        strata=tuple(names[stratum] for stratum in units.strata.tolist()),
        probabilities=np.array([float(f"{value:.{_DIGITS}g}") for value in probabilities[order].tolist()]),
        x=x,
        y=y,
        longitude=longitude,
        latitude=latitude,
        round=round,
        references=empty,
        references_before=empty if two_dates else None,
        interpreters=empty,
    )


def coordinates(grid: Grid, rows: Ints, cols: Ints) -> tuple[Floats, Floats]:
    """Where pixels' centres lie, x and y, to a millionth of a pixel."""
    t = grid.transform
    size = min(math.hypot(t.a, t.d), math.hypot(t.b, t.e))
    decimals = max(0, _OF_PIXEL - math.floor(math.log10(size)))
    x, y = (a * (cols + 0.5) + b * (rows + 0.5) + c for a, b, c in ((t.a, t.b, t.c), (t.d, t.e, t.f)))
    return np.round(x, decimals), np.round(y, decimals)


def _degrees(grid: Grid, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    if grid.crs is None:
        return np.full(len(x), np.nan), np.full(len(x), np.nan)
    to_degrees = Transformer.from_crs(CRS.from_wkt(grid.crs.to_wkt()), "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(x, y)
    return np.round(longitude, _DEGREES), np.round(latitude, _DEGREES)
