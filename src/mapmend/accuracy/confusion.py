"""The one accumulator behind every map metric: reference against prediction, counted in integers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mapmend.core.errors import LegendError, MapmendError

IGNORE = 255
_CHUNK = 1 << 18  # pairs at a time: their codes and the 65 536 bins stay in the second-level cache
_FEW = 16  # values below this: a pair fits into a byte, and two neighbouring pairs into one 16-bit code

Counts = npt.NDArray[np.int64]


class ConfusionMatrix:
    """Counts of pixels by reference class (rows) and predicted class (columns).

    Only pixels that have a reference are counted. Where such a pixel has no prediction (255), it is an error of its own
    kind: it stands in `missing` of its reference class and so in the denominators of overall accuracy, recall and IoU,
    but in no predicted class.

    Args:
        classes: the classes' names in the legend's order, or how many there are (at most 255, for 255 is not an index).

    Attributes:
        names: K names.
        counts: K×K int64, [reference, prediction].
        missing: K int64, pixels of the reference class without a prediction.
    """

    def __init__(self, classes: int | Sequence[str]) -> None:
        self.names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
        size = len(self.names)
        if not 1 <= size <= IGNORE:
            raise LegendError(f"a confusion matrix of {size} classes", fix=f"give 1 to {IGNORE} classes")
        self.counts: Counts = np.zeros((size, size), np.int64)
        self.missing: Counts = np.zeros(size, np.int64)

    @classmethod
    def from_counts(
        cls,
        names: Sequence[str],
        counts: npt.ArrayLike,
        missing: npt.ArrayLike | None = None,
        *,
        where: str | None = None,
    ) -> Self:
        """Take counts made elsewhere: K×K [reference, prediction] and, where there are any, K missing.

        Raises:
            MapmendError: counts that are not whole, not negative numbers of the names' shape.
        """
        matrix = cls(names)
        size = len(matrix.names)
        matrix.counts = _whole(counts, (size, size), where)
        if missing is not None:
            matrix.missing = _whole(missing, (size,), where)
        return matrix

    @property
    def pixels(self) -> int:
        """How many pixels have a reference."""
        return int(self.counts.sum() + self.missing.sum())

    def update(
        self,
        reference: npt.NDArray[np.uint8],
        prediction: npt.NDArray[np.uint8],
        *,
        lut: npt.NDArray[np.uint8] | None = None,
        where: str | None = None,
    ) -> None:
        """Count one window; memory does not depend on its size.

        Args:
            reference: any shape, class indices, 255 where there is no reference.
            prediction: the same shape, class indices, 255 where there is no prediction.
            lut: 256 uint8, id → index (255 elsewhere), when the two rasters hold legend ids and not indices.
            where: the file an error shall name.

        Raises:
            LegendError: a class outside the legend in either raster; nothing is counted then. A prediction is looked at
                only where there is a reference.
        """
        self.update_joint(joint_histogram(reference, prediction), lut=lut, where=where)

    def update_joint(
        self, joint: Counts, *, lut: npt.NDArray[np.uint8] | None = None, where: str | None = None
    ) -> None:
        """Count what `joint_histogram` has counted: 256×256 [reference, prediction]; otherwise as `update`.

        Raises:
            LegendError: a class outside the legend in either raster; nothing is counted then.
        """
        joint = joint.copy()
        joint[IGNORE] = 0
        index = np.arange(256) if lut is None else lut.astype(np.intp)
        known = np.flatnonzero(index < len(self.names))
        self._refuse_strangers(joint, known, where)
        pairs = joint[np.ix_(known, known)]
        rows, columns = np.meshgrid(index[known], index[known], indexing="ij")
        np.add.at(self.counts, (rows, columns), pairs)
        np.add.at(self.missing, index[known], joint[known, IGNORE])

    def __add__(self, other: Self) -> Self:
        """Counts of two disjoint parts together, as if both had been counted by one.

        Raises:
            LegendError: the parts name different classes.
        """
        if self.names != other.names:
            raise LegendError(
                "confusion matrices of different classes cannot be added", fix="score both with one legend"
            )
        return self.from_counts(self.names, self.counts + other.counts, self.missing + other.missing)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ConfusionMatrix)
            and self.names == other.names
            and np.array_equal(self.counts, other.counts)
            and np.array_equal(self.missing, other.missing)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ConfusionMatrix({len(self.names)} classes, {self.pixels} pixels)"

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON; rows of `counts` are the reference."""
        return {"names": list(self.names), "counts": self.counts.tolist(), "missing": self.missing.tolist()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], *, where: str | None = None) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            MapmendError: a key is missing or the counts do not fit the names.
        """
        lacking = [key for key in ("names", "counts", "missing") if key not in plain]
        if lacking:
            raise MapmendError(f"a confusion matrix without {' and '.join(lacking)}", where=where)
        return cls.from_counts([str(name) for name in plain["names"]], plain["counts"], plain["missing"], where=where)

    def _refuse_strangers(self, joint: Counts, known: npt.NDArray[np.intp], where: str | None) -> None:
        strange = np.ones(256, bool)
        strange[known] = strange[IGNORE] = False
        for raster, found in (("reference", joint.sum(1)), ("prediction", joint.sum(0))):
            codes = np.flatnonzero(strange & (found > 0))
            if codes.size:
                listed = ", ".join(f"{code} ({found[code]} pixels)" for code in codes[:8])
                raise LegendError(
                    f"the {raster} holds classes outside the legend: {listed}",
                    where=where,
                    fix="map its codes with a crosswalk",
                )


def joint_histogram(reference: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8]) -> Counts:
    """How often each pair of values occurs: 256×256 int64, [reference, prediction].

    Both rasters are read once, a chunk at a time; one table counts 16-bit codes: of pairs, or of two pairs at once
    where no value reaches 16.

    Raises:
        ValueError: shapes differ.
        TypeError: not uint8.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference {reference.shape} and prediction {prediction.shape} differ in shape")
    if reference.dtype != np.uint8 or prediction.dtype != np.uint8:
        raise TypeError(f"class rasters are uint8, not {reference.dtype} and {prediction.dtype}")
    total: Counts = np.zeros((256, 256), np.int64)
    code = np.empty(_CHUNK, np.uint16)
    wide = np.empty(_CHUNK, np.intp)  # what bincount works on; given narrower, it would allocate this at every call
    for rows, columns in _chunks(reference, prediction):
        if max(rows.max(), columns.max()) < _FEW:
            total[:_FEW, :_FEW] += _few_values(rows, columns, code.view(np.uint8), wide)
            continue
        part, index = code[: rows.size], wide[: rows.size]
        np.left_shift(rows, 8, out=part, dtype=np.uint16)
        np.bitwise_or(part, columns, out=part)
        index[:] = part
        total += np.bincount(index, minlength=total.size).reshape(total.shape)
    return total


