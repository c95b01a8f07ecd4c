"""The figures of a scoring as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mapmend.accuracy.change import ChangeMetrics
from mapmend.accuracy.conventions import Figures
from mapmend.accuracy.semantic_change import SemanticChangeMetrics
from mapmend.core.places import TRANSDUCTIVE


@dataclass(frozen=True)
class DateScores:
    """One date: figures by their convention's name, and a row of figures for each class that occurs.

    Attributes:
        figures: by name.
        classes: a row for each.
        absent: names of classes that occur nowhere.
        explained: why conventions differ.
        groups: a row of figures and counts for each group of images, where groups were asked for.
    """

    figures: Figures
    classes: tuple[dict[str, Any], ...]
    absent: tuple[str, ...]
    explained: tuple[str, ...]
    groups: tuple[dict[str, Any], ...] = ()

    def to_dict(self, suffix: str = "") -> dict[str, Any]:
        """Plain values, for JSON; the figures' names end in `suffix`."""
        rows = {"classes": list(self.classes), "absent": list(self.absent)}
        groups = {"groups": list(self.groups)} if self.groups else {}
        return {**{f"{name}{suffix}": value for name, value in self.figures.items()}, **rows, **groups}


@dataclass(frozen=True)
class Seen:
    """Which images a model was trained on.

    Attributes:
        trained: images whose labels it learned from.
        validated: images by which it was chosen or calibrated, and no more.
    """

    trained: tuple[str, ...]
    validated: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """What names of figures end in: a figure over trained places says nothing of others."""
        return TRANSDUCTIVE if self.trained else ""


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
        seen: what the model had seen of the images; None where no model is named, and nothing is known.
    """

    images: int
    pixels: int
    later: DateScores
    before: DateScores | None
    change: ChangeMetrics | None
    semantic: SemanticChangeMetrics | None
    explained: tuple[str, ...]
    notes: tuple[str, ...]
    seen: Seen | None = None

    @property
    def suffix(self) -> str:
        """What the names of the map's figures end in."""
        return self.seen.suffix if self.seen is not None else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "images": self.images,
            "pixels": self.pixels,
            "seen": None if self.seen is None else {name: list(images) for name, images in vars(self.seen).items()},
            "map": self.later.to_dict(self.suffix),
            "map_before": self.before.to_dict(self.suffix) if self.before else None,
            "change": self.change.to_dict() if self.change else None,
            "semantic_change": self.semantic.to_dict() if self.semantic else None,
            "explain": [*self.later.explained, *self.explained],
            "notes": list(self.notes),
        }
