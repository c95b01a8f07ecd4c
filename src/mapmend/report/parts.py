"""The page's parts that come once for one date and twice for two, and the part on change."""

from __future__ import annotations

from dataclasses import dataclass

from mapmend.accuracy.change import ChangeMetrics, change_metrics
from mapmend.core.legend import Legend, LegendClass
from mapmend.report.change_data import ChangeReport
from mapmend.report.change_tables import (
    ClassChange,
    FromToTable,
    TransitionCheck,
    Transitions,
    checked_transitions,
    class_changes,
    from_to_table,
    largest_transitions,
)
from mapmend.report.data import Accuracy, ClassAreas, ReportData
from mapmend.report.flow import Flow, draw_flow
from mapmend.report.tables import (
    AccuracyTables,
    AreaRow,
    MatrixRow,
    accuracy_tables,
    area_rows,
    matrix_rows,
)
from mapmend.report.wording import area, count, fraction, percent, spoken


@dataclass(frozen=True)
class AccuracyPart:
    """The accuracy at a date; `when` is empty where there is one date only."""

    when: str
    accuracy: Accuracy
    tables: AccuracyTables
    matrices: tuple[tuple[str, list[LegendClass], list[MatrixRow]], ...]


@dataclass(frozen=True)
class AreasPart:
    """The areas at a date; `largest` is the share that the longest bar stands for."""

    when: str
    areas: ClassAreas
    rows: list[AreaRow]
    largest: float


@dataclass(frozen=True)
class ChangePart:
    """What the page says of change; `metrics` and `checks` are empty without references of both dates."""

    report: ChangeReport
    flow: Flow | None
    transitions: Transitions
    table: FromToTable
    classes: list[ClassChange]
    metrics: ChangeMetrics | None
    checks: list[TransitionCheck]
    summary: tuple[str, ...]


def accuracy_parts(data: ReportData) -> list[AccuracyPart]:
    """Accuracy at the earlier date, as far as it is known, and at the later or only one."""
    parts = []
    for when, accuracy in zip(_when(data), (data.accuracy_before, data.accuracy), strict=True):
        if accuracy is not None:
            named = (("New map", accuracy.map), ("Label given", accuracy.label))
            matrices = ((name, *matrix_rows(matrix, data.legend)) for name, matrix in named if matrix is not None)
            parts.append(AccuracyPart(when, accuracy, accuracy_tables(accuracy, data.legend), tuple(matrices)))
    return parts


def areas_parts(data: ReportData) -> list[AreasPart]:
    """Areas at the earlier date, as far as they are known, and at the later or only one."""
    parts = []
    for when, areas in zip(_when(data), (data.areas_before, data.areas), strict=True):
        if areas is not None and (rows := area_rows(areas, data.legend)):
            parts.append(AreasPart(when, areas, rows, max(row.largest_share for row in rows)))
    return parts


def change_part(change: ChangeReport, legend: Legend) -> ChangePart:
    """Chart, tables and sentences of change."""
    metrics = change_metrics(change.accuracy) if change.accuracy is not None else None
    return ChangePart(
        change,
        draw_flow(change.areas, change.unit, legend),
        largest_transitions(change, legend),
        from_to_table(change, legend),
        class_changes(change, legend),
        metrics,
        checked_transitions(change, legend),
        _summary(change, legend, metrics),
    )


def _when(data: ReportData) -> tuple[str, str]:
    """What the two dates are called; nothing where there is one only."""
    if data.change is not None:
        return data.change.when
    return ("before", "after") if data.accuracy_before is not None or data.areas_before is not None else ("", "")


def _summary(change: ChangeReport, legend: Legend, metrics: ChangeMetrics | None) -> tuple[str, ...]:
    before, after = change.when
    named = (before, after) != ("before", "after")
    time = f"From {before} to {after}" if named else "Between the two dates"
    if not change.changed:
        said = [f"{time} nothing changed on the map."]
    else:
        largest = largest_transitions(change, legend).rows[0]
        said = [
            f"{time} {area(change.changed, change.unit)} {change.unit} "
            f"({percent(change.changed / change.total)} of the mapped area) changed class, "
            f"in {count(change.patches)} {'patch' if change.patches == 1 else 'patches'}; "
            f"most of it from {spoken(largest.before.name)} to {spoken(largest.after.name)} "
            f"({area(largest.area, change.unit)} {change.unit})."
        ]
    if metrics is not None and metrics.recall_changed is not None:
        true = f", and {percent(metrics.precision_changed)} of the change on the map is true"
        said.append(
            f"Against the truth, {percent(metrics.recall_changed)} of the change was found"
            f"{true if metrics.precision_changed is not None else ''} "
            f"(IoU of change {fraction(metrics.iou_changed)})."
        )
    return tuple(said)
