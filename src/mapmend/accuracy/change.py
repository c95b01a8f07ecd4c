"""Change between two dates against the truth: what was found and missed, and the areas of each transition.

A pixel's truth is *changed* where the references of the two dates differ, and the map's where its two maps differ.
Every figure is pooled over all pixels that have a reference at both dates; the convention is in its name:

- `oa_change`, `iou_changed`, `f1_changed`, `precision_changed`, `recall_changed`: of the two classes unchanged and
  changed, whatever the classes of the land are;
- `transition_accuracy_hits`: of the pixels rightly found to have changed, the share whose from and to are right too;
- `figure_of_merit_from_to` (Pontius et al. 2008): pixels changed with the right from and to, over the pixels that
  changed in the truth, in the map or in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.confusion import IGNORE, ConfusionMatrix
from mapmend.accuracy.metrics import map_metrics
from mapmend.core.errors import LegendError, MapmendError

KINDS = ("unchanged", "changed")
CONVENTION = (
    "pooled over all pixels that have a reference at both dates; changed: the two classes differ; a pixel without a "
    "map at either date is an error; areas over the pixels that have reference and map at both dates"
)

Areas = npt.NDArray[np.float64]
Classes = npt.NDArray[np.uint8]
Pair = tuple[Classes, Classes]


class ChangeAccuracy:
    """Counts of changed and unchanged pixels, and the areas from class to class of map and truth.

    Args:
        names: the classes in the legend's order.
        unit: of the areas, 'ha' or 'px'.

    Attributes:
        confusion: 2×2, unchanged and changed, [reference, map]; `missing` where the map lacks a class at either date.
        hits_right: pixels changed in map and truth whose from and to agree.
        map_areas: K×K [before, after], over the pixels that have map and truth at both dates.
        truth_areas: the same of the truth, over the same pixels.
    """

    def __init__(self, names: Sequence[str], unit: str) -> None:
        self.names, self.unit = tuple(names), unit
        size = len(self.names)
        self.confusion = ConfusionMatrix(KINDS)
        self.hits_right = 0
        self.map_areas: Areas = np.zeros((size, size))
        self.truth_areas: Areas = np.zeros((size, size))

    def update(self, truth: Pair, mapped: Pair, areas: Areas, *, where: str | None = None) -> None:
        """Count one window.

        Args:
            truth: class indices of the references before and after, 255 where there is none.
            mapped: class indices of the maps before and after.
            areas: of the pixels, in `unit`.
            where: the file an error shall name.

        Raises:
            ValueError: shapes differ.
            LegendError: an index that is no class; nothing is counted then.
        """
        layers = (*truth, *mapped)
        if len({layer.shape for layer in (*layers, areas)}) > 1:
            raise ValueError(f"truth, map and areas differ in shape: {[layer.shape for layer in (*layers, areas)]}")
        known = (truth[0] != IGNORE) & (truth[1] != IGNORE)
        for layer in layers:
            if np.any(known & (layer != IGNORE) & (layer >= len(self.names))):
                raise LegendError(
                    "a class outside the legend", where=where, fix=f"give class indices below {len(self.names)}"
                )
        both = known & (mapped[0] != IGNORE) & (mapped[1] != IGNORE)
        self.confusion.update(_changed(truth, known), _changed(mapped, both), where=where)
        (old, new), (old_map, new_map) = truth, mapped
        right = both & (old != new) & (old == old_map) & (new == new_map)
        self.hits_right += int(np.count_nonzero(right))
        self.truth_areas += self._transitions(old[both], new[both], areas[both])
        self.map_areas += self._transitions(old_map[both], new_map[both], areas[both])

    def __add__(self, other: Self) -> Self:
        """Two disjoint parts together, as if both had been counted by one.

        Raises:
            LegendError: the parts name different classes.
            MapmendError: one has areas in hectares and the other in pixels.
        """
        if self.names != other.names:
            raise LegendError("accuracies of different classes cannot be added", fix="score both with one legend")
        if self.unit != other.unit:
            raise MapmendError(f"areas in {self.unit} and in {other.unit} cannot be added", fix="assign the CRS")
        total = type(self)(self.names, self.unit)
        total.confusion = self.confusion + other.confusion
        total.hits_right = self.hits_right + other.hits_right
        total.map_areas = self.map_areas + other.map_areas
        total.truth_areas = self.truth_areas + other.truth_areas
        return total

    def __repr__(self) -> str:
        return f"ChangeAccuracy({len(self.names)} classes, {self.confusion.pixels} pixels)"

    def to_dict(self) -> dict[str, Any]:
        """Counts and areas as plain values, for JSON; rows are the reference, or the class before."""
        return {
            "names": list(self.names),
            "unit": self.unit,
            "confusion": self.confusion.to_dict(),
            "hits_right": self.hits_right,
            "map_areas": self.map_areas.tolist(),
            "truth_areas": self.truth_areas.tolist(),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], *, where: str | None = None) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            MapmendError: a key is missing or an area table does not fit the names.
        """
        try:
            accuracy = cls([str(name) for name in plain["names"]], str(plain["unit"]))
            accuracy.hits_right = int(plain["hits_right"])
            tables = [np.asarray(plain[key], np.float64) for key in ("map_areas", "truth_areas")]
            confusion = plain["confusion"]
        except (KeyError, TypeError, ValueError) as error:
            raise MapmendError(f"is no accuracy of change ({error!r})", where=where) from None
        if any(table.shape != accuracy.map_areas.shape for table in tables):
            raise MapmendError("holds areas of other classes than it names", where=where)
        accuracy.map_areas, accuracy.truth_areas = tables
        accuracy.confusion = ConfusionMatrix.from_dict(confusion, where=where)
        return accuracy

    def _transitions(self, before: Classes, after: Classes, areas: Areas) -> Areas:
        size = len(self.names)
        codes = before.astype(np.intp) * size + after
        summed: Areas = np.bincount(codes, weights=areas, minlength=size * size).astype(np.float64)
        return summed.reshape(size, size)


