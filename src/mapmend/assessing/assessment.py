"""A map's accuracy and the areas of its classes: all that an assessment says, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mapmend.assessing.assisted import Assisted
from mapmend.assessing.figure import Accuracy, Figure
from mapmend.assessing.interpreters import Interpreters
from mapmend.assessing.transitions import Transitions
from mapmend.assessing.trees import Trees

__all__ = ["Accuracy", "Assessment", "Figure", "INTERVALS"]

INTERVALS = (
    "interval: MOVER-Jeffreys, which keeps its level for rare classes too; wald: the classical estimate ± z·SE, "
    "given for comparison, not cut at 0 and 1, and often too short"
)


@dataclass(frozen=True)
class Assessment:
    """A map's accuracy and the areas of its classes.

    Attributes:
        names: of the K classes.
        counts: K×K sampled units, [map][reference].
        mapped_ha: K, by counting the map's pixels; None where the map is not of the sample's population.
        total_ha: area of the population.
        level: of confidence.
        accuracy: all figures of the classes.
        design: how the sample was drawn, in plain values.
        notes: what a reader has to know about the figures.
        trees: the areas' uncertainty in the terms of ART-TREES.
        transitions: from-to areas, of a sample of two dates.
        interpreters: of a sample with several.
        assisted: a class's area by a model's probabilities and the sample.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    mapped_ha: tuple[float, ...] | None
    total_ha: float
    level: float
    accuracy: Accuracy
    design: Mapping[str, Any]
    notes: tuple[str, ...]
    trees: Trees
    transitions: Transitions | None = None
    interpreters: Interpreters | None = None
    assisted: Assisted | None = None

    def bias_ha(self, k: int) -> float | None:
        """How much larger the counted area of a class is than the estimated one; None where either is unknown."""
        estimate = self.accuracy.areas[k].estimate
        return None if self.mapped_ha is None or estimate is None else self.mapped_ha[k] - estimate * self.total_ha

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; areas in hectares."""
        found, ha = self.accuracy, self.total_ha
        plain: dict[str, Any] = {
            "level": self.level,
            "design": dict(self.design),
            "overall_accuracy": found.overall.to_dict(),
            "classes": [
                {
                    "name": name,
                    "users_accuracy": found.users[k].to_dict(),
                    "producers_accuracy": found.producers[k].to_dict(),
                    "area_ha": found.areas[k].to_dict(ha),
                    "pixel_count_area_ha": None if self.mapped_ha is None else self.mapped_ha[k],
                    "pixel_count_bias_ha": self.bias_ha(k),
                }
                for k, name in enumerate(self.names)
            ],
            "confusion": {
                "counts": [list(row) for row in self.counts],
                "area_shares": [[cell.estimate for cell in row] for row in found.cells],
                "area_ha": [[cell.to_dict(ha) for cell in row] for row in found.cells],
            },
            "trees": self.trees.to_dict(),
            "notes": list(self.notes),
        }
        for key, part in (("transitions", self.transitions), ("interpreters", self.interpreters)):
            if part is not None:
                plain[key] = part.to_dict()
        if self.assisted is not None:
            plain["model_assisted"] = self.assisted.to_dict(ha)
        return plain
