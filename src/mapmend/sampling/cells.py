"""Tables of points as text: CSV of any separator, GeoPackage, GeoJSON."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import shapely

from mapmend.core.errors import RasterError, SampleError, VectorError
from mapmend.raster.features import is_vector, vector_faults, vector_info

LAYER = "sample"
"""Of a GeoPackage; where a file has no such layer, its first one with geometries is read."""

_MOST_BYTES = 2**28  # a million points take half of it
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_AS_UTF8 = "save the table as CSV, UTF-8"


@dataclass(frozen=True)
class Cells:
    """A table as text.

    Attributes:
        path: of the file.
        names: of the columns, in lower case.
        rows: their cells.
        numbers: of the rows in the file: lines of a CSV, features of a layer.
        comma: whether numbers may have a decimal comma.
    """

    path: str | Path
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    comma: bool

    def column(self, name: str) -> tuple[str, ...]:
        """Cells of a column."""
        at = self.names.index(name)
        return tuple(row[at] for row in self.rows)

    @property
    def places(self) -> tuple[str, ...]:
        """File and number of each row."""
        return tuple(f"{self.path}, row {number}" for number in self.numbers)


def read_cells(path: str | Path) -> Cells:
    """The table that a CSV or vector file holds.

    Raises:
        SampleError: it cannot be read, has a column twice, rows of another length, or no rows.
    """
    try:
        vector = is_vector(path)
    except RasterError as fault:
        raise SampleError(fault.what, where=fault.where, fix=fault.fix) from None
    cells = _vector_cells(path) if vector else _csv_cells(Path(path))
    twice = [name for name in cells.names if name and cells.names.count(name) > 1]
    if twice:
        raise SampleError(f"has two columns '{twice[0]}'", where=path, fix="keep one of them")
    if not cells.rows:
        raise SampleError("holds no points", where=path, fix="give the filled sample")
    return cells


def _csv_cells(path: Path) -> Cells:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SampleError("is too large for a sample", where=path, fix="give the table of points")
        content = path.read_bytes()
    except OSError as fault:
        raise SampleError(f"cannot be read ({fault.strerror})", where=path, fix="check the path") from None
    if content.startswith(_UTF16) or b"\0" in content[:4096]:
        raise SampleError("is UTF-16 or no text at all", where=path, fix=_AS_UTF8)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SampleError("is not text in UTF-8", where=path, fix=_AS_UTF8) from None
    head = next((line for line in text.splitlines() if line.strip()), "")
    separator = max("\t;,", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows, numbers = [], []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(tuple(cell.strip() for cell in cells))
                numbers.append(reader.line_num)
    except csv.Error as fault:
        raise SampleError(f"is not a CSV file ({fault})", where=path, fix=_AS_UTF8) from None
    if not rows:
        raise SampleError("is empty", where=path, fix="give the filled sample")
    names = tuple(name.casefold() for name in rows[0])
    for row, number in zip(rows[1:], numbers[1:], strict=True):
        if len(row) != len(names):
            raise SampleError(
                f"has {len(row)} cells under {len(names)} column names",
                where=f"{path}, row {number}",
                fix=f"quote cells that hold a '{separator}'" if separator != "\t" else "correct the row",
            )
    return Cells(path, names, tuple(rows[1:]), tuple(numbers[1:]), comma=separator != ",")


def _vector_cells(path: str | Path) -> Cells:
    try:
        info = vector_info(path)
        with vector_faults(path):
            full = Path(path).absolute()
            layers = [str(name) for name, geometry in pyogrio.list_layers(full) if geometry is not None]
            layer = LAYER if LAYER in layers else info.layer
            meta, _, binary, columns = pyogrio.raw.read(full, layer=layer, force_2d=True, datetime_as_string=True)
            points = np.asarray(shapely.from_wkb(binary), object)
    except VectorError as fault:
        raise SampleError(fault.what, where=fault.where, fix=fault.fix) from None
    if len(points) and not (shapely.get_type_id(points) == 0).all():
        raise SampleError("holds other geometries than points", where=path, fix="give the layer of sample points")
    names = [str(name).casefold() for name in meta["fields"]]
    texts = [[_text(value) for value in column.tolist()] for column in columns]
    for name, values in (("x", shapely.get_x(points)), ("y", shapely.get_y(points))):
        if name not in names:
            names.append(name)
            texts.append([_text(value) for value in values.tolist()])
    rows = tuple(zip(*texts, strict=True))
    return Cells(path, tuple(names), rows, tuple(range(1, len(rows) + 1)), comma=False)


def _text(value: object) -> str:
    """A value as a cell of a CSV file: nothing for NULL, whole numbers without a fraction."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).strip()
