"""Files of sample points, as interpreters hand them back: CSV of any separator, GeoPackage, GeoJSON."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mapmend.core.errors import SampleError
from mapmend.core.plain import suggestion
from mapmend.sampling.cells import Cells, read_cells

COLUMNS = (
    "id",
    "stratum",
    "inclusion_probability",
    "x",
    "y",
    "longitude",
    "latitude",
    "row",
    "col",
    "round",
    "reference_before",
    "reference",
    "interpreter",
)
"""In the order of the file; `reference_before` only where the map is of two dates."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+)")


@dataclass(frozen=True)
class SampleTable:
    """The rows of one sample file or of several; an array or tuple per column, all of n rows.

    A column that the file lacks is None; `rounds` is then 1, `interpreters` empty, and `ids` count from 1.

    Attributes:
        places: file and row of each, for messages.
        ids: of the points; several interpreters' answers to one point share its id.
        references: class names or legend ids as they were written; empty where unanswered.
        references_before: of the earlier date.
        interpreters: who answered; empty where nobody is named.
        strata: names.
        probabilities: inclusion probabilities, above 0 and at most 1.
        x: in the map's CRS.
        y: in the map's CRS.
        longitude: degrees.
        latitude: degrees.
        rows: of the map's grid.
        cols: of the map's grid.
        rounds: in which the point was drawn.
        others: columns with other names, as text.
    """

    places: tuple[str, ...]
    ids: Ints
    references: tuple[str, ...]
    references_before: tuple[str, ...] | None
    interpreters: tuple[str, ...]
    strata: tuple[str, ...] | None
    probabilities: Floats | None
    x: Floats | None
    y: Floats | None
    longitude: Floats | None
    latitude: Floats | None
    rows: Ints | None
    cols: Ints | None
    rounds: Ints
    others: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.places)


def read_sample(path: str | Path, needed: Sequence[str] = ("id", "x", "y", "reference")) -> SampleTable:
    """The points of a file.

    A CSV's separator is comma, semicolon or tab; beside the latter two, numbers may have a decimal comma. Column names
    are read without regard to case. A vector file without columns `x` and `y` gives its points' coordinates.

    Args:
        path: a CSV file in UTF-8, with or without a byte order mark; a GeoPackage or GeoJSON.
        needed: columns that must be there.

    Raises:
        SampleError: the file cannot be read, a column is missing or there twice, a row has another number of cells, a
            number is none, or a point is there twice with the same interpreter.
    """
    return _joined([read_cells(path)], needed)


def read_samples(paths: Iterable[str | Path], needed: Sequence[str] = ("id", "x", "y", "reference")) -> SampleTable:
    """The points of several files as one table: of several interpreters, or of several rounds.

    A column that one of the files lacks is empty in its rows if it is `reference_before`, `interpreter` or one of
    no fixed meaning; any other is then left out.

    Raises:
        SampleError: as `read_sample`; or files in which the same point differs.
    """
    return _joined([read_cells(path) for path in paths], needed)


def _joined(files: Sequence[Cells], needed: Sequence[str]) -> SampleTable:
    if not files:
        raise SampleError("no sample file is given", fix="give the filled sample")
    for file in files:
        lacking = [name for name in needed if name not in file.names]
        if lacking:
            raise SampleError(
                f"has no column '{lacking[0]}'", where=file.path, fix=suggestion(lacking[0], file.names) or None
            )
    places = tuple(place for file in files for place in file.places)
    every = {name for file in files for name in file.names}
    common = {name for name in every if all(name in file.names for file in files)}

    def text(name: str) -> tuple[str, ...]:
        return tuple(
            cell for file in files for cell in (file.column(name) if name in file.names else ("",) * len(file.rows))
        )

    def numbers(name: str) -> Floats | None:
        found = list(_with_places(files, name)) if name in common else []
        if not any(cell for cell, *_ in found):
            return None  # a map without a CRS has no longitudes
        return np.array([_number(cell, name, place, comma) for cell, place, comma in found])

    def wholes(name: str) -> Ints | None:
        if name not in common:
            return None
        return np.array([_whole(cell, name, place) for cell, place, _ in _with_places(files, name)], np.int64)

    ids, rounds, probabilities = wholes("id"), wholes("round"), numbers("inclusion_probability")
    for place, value in zip(places, probabilities.tolist() if probabilities is not None else (), strict=False):
        if not 0 < value <= 1:
            raise SampleError(
                f"inclusion_probability is {value:g}", where=place, fix="give a probability above 0 and at most 1"
            )
    table = SampleTable(
        places=places,
        ids=ids if ids is not None else np.arange(1, len(places) + 1),
        references=text("reference"),
        references_before=text("reference_before") if "reference_before" in every else None,
        interpreters=text("interpreter"),
        strata=text("stratum") if "stratum" in common else None,
        probabilities=probabilities,
        x=numbers("x"),
        y=numbers("y"),
        longitude=numbers("longitude"),
        latitude=numbers("latitude"),
        rows=wholes("row"),
        cols=wholes("col"),
        rounds=rounds if rounds is not None else np.ones(len(places), np.int64),
        others={name: text(name) for name in sorted(every.difference(COLUMNS))},
    )
    _check_points(table)
    return table


def _with_places(files: Sequence[Cells], name: str) -> Iterable[tuple[str, str, bool]]:
    for file in files:
        yield from zip(file.column(name), file.places, (file.comma,) * len(file.rows), strict=True)


def _check_points(table: SampleTable) -> None:
    """Refuse a point that is there twice with the same interpreter, or whose rows differ."""
    seen: dict[tuple[int, str], int] = {}
    first: dict[int, int] = {}
    fixed = (table.strata, table.x, table.y)
    for at, (id_, interpreter) in enumerate(zip(table.ids.tolist(), table.interpreters, strict=True)):
        before = seen.setdefault((id_, interpreter.casefold()), at)
        if before != at:
            who = f"with the interpreter '{interpreter}'" if interpreter else "without an interpreter's name"
            raise SampleError(
                f"point {id_} is there a second time {who}, first in {table.places[before]}",
                where=table.places[at],
                fix="keep one row per point and interpreter, and name the interpreters",
            )
        before = first.setdefault(id_, at)
        if any(column is not None and column[before] != column[at] for column in fixed):
            raise SampleError(
                f"point {id_} lies elsewhere, or in another stratum, than in {table.places[before]}",
                where=table.places[at],
                fix="give each point an id of its own, and leave its stratum and coordinates as they were drawn",
            )


def _number(cell: str, name: str, place: str, comma: bool) -> float:
    text = _DECIMAL_COMMA.sub(r"\1.\2", cell) if comma else cell
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        said = f"'{name}' is '{cell}', no number" if cell else f"'{name}' is empty"
        raise SampleError(said, where=place, fix="leave the drawn points' columns as they were written")
    return value


def _whole(cell: str, name: str, place: str) -> int:
    value = _number(cell, name, place, comma=False)
    if value != int(value) or abs(value) > 2**53:
        raise SampleError(f"'{name}' is '{cell}', no whole number", where=place, fix="number the points 1, 2, 3, …")
    return int(value)