@dataclass(frozen=True)
class ChangeMetrics:
    """Figures of a change map; what would be divided by nothing is None.

    Attributes:
        pixels: pixels that have a reference at both dates.
        missing: how many of them the map leaves without a class at either date.
        hits: changed in truth and map.
        misses: changed in the truth, not found (no class included).
        false_alarms: unchanged in the truth, changed in the map.
        correct_rejections: unchanged in truth and map.
        oa_change: share of the pixels rightly called changed or unchanged.
        iou_changed: hits / (hits + misses + false alarms).
        f1_changed: harmonic mean of precision and recall.
        precision_changed: share of the map's change that is true; user's accuracy.
        recall_changed: share of the true change that is found; producer's accuracy.
        transition_accuracy_hits: share of the hits whose from and to are right.
        figure_of_merit_from_to: hits with the right from and to / (hits + misses + false alarms).
    """

    pixels: int
    missing: int
    hits: int
    misses: int
    false_alarms: int
    correct_rejections: int
    oa_change: float | None
    iou_changed: float | None
    f1_changed: float | None
    precision_changed: float | None
    recall_changed: float | None
    transition_accuracy_hits: float | None
    figure_of_merit_from_to: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, with the convention the figures follow."""
        return {"convention": CONVENTION, **asdict(self)}


def change_metrics(accuracy: ChangeAccuracy) -> ChangeMetrics:
    """The figures of a change map from its counts."""
    whole = map_metrics(accuracy.confusion)
    changed = next((one for one in whole.classes if one.name == KINDS[1]), None)
    (rejections, false_alarms), (misses, hits) = accuracy.confusion.counts.tolist()
    misses += int(accuracy.confusion.missing[1])
    merit = hits + misses + false_alarms
    return ChangeMetrics(
        pixels=whole.pixels,
        missing=whole.missing,
        hits=hits,
        misses=misses,
        false_alarms=false_alarms,
        correct_rejections=rejections,
        oa_change=whole.oa,
        iou_changed=changed.iou if changed else None,
        f1_changed=changed.f1 if changed else None,
        precision_changed=changed.precision if changed else None,
        recall_changed=changed.recall if changed else None,
        transition_accuracy_hits=accuracy.hits_right / hits if hits else None,
        figure_of_merit_from_to=accuracy.hits_right / merit if merit else None,
    )


def _changed(pair: Pair, known: npt.NDArray[np.bool_]) -> Classes:
    """0 unchanged, 1 changed, 255 unknown."""
    kinds: Classes = np.where(known, pair[0] != pair[1], IGNORE).astype(np.uint8)
    return kinds
