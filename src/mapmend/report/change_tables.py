"""Rows of the tables of change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapmend.core.legend import Legend, LegendClass
from mapmend.report.change_data import ChangeReport

_MOST_ROWS = 12


@dataclass(frozen=True)
class Transition:
    """One class that became another; `share` is of all change, `patches` is None where they were not counted."""

    before: LegendClass
    after: LegendClass
    area: float
    share: float
    patches: int | None = None


@dataclass(frozen=True)
class Transitions:
    """The largest transitions, and the rest of them together."""

    rows: tuple[Transition, ...]
    others: int
    others_area: float
    others_share: float
    others_patches: int | None


@dataclass(frozen=True)
class FromToCell:
    """An area of the from-to table; `shade` is its share of the largest change, `kept` says that it did not change."""

    area: float
    shade: float
    kept: bool


@dataclass(frozen=True)
class FromToTable:
    """The classes that occur, and for each of them as it was before (a row) the areas of what they are after.

    `largest` is that of the changes.
    """

    classes: tuple[LegendClass, ...]
    cells: tuple[tuple[FromToCell, ...], ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    total: float
    largest: float


@dataclass(frozen=True)
class ClassChange:
    """What a class lost and gained; shares are of the largest loss or gain of any class."""

    entry: LegendClass
    before: float
    after: float
    loss: float
    gain: float
    loss_share: float
    gain_share: float

    @property
    def largest(self) -> float:
        """The larger of loss and gain."""
        return max(self.loss, self.gain)

    @property
    def net(self) -> float:
        """Gain less loss."""
        return self.gain - self.loss


@dataclass(frozen=True)
class TransitionCheck:
    """A transition's area on the map and in truth; no classes: all the `others` together."""

    before: LegendClass | None
    after: LegendClass | None
    map: float
    truth: float
    others: int = 0

    @property
    def difference(self) -> float:
        """Map less truth."""
        return self.map - self.truth


def transitions(
    areas: Sequence[Sequence[float]], legend: Legend, patches: Sequence[Sequence[int]] | None = None
) -> list[Transition]:
    """What changed in K×K areas [before][after], the largest first."""
    pairs = [(i, j) for i in range(len(legend)) for j in range(len(legend)) if i != j and areas[i][j]]
    total = sum(areas[i][j] for i, j in pairs)
    found = [
        Transition(
            legend.classes[i],
            legend.classes[j],
            areas[i][j],
            areas[i][j] / total,
            patches[i][j] if patches is not None else None,
        )
        for i, j in pairs
    ]
    return sorted(found, key=lambda one: -one.area)


def largest_transitions(change: ChangeReport, legend: Legend) -> Transitions:
    """The transitions a reader looks at first; a single one that is left is a row as well."""
    every = transitions(change.areas, legend, change.patches_of)
    shown = every if len(every) <= _MOST_ROWS + 1 else every[:_MOST_ROWS]
    rest = every[len(shown) :]
    patches = None if change.patches_of is None else sum(one.patches or 0 for one in rest)
    return Transitions(tuple(shown), len(rest), sum(one.area for one in rest), sum(one.share for one in rest), patches)


def from_to_table(change: ChangeReport, legend: Legend) -> FromToTable:
    """The from-to table without the classes that are at neither date."""
    before, after = _marginals(change)
    used = [i for i in range(len(legend)) if before[i] or after[i]]
    largest = max((change.areas[i][j] for i in used for j in used if i != j), default=0.0)
    cells = tuple(
        tuple(
            FromToCell(change.areas[i][j], change.areas[i][j] / largest if i != j and largest else 0.0, i == j)
            for j in used
        )
        for i in used
    )
    return FromToTable(
        tuple(legend.classes[i] for i in used),
        cells,
        tuple(before[i] for i in used),
        tuple(after[j] for j in used),
        change.total,
        largest,
    )


def class_changes(change: ChangeReport, legend: Legend) -> list[ClassChange]:
    """Loss, gain and net change of each class that is at either date."""
    before, after = _marginals(change)
    # summed apart from the diagonal: a difference of two sums would be off by their rounding
    losses = [sum(a for j, a in enumerate(row) if j != i) for i, row in enumerate(change.areas)]
    gains = [sum(row[j] for i, row in enumerate(change.areas) if i != j) for j in range(len(legend))]
    largest = max((*losses, *gains)) or 1.0
    return [
        ClassChange(entry, b, a, loss, gain, loss / largest, gain / largest)
        for entry, b, a, loss, gain in zip(legend.classes, before, after, losses, gains, strict=True)
        if b or a
    ]


def checked_transitions(change: ChangeReport, legend: Legend) -> list[TransitionCheck]:
    """The transitions of map and truth where both are known, the largest of either first, the rest together."""
    if change.accuracy is None:
        return []
    on_map, in_truth = change.accuracy.map_areas.tolist(), change.accuracy.truth_areas.tolist()
    pairs = [(i, j) for i in range(len(legend)) for j in range(len(legend)) if i != j]
    found = [
        TransitionCheck(legend.classes[i], legend.classes[j], on_map[i][j], in_truth[i][j])
        for i, j in pairs
        if on_map[i][j] or in_truth[i][j]
    ]
    found.sort(key=lambda one: -max(one.map, one.truth))
    rest = found[_MOST_ROWS:] if len(found) > _MOST_ROWS + 1 else []
    rows = found[: len(found) - len(rest)]
    if rest:
        together = sum(one.map for one in rest), sum(one.truth for one in rest)
        rows.append(TransitionCheck(None, None, *together, others=len(rest)))
    return rows


def _marginals(change: ChangeReport) -> tuple[list[float], list[float]]:
    """Area of each class before and after."""
    return [sum(row) for row in change.areas], [sum(column) for column in zip(*change.areas, strict=True)]
