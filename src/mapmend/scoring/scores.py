"""The figures of a scoring as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mapmend.accuracy.change import ChangeMetrics
from mapmend.accuracy.conventions import Figures
from mapmend.accuracy.semantic_change import SemanticChangeMetrics


@dataclass(frozen=True)
class DateScores:
    """One date: figures by their convention's name, and a row of figures for each class that occurs."""

    figures: Figures
    classes: tuple[dict[str, Any], ...]
    absent: tuple[str, ...]
    explained: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.figures, "classes": list(self.classes), "absent": list(self.absent)}


@dataclass(frozen=True)
class Scores:
    """All figures.

    Attributes:
        images: how many were scored.
        pixels: pixels that have a reference; at both dates where there are two.
        later: of the only date, or of the later one.
        before: of the earlier date.
        change: changed against unchanged.
        semantic: semantic change.
        explained: why conventions of semantic change differ.
        notes: what a reader of the figures must know.
    """

    images: int
    pixels: int
    later: DateScores
    before: DateScores | None
    change: ChangeMetrics | None
    semantic: SemanticChangeMetrics | None
    explained: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "images": self.images,
            "pixels": self.pixels,
            "map": self.later.to_dict(),
            "map_before": self.before.to_dict() if self.before else None,
            "change": self.change.to_dict() if self.change else None,
            "semantic_change": self.semantic.to_dict() if self.semantic else None,
            "explain": [*self.later.explained, *self.explained],
            "notes": list(self.notes),
        }
