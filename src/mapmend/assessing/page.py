"""An assessment as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mapmend.accuracy.intervals import Interval
from mapmend.assessing.assessment import Assessment
from mapmend.assessing.assisted import Assisted
from mapmend.assessing.figure import Accuracy, Figure
from mapmend.assessing.interpreters import Interpreters
from mapmend.assessing.transitions import CHANGED, UNCHANGED, Transitions
from mapmend.assessing.trees import Trees, Uncertainty

_MOST_TRANSITIONS = 12


def show(found: Assessment, console: Console) -> None:
    """Print an assessment."""
    names = [escape(name) for name in found.names]
    heads = ("estimate", f"{100 * found.level:g} % interval", "SE", "classical interval")
    digits = 0 if found.total_ha >= 100_000 else 1 if found.total_ha >= 1000 else 4
    counts = [[str(count) for count in row] for row in found.counts]
    shares = [[_number(cell.estimate, 100, 2) for cell in row] for row in found.accuracy.cells]
    _square(console, "Sampled units", "map ↓  reference →", names, counts)
    _square(console, "Area, % of the map", "map ↓  reference →", names, shares)
    _answers(found, console)
    _accuracy(console, "Accuracy", found.accuracy, names, heads)
    table = Table("ha", *heads, "counted pixels", "bias of counting", title="Areas")
    for k, name in enumerate(names):
        counted = None if found.mapped_ha is None else found.mapped_ha[k]
        bias, estimate = found.bias_ha(k), (found.accuracy.areas[k].estimate or 0.0) * found.total_ha
        share = f" ({100 * bias / estimate:+.1f} %)" if estimate and bias is not None else ""
        said = "–" if bias is None else f"{bias:+,.{digits}f}{share}"
        cells = _cells(found.accuracy.areas[k], found.total_ha, digits)
        table.add_row(name, *cells, _number(counted, 1, digits), said)
    console.print(table)
    if found.transitions is not None:
        _transitions(found.transitions, console, heads, digits)
    if found.assisted is not None:
        _assisted(found.assisted, found.total_ha, console, digits)
    if found.interpreters is not None:
        _interpreters(found.interpreters, console, digits)
    _trees(found.trees, console, digits)
    for note in found.notes:
        console.print(f"- {note}", markup=False)


def _square(console: Console, title: str, corner: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(corner, *names, title=title)
    for name, row in zip(names, rows, strict=True):
        table.add_row(name, *row)
    console.print(table)


def _answers(found: Assessment, console: Console) -> None:
    strata = found.design.get("stratum_table", [])
    if all(one["drawn"] == one["answered"] for one in strata):
        return
    table = Table("stratum", "pixels", "drawn", "answered", title="Answers")
    for one in strata:
        table.add_row(escape(one["name"]), f"{one['pixels']:,}", str(one["drawn"]), str(one["answered"]))
    console.print(table)


def _accuracy(console: Console, title: str, found: Accuracy, names: Sequence[str], heads: Sequence[str]) -> None:
    table = Table("%", *heads, title=title)
    table.add_row("overall", *_cells(found.overall, 100, 2))
    for kind, figures in (("user's", found.users), ("producer's", found.producers)):
        for name, figure in zip(names, figures, strict=True):
            table.add_row(f"{kind}, {name}", *_cells(figure, 100, 2))
    console.print(table)


def _transitions(found: Transitions, console: Console, heads: Sequence[str], digits: int) -> None:
    names = [escape(name) for name in found.names]
    counts = [[str(count) for count in row] for row in found.counts]
    _square(console, "Reference at both dates, sampled units", "before ↓  after →", names, counts)
    table = Table("ha", *heads, title="Transitions")
    table.add_row("all change", *_cells(found.changed, found.total_ha, digits))
    listed = found.listed()
    for old, new, figure in listed[:_MOST_TRANSITIONS]:
        table.add_row(f"{escape(old)} → {escape(new)}", *_cells(figure, found.total_ha, digits))
    if len(listed) > _MOST_TRANSITIONS:
        table.caption = f"and {len(listed) - _MOST_TRANSITIONS} smaller ones (see the JSON file)"
    console.print(table)
    table = Table("ha", *heads, title="Areas at the earlier date")
    for name, figure in zip(names, found.before, strict=True):
        table.add_row(name, *_cells(figure, found.total_ha, digits))
    console.print(table)
    if found.change_map is not None:
        _accuracy(console, "Accuracy of the map of change", found.change_map, (UNCHANGED, CHANGED), heads)
    if found.before_map is not None:
        _accuracy(console, "Accuracy of the map of the earlier date", found.before_map, names, heads)


def _assisted(found: Assisted, total_ha: float, console: Console, digits: int) -> None:
    table = Table("ha", "estimate", "SE", "classical interval", "SE less than without", title="Model-assisted area")
    limits = _limits(found.interval, lambda value: _number(value, total_ha, digits))
    figures = (_number(each, total_ha, digits) for each in (found.estimate.value, found.estimate.se))
    table.add_row(escape(found.name), *figures, limits, "–" if found.gain is None else f"{100 * found.gain:.0f} %")
    console.print(table)


def _interpreters(found: Interpreters, console: Console, digits: int) -> None:
    names = [escape(name) for name in found.names]
    for one in found.agreements:
        first, second = escape(one.first), escape(one.second)
        said = f"{_number(one.overall, 100, 1)} % of {one.points} points alike, kappa {_number(one.kappa, 1, 3)}"
        counts = [[str(count) for count in row] for row in one.counts]
        by_class = [_number(one.of_class(k), 100, 1) for k in range(len(names))]
        console.print(f"{first} and {second}: {said}")
        table = Table(f"{first} ↓  {second} →", *names, "alike, %", title="Two interpreters")
        for name, row, alike in zip(names, counts, by_class, strict=True):
            table.add_row(name, *row, alike)
        console.print(table)
    table = Table("ha", *(escape(one.name) for one in found.each), "range", title="Areas by interpreter")
    for k, name in enumerate(names):
        each = (_number(one.areas[k].estimate, found.total_ha, digits) for one in found.each)
        span = found.range_ha(k)
        table.add_row(name, *each, "–" if span is None else f"{span[0]:,.{digits}f} – {span[1]:,.{digits}f}")
    console.print(table)


def _trees(found: Trees, console: Console, digits: int) -> None:
    table = Table("ha", "estimate", "HW90 % classical", "deduction", "HW90 % honest", "deduction", title="ART-TREES")

    def cells(one: Uncertainty | None) -> tuple[str, str]:
        return ("–", "–") if one is None else (f"{100 * one.half_width:.1f} %", f"{100 * one.adjustment:.2f} %")

    for row in found.rows:
        area = _number(row.area_ha, 1, digits)
        table.add_row(escape(row.name), area, *cells(row.classical), *cells(row.honest))
    console.print(table)


def _cells(figure: Figure, scale: float, digits: int) -> tuple[str, str, str, str]:
    def number(value: float | None) -> str:
        return _number(value, scale, digits)

    limits = (_limits(each, number) for each in (figure.interval, figure.wald))
    interval, classical = limits
    return number(figure.estimate), interval, number(figure.se), classical


def _limits(interval: Interval | None, number: Callable[[float], str]) -> str:
    return "–" if interval is None else f"{number(interval.lower)} – {number(interval.upper)}"


def _number(value: float | None, scale: float, digits: int) -> str:
    return "–" if value is None else f"{value * scale:,.{digits}f}"
