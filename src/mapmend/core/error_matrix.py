"""How a product errs, as P(label | truth): from its published error matrix, or as a file says it outright."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mapmend.core.csv_table import table_rows
from mapmend.core.errors import LabelError

_SIZES = ("area", "pixels", "size")
ROUNDED = 1e-3  # rows of three printed digits sum to one within this
_LAYOUT = "the first row names the classes, each other row is a class and its numbers"


@dataclass(frozen=True)
class Transition:
    """T_ij = P(label j | true class i).

    Attributes:
        names: of the K classes.
        matrix: K×K, rows sum to one.
        where: the file it is from.
    """

    names: tuple[str, ...]
    matrix: npt.NDArray[np.float64]
    where: str = ""

    def of(self, classes: Sequence[str]) -> npt.NDArray[np.float64]:
        """The matrix in the order of a legend's classes; case, `_` and `-` do not matter in names.

        Raises:
            LabelError: the classes are not the same.
        """
        own = [_normal(name) for name in self.names]
        wanted = [_normal(name) for name in classes]
        if sorted(own) != sorted(wanted):
            lacking = [name for name in classes if _normal(name) not in own]
            foreign = [name for name in self.names if _normal(name) not in wanted]
            parts = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [f"has {', '.join(foreign)}"] * bool(foreign)
            raise LabelError(
                f"has other classes than the legend: it {' and '.join(parts)}",
                where=self.where or None,
                fix=f"give the legend's classes, each once: {', '.join(classes)}",
            )
        places = [own.index(name) for name in wanted]
        return self.matrix[np.ix_(places, places)]


def transition_of(
    matrix: npt.ArrayLike, sizes: npt.ArrayLike | None = None, *, where: str | Path | None = None
) -> npt.NDArray[np.float64]:
    """T_ij = p̂_ji / p̂_.i from an error matrix with rows = map and columns = reference.

    p̂_ji = W_j·n_ji / n_j. with W_j the share of the map's class j in the area (Olofsson et al. 2014, eq. 4). The rows
    of the matrix themselves are P(reference | map), which is another thing.

    Args:
        matrix: K×K counts; or shares of the area, and then without `sizes`.
        sizes: K areas or pixels of the map's classes, the strata of the sample; None: the numbers are in proportion to
            the area already, as those of a random sample are.
        where: named in errors.

    Returns:
        K×K, rows sum to one. A class that no reference unit has says nothing of its errors: its row is one-hot.

    Raises:
        LabelError: no square matrix of numbers of zero and more, or a class of the map that was never looked at.
    """
    counts = np.asarray(matrix, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(counts) < 2:
        raise LabelError(f"an error matrix of shape {counts.shape} is not square", where=where, fix=_LAYOUT)
    if not np.isfinite(counts).all() or (counts < 0).any() or not counts.any():
        raise LabelError(
            "an error matrix holds what is no count, or nothing", where=where, fix="give numbers, zero or more"
        )
    joint = counts
    if sizes is not None:
        areas, looked = np.asarray(sizes, np.float64), counts.sum(1)
        if areas.shape != looked.shape or not np.isfinite(areas).all() or (areas < 0).any() or not areas.any():
            raise LabelError("sizes of the map's classes do not fit", where=where, fix="give one a class, above zero")
        unseen = np.flatnonzero((looked == 0) & (areas > 0))
        if unseen.size:
            raise LabelError(
                f"row {unseen[0] + 1} has a size and no counts", where=where, fix="merge that class with another"
            )
        joint = counts * (areas / np.maximum(looked, 1))[:, None]
    truths = joint.sum(0)
    shares = np.eye(len(joint))
    known = truths > 0
    shares[known] = (joint / np.where(known, truths, 1)).T[known]
    return shares


def read_error_matrix(path: Path) -> Transition:
    """T of the error matrix in a CSV file: rows = map, columns = reference, and maybe a last column of sizes.

    The column of sizes is headed area, pixels or size and holds those of the map's classes, where they were strata.

    Raises:
        LabelError: no such file, or not such a table.
    """
    names, columns, cells = _table(path)
    sized = _normal(columns[-1]) in _SIZES and len(columns) == len(names) + 1
    _check_names(names, columns[:-1] if sized else columns, path)
    table = np.array(cells)
    sizes = table[:, -1] if sized else None
    return Transition(names, transition_of(table[:, : len(names)], sizes, where=path), str(path))


def read_transition(path: Path) -> Transition:
    """T as it stands in a CSV file: rows = true class, columns = label.

    Raises:
        LabelError: no such file, not such a table, or a row that does not sum to one.
    """
    names, columns, cells = _table(path)
    _check_names(names, columns, path)
    table = np.array(cells)
    for name, row in zip(names, table, strict=True):
        if (row < 0).any() or abs(row.sum() - 1) > ROUNDED:
            raise LabelError(
                f"row '{name}' sums to {row.sum():.4g}, not to one",
                where=path,
                fix="rows are true classes, each a distribution over labels; for counts give an error matrix",
            )
    return Transition(names, table / table.sum(1, keepdims=True), str(path))


def _check_names(names: Sequence[str], columns: Sequence[str], path: Path) -> None:
    if list(names) != list(columns):
        raise LabelError(
            f"names the rows {', '.join(names)} and the columns {', '.join(columns)}",
            where=path,
            fix="give rows and columns the same classes in the same order",
        )
    if len({_normal(name) for name in names}) < len(names) or "" in names or len(names) < 2:
        raise LabelError(
            "has a class without a name, or two of one name, or one class only", where=path, fix="name each class once"
        )


def _table(path: Path) -> tuple[tuple[str, ...], list[str], list[list[float]]]:
    """Names of rows and of columns, and the numbers."""
    rows = table_rows(path, LabelError, "an error matrix", _LAYOUT)
    head, body = rows[0], rows[1:]
    width = len(body[0]) if body else 0
    columns = head[-(width - 1) :] if width > 1 else []
    if not body or any(len(row) != width for row in body) or len(head) not in (width, width - 1):
        raise LabelError("is not a table of named rows and columns", where=path, fix=_LAYOUT)
    if any(not math.isnan(_number(name)) for name in columns) and all(not math.isnan(_number(c)) for c in body[0]):
        raise LabelError("has no names of classes", where=path, fix=_LAYOUT)
    for row in body:
        wrong = next((cell for cell in row[1:] if not _number(cell) >= 0 or math.isinf(_number(cell))), None)
        if wrong is not None:
            raise LabelError(
                f"row '{row[0]}' holds '{wrong}'", where=path, fix="give numbers, zero or more, with a decimal point"
            )
    return tuple(row[0] for row in body), columns, [[float(cell) for cell in row[1:]] for row in body]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _normal(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
