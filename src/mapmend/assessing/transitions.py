"""What became what, from units with a reference at both dates; and how well a map tells what changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mapmend.assessing.figure import Accuracy, Figure
from mapmend.assessing.inference import Bool, Ints, Units, judge, share

UNCHANGED, CHANGED = "no change", "change"


@dataclass(frozen=True)
class Dated:
    """Answered units at both dates.

    Attributes:
        before: n, index of the true class at the earlier date.
        after: n, at the later date.
        mapped_before: n, of the map; None where the map is of one date.
        mapped_after: n, of the map.
    """

    before: Ints
    after: Ints
    mapped_before: Ints | None
    mapped_after: Ints


@dataclass(frozen=True)
class Transitions:
    """From-to areas of the reference, as shares of the population.

    Attributes:
        names: of the K classes.
        total_ha: area of the population.
        counts: K×K, [before][after], answered units.
        cells: K×K, [before][after].
        changed: all that changed.
        before: area of each class at the earlier date.
        after: at the later date.
        change_map: accuracy of the map's change (classes: no change, change); None where it is of one date.
        before_map: accuracy of the map of the earlier date; None where there is none.
    """

    names: tuple[str, ...]
    total_ha: float
    counts: tuple[tuple[int, ...], ...]
    cells: tuple[tuple[Figure, ...], ...]
    changed: Figure
    before: tuple[Figure, ...]
    after: tuple[Figure, ...]
    change_map: Accuracy | None
    before_map: Accuracy | None

    def listed(self) -> list[tuple[str, str, Figure]]:
        """(from, to, area) of the transitions that were found, the largest first."""
        found = [
            (old, new, self.cells[i][j])
            for i, old in enumerate(self.names)
            for j, new in enumerate(self.names)
            if i != j and self.counts[i][j]
        ]
        return sorted(found, key=lambda one: -(one[2].estimate or 0.0))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; areas in hectares."""

        def accuracy(found: Accuracy | None, names: tuple[str, ...]) -> dict[str, Any] | None:
            if found is None:
                return None
            return {
                "overall_accuracy": found.overall.to_dict(),
                "classes": [
                    {
                        "name": name,
                        "users_accuracy": found.users[k].to_dict(),
                        "producers_accuracy": found.producers[k].to_dict(),
                        "area_ha": found.areas[k].to_dict(self.total_ha),
                    }
                    for k, name in enumerate(names)
                ],
            }

        ha = self.total_ha
        return {
            "names": list(self.names),
            "counts": [list(row) for row in self.counts],
            "area_ha": [[cell.to_dict(ha) for cell in row] for row in self.cells],
            "changed_ha": self.changed.to_dict(ha),
            "before_ha": [one.to_dict(ha) for one in self.before],
            "after_ha": [one.to_dict(ha) for one in self.after],
            "change_map": accuracy(self.change_map, (UNCHANGED, CHANGED)),
            "before_map": accuracy(self.before_map, self.names),
        }


def transitions(
    units: Units,
    dated: Dated,
    names: tuple[str, ...],
    total_ha: float,
    level: float,
    possible: Bool | None = None,
) -> Transitions:
    """From-to areas and the accuracy of the map's change.

    Args:
        units: the answered units, of the design's own strata.
        dated: their classes at both dates.
        names: of the classes.
        total_ha: area of the population.
        level: of confidence.
        possible: H×2, whether the map has pixels without change, and with, in the stratum; None: both may be.
    """
    classes = range(len(names))
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (dated.before, dated.after), 1)
    change_map = before_map = None
    if dated.mapped_before is not None:
        mapped = (dated.mapped_before != dated.mapped_after).astype(np.intp)
        true = (dated.before != dated.after).astype(np.intp)
        change_map = judge(units, mapped, true, 2, level, possible)
        before_map = judge(units, dated.mapped_before, dated.before, len(names), level)
    return Transitions(
        names=names,
        total_ha=total_ha,
        counts=tuple(map(tuple, counts.tolist())),
        cells=tuple(
            tuple(share(units, (dated.before == i) & (dated.after == j), level) for j in classes) for i in classes
        ),
        changed=share(units, dated.before != dated.after, level),
        before=tuple(share(units, dated.before == k, level) for k in classes),
        after=tuple(share(units, dated.after == k, level) for k in classes),
        change_map=change_map,
        before_map=before_map,
    )
