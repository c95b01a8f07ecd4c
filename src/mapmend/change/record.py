"""What a finished change job says: the from-to table and the patches, written and read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mapmend.core.provenance import RECORD

RASTERS = ("from_to", "before", "after", "updated")
FILES = (*(f"{name}.tif" for name in RASTERS), "changes.gpkg", "changes.parquet", "from_to.csv")


@dataclass(frozen=True)
class FromTo:
    """How much of each class became how much of each other.

    Attributes:
        names: of the K classes.
        unit: of the areas: ha, or px where the place on Earth is unknown.
        areas: K×K, [before][after].
        pixels: K×K, [before][after].
    """

    names: tuple[str, ...]
    unit: str
    areas: tuple[tuple[float, ...], ...]
    pixels: tuple[tuple[int, ...], ...]

    @property
    def before(self) -> tuple[float, ...]:
        """Area of each class at the earlier date."""
        return tuple(sum(row) for row in self.areas)

    @property
    def after(self) -> tuple[float, ...]:
        """Area of each class at the later date."""
        return tuple(sum(column) for column in zip(*self.areas, strict=True))

    @property
    def changed(self) -> float:
        """Area of all that changed."""
        return sum(area for _, _, area, _ in self.transitions())

    def transitions(self) -> list[tuple[str, str, float, int]]:
        """(from, to, area, pixels) of what changed, the largest first; what does not occur is left out."""
        found = [
            (old, new, self.areas[i][j], self.pixels[i][j])
            for i, old in enumerate(self.names)
            for j, new in enumerate(self.names)
            if i != j and self.pixels[i][j]
        ]
        return sorted(found, key=lambda one: -one[2])

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> FromTo:
        """The inverse of `to_dict`."""
        areas, pixels = (tuple(tuple(row) for row in plain[key]) for key in ("areas", "pixels"))
        return cls(tuple(plain["names"]), plain["unit"], areas, pixels)


@dataclass(frozen=True)
class ChangeResult:
    """A finished change job.

    Attributes:
        folder: with the rasters, polygons and tables.
        date_before: ISO date, or empty.
        date_after: ISO date, or empty.
        from_to: the table, whose margins are `before.tif` and `after.tif`.
        patches: number of polygons.
        dropped_patches: those below the minimum mapping unit, which became unchanged.
        dropped_area: of these, in the table's unit.
        threshold: of the change probability.
        mmu: minimum mapping unit in words; empty for none.
        seconds: the job took.
    """

    folder: Path
    date_before: str
    date_after: str
    from_to: FromTo
    patches: int
    dropped_patches: int
    dropped_area: float
    threshold: float
    mmu: str
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """Plain values, without the folder."""
        plain = {key: value for key, value in vars(self).items() if key != "folder"}
        return {**plain, "from_to": self.from_to.to_dict()}


def read_change(folder: Path) -> ChangeResult | None:
    """What a change folder holds; None where it is not complete."""
    plain = read_record(folder)
    if plain is None:
        return None
    try:
        result = {**plain["result"], "from_to": FromTo.from_dict(plain["result"]["from_to"])}
        return ChangeResult(folder, **result)
    except (KeyError, TypeError):
        return None


def read_record(folder: Path, files: Iterable[str] = FILES) -> dict[str, Any] | None:
    """The record of a change folder as plain values; None where it, or one of these files beside it, is missing."""
    if not all((folder / name).is_file() for name in (RECORD, *files)):
        return None
    try:
        plain = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return plain if isinstance(plain, dict) else None
