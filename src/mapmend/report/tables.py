"""Rows of the page's tables and the sentence that sums them up."""

from __future__ import annotations

from dataclasses import dataclass

from mapmend.accuracy.compare import Comparison, Difference, Verdict, compare
from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import ClassMetrics, MapMetrics, map_metrics
from mapmend.core.legend import Legend, LegendClass
from mapmend.report.data import Accuracy, ClassAreas
from mapmend.report.wording import count, fraction

VERDICT_SIGNS = {"better": "▲", "worse": "▼", "equal": "=", "undefined": ""}


@dataclass(frozen=True)
class ClassRow:
    """One class in the accuracy tables; `label` and `iou` are None where there is no label to compare."""

    entry: LegendClass
    map: ClassMetrics | None
    label: ClassMetrics | None
    iou: Difference | None


@dataclass(frozen=True)
class AccuracyTables:
    """Everything the accuracy section prints."""

    map: MapMetrics
    label: MapMetrics | None
    comparison: Comparison | None
    classes: tuple[ClassRow, ...]
    absent: tuple[str, ...]
    summary: tuple[str, ...]


@dataclass(frozen=True)
class AreaRow:
    """One class in the table of areas; shares are of all classes together."""

    entry: LegendClass
    map: float
    map_share: float
    label: float | None
    label_share: float | None
    reference: float | None
    reference_share: float | None

    @property
    def largest_share(self) -> float:
        """What the longest bar of the row stands for."""
        return max(self.map_share, self.label_share or 0.0, self.reference_share or 0.0)


@dataclass(frozen=True)
class MatrixRow:
    """One reference class: its total, and for each predicted class (at the end: none) count and share of the total."""

    entry: LegendClass
    total: int
    cells: tuple[tuple[int, float], ...]

    @property
    def missing(self) -> int:
        """Reference pixels that have no predicted class."""
        return self.cells[-1][0]


def accuracy_tables(accuracy: Accuracy, legend: Legend) -> AccuracyTables:
    """Metrics of map and label beside each other."""
    of_map = map_metrics(accuracy.map)
    of_label = map_metrics(accuracy.label) if accuracy.label is not None else None
    comparison = compare(of_label, of_map) if of_label is not None else None
    after = {one.name: one for one in of_map.classes}
    before = {one.name: one for one in of_label.classes} if of_label is not None else {}
    ious = {one.class_name: one for one in comparison.classes if one.metric == "iou"} if comparison else {}
    rows = tuple(
        ClassRow(entry, after.get(entry.name), before.get(entry.name), ious.get(entry.name))
        for entry in legend.classes
        if entry.name in after or entry.name in before
    )
    absent = tuple(name for name in of_map.absent if name not in before)
    return AccuracyTables(of_map, of_label, comparison, rows, absent, _summary(of_map, comparison))


def area_rows(areas: ClassAreas, legend: Legend) -> list[AreaRow]:
    """Areas and shares, leaving out classes of which there is nothing anywhere."""
    columns = [areas.map, areas.label, areas.reference]
    totals = [sum(column) if column is not None else 0.0 for column in columns]
    rows = []
    for index, entry in enumerate(legend.classes):
        values = [column[index] if column is not None else None for column in columns]
        if any(values):
            shares = [
                value / total if value is not None and total else None
                for value, total in zip(values, totals, strict=True)
            ]
            rows.append(AreaRow(entry, values[0] or 0.0, shares[0] or 0.0, values[1], shares[1], values[2], shares[2]))
    return rows


def matrix_rows(matrix: ConfusionMatrix, legend: Legend) -> tuple[list[LegendClass], list[MatrixRow]]:
    """Column classes and rows of a confusion matrix without the classes that occur in neither."""
    totals = (matrix.counts.sum(1) + matrix.missing).tolist()
    used = [i for i in range(len(legend)) if totals[i] or matrix.counts[:, i].any()]
    rows = []
    for i in used:
        counts = [int(matrix.counts[i, j]) for j in used] + [int(matrix.missing[i])]
        rows.append(MatrixRow(legend.classes[i], totals[i], tuple((n, n / max(totals[i], 1)) for n in counts)))
    return [legend.classes[i] for i in used], rows


def _summary(of_map: MapMetrics, comparison: Comparison | None) -> tuple[str, ...]:
    """What a reader must take away, without adjectives the figures do not carry."""
    if not of_map.pixels:
        return ("The reference holds no pixel that could be scored.",)
    if comparison is None:
        figures = f"overall accuracy {fraction(of_map.oa)}, mean IoU {fraction(of_map.miou)}"
        return (f"Measured on {count(of_map.pixels)} reference pixels, the map has {figures}.",)
    found = {one.metric: one for one in comparison.whole}
    said = [_said("overall accuracy", found["oa"]), _said("mean IoU", found["miou"])]
    verdicts = [one.verdict for one in comparison.classes if one.metric == "iou"]
    kinds: tuple[tuple[Verdict, str], ...] = (
        ("better", "better in"),
        ("worse", "worse in"),
        ("equal", "equal in"),
        ("undefined", "not comparable in"),
    )
    by_class = ", ".join(f"{words} {verdicts.count(kind)}" for kind, words in kinds if verdicts.count(kind))
    return (
        f"Measured on {count(of_map.pixels)} reference pixels, and compared with the label, "
        f"the map is {said[0]} and {said[1]}.",
        f"Class by class (IoU) it is {by_class} of {len(verdicts)}.",
    )


def _said(name: str, one: Difference) -> str:
    figures = f"{fraction(one.candidate)} against {fraction(one.baseline)}"
    return f"{one.verdict} in {name} ({figures})"
