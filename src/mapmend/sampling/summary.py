"""What a drawn sample is, in numbers for tables and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapmend.accuracy.design import SampleDesign


@dataclass(frozen=True)
class SampleResult:
    """A drawn sample.

    Attributes:
        folder: with `sample.gpkg`, `sample.csv` and `design.json`.
        design: of all rounds.
        added: units drawn now, in each stratum.
        half_widths: expected half-width of the honest interval, as a share of the map: of the overall accuracy, and of
            the area of each class that was named.
        level: of these intervals.
        notes: for the reader.
    """

    folder: Path
    design: SampleDesign
    added: tuple[int, ...]
    half_widths: Mapping[str, float]
    level: float
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """Units drawn now."""
        return sum(self.added)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        design = self.design
        strata = [
            {**vars(one), "share": weight, "added": added}
            for one, weight, added in zip(design.strata, design.weights, self.added, strict=True)
        ]
        widths = [
            {"name": name, "half_width": width, "half_width_ha": width * design.total_ha}
            for name, width in self.half_widths.items()
        ]
        return {
            "folder": str(self.folder),
            "kind": design.kind,
            "points": self.points,
            "round": len(design.rounds),
            "seed": design.seed,
            "area_ha": design.total_ha,
            "strata": strata,
            "expected": widths,
            "level": self.level,
            "notes": list(self.notes),
        }
