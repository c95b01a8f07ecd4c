"""Crosswalks: a product's codes translated to a legend's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mapmend.core.classes import NODATA, Legend
from mapmend.core.errors import LegendError
from mapmend.core.plain import read_yaml, shipped, suggestion

_ROUNDED = 0.03  # four shares of two printed digits sum to one within this
_LOWEST, _HIGHEST = -(2**15), 2**16 - 1  # the codes of every 8- and 16-bit raster type


@dataclass(frozen=True)
class Crosswalk:
    """What each code of a label means in a legend.

    A crosswalk reads the codes as they stand in the file: code 255 is a class where the table says so (masks of 0
    and 255), and "no label" everywhere else. Only pixels that are `valid` are looked at.

    Attributes:
        source: name of the crosswalk, or of the legend the codes belong to.
        target: the legend that is translated to.
        table: code (-32768 to 65535) → the target's id, or NODATA for a code that means "no label".
        source_legend: names and colours of the codes, where they are known.
        mixture: code → shares of the target's classes, in its order, that ground of this code has on average; empty
            where nobody knows.
    """

    source: str
    target: Legend
    table: Mapping[int, int] = field(hash=False)
    source_legend: Legend | None = None
    mixture: Mapping[int, tuple[float, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        where = f"crosswalk '{self.source}' to '{self.target.name}'"
        for code, meaning in self.table.items():
            if not _LOWEST <= code <= _HIGHEST:
                raise LegendError(f"code {code} is out of range", where=where, fix=f"use {_LOWEST} to {_HIGHEST}")
            if meaning != NODATA and meaning not in self.target.ids:
                raise LegendError(f"code {code} becomes {meaning}, which is no class of the target", where=where)
        for code, shares in self.mixture.items():
            if self.table.get(code, NODATA) == NODATA:
                raise LegendError(f"mixture of code {code}, which has no class", where=where, fix="map it, or drop it")
            if len(shares) != len(self.target) or min(shares) < 0 or abs(sum(shares) - 1) > _ROUNDED:
                raise LegendError(
                    f"mixture of code {code} is {', '.join(f'{share:g}' for share in shares)}",
                    where=where,
                    fix=f"give {len(self.target)} shares that sum to one",
                )
        object.__setattr__(self, "table", {NODATA: NODATA, **self.table})

    @property
    def share_codes(self) -> tuple[int, ...]:
        """The codes that have a class, ascending."""
        return tuple(sorted(code for code, meaning in self.table.items() if meaning != NODATA))

    @property
    def share_rows(self) -> tuple[tuple[float, ...], ...]:
        """For each of `share_codes` its shares of the target's classes, which sum to one: its mixture, or its class."""
        rows = []
        for code in self.share_codes:
            certain = tuple(float(id_ == self.table[code]) for id_ in self.target.ids)
            shares = self.mixture.get(code, certain)
            rows.append(tuple(share / sum(shares) for share in shares))
        return tuple(rows)

    def to_dict(self) -> dict[str, object]:
        """Plain values that identify what this crosswalk does."""
        table = {str(code): meaning for code, meaning in sorted(self.table.items())}
        colors = None if self.source_legend is None else self.source_legend.to_dict()
        plain: dict[str, object] = {
            "source": self.source,
            "source_legend": colors,
            "target": self.target.name,
            "table": table,
        }
        if self.mixture:
            plain["mixture"] = {str(code): list(shares) for code, shares in sorted(self.mixture.items())}
        return plain

    def apply(
        self, codes: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_] | None = None, *, where: str | Path
    ) -> npt.NDArray[np.uint8]:
        """Translate codes of any shape to the target's ids, NODATA where invalid or without a label.

        Args:
            codes: whole numbers of any integer or floating type; what is not finite has no label.
            valid: same shape, False where a code must not be looked at; None: look at all.
            where: named in errors.

        Raises:
            LegendError: a code that the table does not have (with counts), a fraction, or no numbers at all.
        """
        if codes.dtype.kind not in "uif":
            raise LegendError(
                f"holds {codes.dtype}, not class codes", where=where, fix="give a raster of whole numbers"
            )
        unknown_mark = next(mark for mark in range(NODATA) if mark not in self.target.ids)
        table = self._table(unknown_mark)
        if codes.dtype.kind == "f":
            ids = table[_indices_of_floats(codes, valid, where)]
        elif codes.dtype in (np.uint8, np.uint16):
            ids = table[-_LOWEST:][codes]
        elif codes.dtype == np.int16:
            ids = np.concatenate([table[-_LOWEST : -2 * _LOWEST], table[:-_LOWEST]])[codes.view(np.uint16)]
        else:
            ids = table[_indices_of_integers(codes)]
        if valid is not None:
            ids[~valid] = NODATA
        unknown = ids == unknown_mark
        if unknown.any():
            raise self._unknown_codes(codes[unknown], where)
        return ids

    def from_colors(self, rgb: npt.NDArray[np.uint8], *, where: str | Path) -> npt.NDArray[np.uint16]:
        """The source codes of a colour-coded label, H×W×3 or H×W×4, by the source legend's colours.

        Where the source has no colours, a grey image stands for its own codes (masks saved as colour images).

        Raises:
            LegendError: a colour that is not in the legend.
        """
        if self.source_legend is not None:
            return self.source_legend.from_colors(rgb, where=where)
        if not ((rgb[..., 0] == rgb[..., 1]) & (rgb[..., 0] == rgb[..., 2])).all():
            raise LegendError(
                f"is a colour image, and '{self.source}' gives its codes no colors",
                where=where,
                fix="give codes, or a legend that lists the colors",
            )
        opaque = rgb[..., 3] > 0 if rgb.shape[2] == 4 else np.True_
        return np.where(opaque, rgb[..., 0], NODATA).astype(np.uint16)

    def id_of(self, value: str | float | None, *, where: str | Path) -> int:
        """The target's id for the attribute of a vector label: a source code, or a class name of source or target.

        Raises:
            LegendError: neither a known code nor a known name.
        """
        if value is None:
            return NODATA
        number = _number(value)
        if number is None:
            name = str(value)
            legends = [legend for legend in (self.source_legend, self.target) if legend is not None]
            named = [legend for legend in legends if legend.has_name(name)]
            if not named:
                known = dict.fromkeys(name for legend in legends for name in legend.names)
                raise LegendError(f"class '{name}' is unknown", where=where, fix=suggestion(name, known))
            number = named[0].ids[named[0].index_of(name)]
            if named[0] is self.target:
                return int(number)
        return int(self.apply(np.array([number], np.float64), where=where)[0])

    def _table(self, unknown_mark: int) -> npt.NDArray[np.uint8]:
        """Code - _LOWEST → id; one place more than there are codes, for what is out of range."""
        table = np.full(_HIGHEST - _LOWEST + 2, unknown_mark, np.uint8)
        for code, meaning in self.table.items():
            table[code - _LOWEST] = meaning
        return table

    def _unknown_codes(self, codes: npt.NDArray[np.generic], where: str | Path) -> LegendError:
        values, counts = np.unique(codes, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:8]
        listed = ", ".join(f"{values[i]:.0f} ({counts[i]} px)" for i in order)
        more = f" and {len(values) - 8} more" if len(values) > 8 else ""
        plural = "codes" if len(values) > 1 else "code"
        alike = _shipped_that_explain({int(value) for value in values}, self.target.name)
        names = " or ".join(f"'{name}'" for name in alike) or "the labels' own legend or crosswalk"
        return LegendError(
            f"{plural} {listed}{more} not in '{self.source}' (for legend '{self.target.name}')",
            where=where,
            fix=f"name {names} in `label_legend`, or list codes without a label in `ignore`",
        )


