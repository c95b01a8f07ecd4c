"""Reads a matrix of plain counts, rows = map and columns = reference, as people keep it in a CSV file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from mapmend.core.csv_table import table_rows
from mapmend.core.errors import SampleError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MOST_UNITS = 2**53  # whole numbers are exact up to here
_LAYOUT = "rows are the map's classes, columns the reference's; names in the first row and column are optional"


@dataclass(frozen=True)
class CountMatrix:
    """A sample's counts.

    Attributes:
        names: of the K classes; their numbers where the file has no names.
        counts: K×K, [map][reference].
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def read_matrix(path: Path) -> CountMatrix:
    """The matrix that a CSV file holds, with comma, semicolon or tab between its cells.

    Raises:
        SampleError: no such file, not a square table, or a cell that is no count.
    """
    rows = table_rows(path, SampleError, "a matrix of counts", _LAYOUT)
    header, named = _has_header(rows), False
    body = rows[1:] if header else rows
    if not body:
        raise SampleError("has no rows of counts", where=path, fix=_LAYOUT)
    if any(not _is_number(row[0]) for row in body) or (header and len(body[0]) == len(body) + 1):
        named = True
    cells = [row[1:] if named else row for row in body]
    names = [row[0] for row in body] if named else []
    if header:
        above = rows[0][-len(cells[0]) :] if len(rows[0]) >= len(cells[0]) else []
        if named and above != names:
            raise SampleError(
                f"names the rows {', '.join(names)} and the columns {', '.join(above)}",
                where=path,
                fix="give rows and columns the same classes in the same order",
            )
        names = above
    if len(cells) < 2 or any(len(row) != len(cells) for row in cells):
        width = next((len(row) for row in cells if len(row) != len(cells)), len(cells))
        raise SampleError(f"holds {len(cells)} rows, and one of {width} counts", where=path, fix=_LAYOUT)
    names = names or [str(number + 1) for number in range(len(cells))]
    if len(set(names)) < len(names) or "" in names:
        raise SampleError("has a class without a name, or two of one name", where=path, fix="name each class once")
    places = [[f"row {i + 1}, column {j + 1}" for j in range(len(row))] for i, row in enumerate(cells)]
    counts = tuple(
        tuple(whole(cell, "count", f"{path}, {place}") for cell, place in zip(row, line, strict=True))
        for row, line in zip(cells, places, strict=True)
    )
    return CountMatrix(tuple(names), counts)


def whole(text: str, what: str, where: str) -> int:
    """A whole number, zero or more.

    Raises:
        SampleError: it is none.
    """
    number = float(text) if _is_number(text) else math.nan
    if not (0 <= number <= _MOST_UNITS and number == int(number)):
        raise SampleError(f"'{text}' is no {what}", where=where, fix="give whole numbers, zero or more")
    return int(number)


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row holds names; these may be numbers, where a corner or its absence tells."""
    first, others = rows[0], rows[1:]
    if any(not _is_number(cell) for cell in first[1:]):
        return True
    shorter = bool(others) and len(first) == len(others[0]) - 1 == len(others)
    return shorter or (not _is_number(first[0]) and len(rows) == len(first))


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None