def _few_values(
    rows: npt.NDArray[np.uint8],
    columns: npt.NDArray[np.uint8],
    code: npt.NDArray[np.uint8],
    wide: npt.NDArray[np.intp],
) -> Counts:
    """The same for values below `_FEW`, two pairs at a time; `code` and `wide` are room to work in."""
    even = rows.size - rows.size % 2
    part, index = code[: rows.size], wide[: even // 2]
    np.left_shift(rows, 4, out=part)
    np.bitwise_or(part, columns, out=part)
    index[:] = part[:even].view(np.uint16)
    twos = np.bincount(index, minlength=1 << 16).reshape(256, 256)
    pairs: Counts = (twos.sum(0) + twos.sum(1)).reshape(_FEW, _FEW)
    if even < rows.size:
        pairs[rows[-1], columns[-1]] += 1
    return pairs


def _chunks(*arrays: npt.NDArray[np.uint8]) -> Iterator[tuple[npt.NDArray[np.uint8], ...]]:
    """The arrays' elements in step, in flat pieces of at most `_CHUNK`; copies only what is not contiguous."""
    if arrays[0].size == 0:
        return
    with np.nditer(arrays, ["external_loop", "buffered"], buffersize=_CHUNK, order="C") as pieces:
        yield from pieces


def _whole(values: npt.ArrayLike, shape: tuple[int, ...], where: str | None) -> Counts:
    try:
        found = np.asarray(values)
        counts = found.astype(np.int64)
    except (TypeError, ValueError):  # ragged lists, text
        raise MapmendError("counts of a confusion matrix that are not numbers", where=where) from None
    if counts.shape != shape or np.any(counts != found) or np.any(counts < 0):
        raise MapmendError(
            f"counts of a confusion matrix that are not {'×'.join(map(str, shape))} whole numbers", where=where
        )
    return counts