def _shipped_that_explain(codes: set[int], target: str) -> list[str]:
    """Names of the shipped crosswalks to a legend that have all these codes, but for those of benchmarks."""
    found = []
    for name, file in shipped("crosswalks").items():
        if not name.endswith(f"_to_{target}"):
            continue
        plain = read_yaml(file, LegendError)
        mapping = plain["mapping"]
        assert isinstance(mapping, dict)
        known = {code for listed in mapping.values() for code in ([listed] if isinstance(listed, int) else listed)}
        if codes <= known and not plain.get("benchmark"):
            found.append(name.removesuffix(f"_to_{target}"))
    return sorted(found)


def _indices_of_integers(codes: npt.NDArray[np.generic]) -> npt.NDArray[np.int32]:
    """Places in the look-up table; codes out of range at its last place, or at -1, which is the same."""
    if codes.dtype.itemsize > 2:
        lowest = 0 if codes.dtype.kind == "u" else _LOWEST - 1
        codes = np.clip(codes, lowest, _HIGHEST + 1)
    return codes.astype(np.int32) - np.int32(_LOWEST)


def _indices_of_floats(
    codes: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_] | None, where: str | Path
) -> npt.NDArray[np.int32]:
    """Places in the look-up table; not-finite ones point at NODATA, those out of range behind the last code."""
    numbers = codes.astype(np.float64, copy=False) if codes.dtype == np.float16 else codes
    finite = np.isfinite(numbers)
    whole = np.where(finite, numbers, NODATA)
    fraction = whole != np.rint(whole)
    if valid is not None:
        fraction &= valid
    if fraction.any():
        first = ", ".join(f"{value:g}" for value in np.unique(whole[fraction])[:3])
        raise LegendError(
            f"{int(fraction.sum())} px are fractions ({first}), not class codes",
            where=where,
            fix="resample labels by nearest neighbour or mode, never by averaging",
        )
    outside = (whole < _LOWEST) | (whole > _HIGHEST)
    result: npt.NDArray[np.int32] = np.where(outside, _HIGHEST + 1, whole).astype(np.int32) - _LOWEST
    return result


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
