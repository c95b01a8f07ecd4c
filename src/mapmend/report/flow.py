"""The flow chart of change: what each class lost, on the left, and what gained it, on the right.

What stayed is left out, for it would dwarf every change; bars and ribbons are areas on one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mapmend.core.legend import Legend, LegendClass
from mapmend.report.change_tables import Transition, transitions
from mapmend.report.curves import spread
from mapmend.report.wording import area, spoken

Words = Callable[[float], str]  # an area as it is written

WIDTH = 860.0  # user units; the page scales them
_LEFT, _RIGHT, _BAR = 265.0, 570.0, 16.0
_TOP, _GAP = 30.0, 9.0
_SCALE_HEIGHT = 300.0  # of all change together
_LABEL = 17.0  # height of a line of text
_LEAST_SHARE = 0.015  # of the change; smaller flows are drawn together
_MOST_FLOWS = 18
_TEXT_ROOM = 13.0  # a ribbon this thick holds its area in words
_LONGEST_NAME = 27
_OTHER = "#b8b8b8"


@dataclass(frozen=True)
class Bar:
    """What a class lost or gained; `text_y` is where its name stands, `name` is shortened, `full` is not."""

    x: float
    y: float
    height: float
    text_y: float
    colour: str
    name: str
    full: str
    area: str


@dataclass(frozen=True)
class Ribbon:
    """A transition: an SVG path in the colour of the class it comes from; `text` where there is room for it."""

    path: str
    colour: str
    title: str
    text: str
    text_y: float


@dataclass(frozen=True)
class Flow:
    """The whole chart; `left` and `right` are the bars of the earlier and of the later date."""

    height: float
    left: tuple[Bar, ...]
    right: tuple[Bar, ...]
    ribbons: tuple[Ribbon, ...]
    alt: str
    merged: int

    width = WIDTH
    edge = _LEFT + _BAR
    bar = _BAR


def draw_flow(areas: Sequence[Sequence[float]], unit: str, legend: Legend) -> Flow | None:
    """The chart of K×K areas [before][after]; None where nothing changed."""
    every = transitions(areas, legend)
    total = sum(one.area for one in every)
    if not total:
        return None
    kept = [one for one in every[:_MOST_FLOWS] if one.share >= _LEAST_SHARE]
    rest = every[len(kept) :]
    if len(rest) == 1:  # to call one flow "other" would say less in the same room
        kept, rest = every, []
    flows = _in_order(kept, legend)
    others = sum(one.area for one in rest)
    name = f"{len(rest)} smaller changes" if rest else ""
    scale = _SCALE_HEIGHT / total

    def words(size: float) -> str:
        return f"{area(size, unit, every[0].area)} {unit}"

    sides = [_bars(flows, others, name, side, scale, words) for side in ("before", "after")]
    tallest = max(len(side) * _LABEL for side in sides)
    lowest = max(side[-1].y + side[-1].height for side in sides)
    height = max(_TOP + tallest, lowest) + 8
    left, right = (_labelled(side, height) for side in sides)
    said = "; ".join(f"{_said(one)} {words(one.area)}" for one in kept[:5])
    alt = f"Flow chart of {words(total)} of change. {said}" + (f"; and {name}" if rest else "")
    return Flow(height, left, right, _ribbons(flows, others, name, left, right, scale, words), alt, len(rest))


def _in_order(kept: Sequence[Transition], legend: Legend) -> list[Transition]:
    """By class before, then by class after: ribbons of one bar do not cross each other."""
    rank = {entry.id: index for index, entry in enumerate(legend.classes)}
    return sorted(kept, key=lambda one: (rank[one.before.id], rank[one.after.id]))


def _classes(flows: Sequence[Transition], side: str) -> list[LegendClass]:
    found = {getattr(one, side).id: getattr(one, side) for one in flows}
    if side == "before":
        return list(found.values())
    # each class near what it is made from
    middle = {
        key: sum(n * one.area for n, one in enumerate(flows) if one.after.id == key)
        / sum(one.area for one in flows if one.after.id == key)
        for key in found
    }
    return [found[key] for key in sorted(found, key=lambda key: middle[key])]


def _bars(flows: Sequence[Transition], others: float, name: str, side: str, scale: float, words: Words) -> list[Bar]:
    sums = [
        (entry.color, f"{entry.id} {spoken(entry.name)}", sum(o.area for o in flows if getattr(o, side).id == entry.id))
        for entry in _classes(flows, side)
    ]
    if others:
        sums.append((_OTHER, name, others))
    x, y, bars = (_LEFT if side == "before" else _RIGHT), _TOP, []
    for colour, full, size in sums:
        height = size * scale
        short = full if len(full) <= _LONGEST_NAME else full[: _LONGEST_NAME - 1] + "…"
        bars.append(Bar(x, y, height, y + height / 2, colour, short, full, words(size)))
        y += height + _GAP
    return bars


def _labelled(bars: Sequence[Bar], height: float) -> tuple[Bar, ...]:
    """The bars with their names moved apart where they would overlap."""
    room = height - _TOP
    places = spread([(bar.text_y - _TOP) / room for bar in bars], _LABEL / room)
    return tuple(
        Bar(bar.x, bar.y, bar.height, _TOP + room * place, bar.colour, bar.name, bar.full, bar.area)
        for bar, place in zip(bars, places, strict=True)
    )


def _ribbons(
    flows: Sequence[Transition],
    others: float,
    name: str,
    left: Sequence[Bar],
    right: Sequence[Bar],
    scale: float,
    words: Words,
) -> tuple[Ribbon, ...]:
    starts = {entry.id: bar.y for entry, bar in zip(_classes(flows, "before"), left, strict=False)}
    ends = {entry.id: bar.y for entry, bar in zip(_classes(flows, "after"), right, strict=False)}
    order = {entry.id: n for n, entry in enumerate(_classes(flows, "after"))}
    ribbons = []
    for one in sorted(flows, key=lambda one: (starts[one.before.id], order[one.after.id])):
        thick = one.area * scale
        start, end = starts[one.before.id], ends[one.after.id]
        starts[one.before.id] += thick
        ends[one.after.id] += thick
        text = words(one.area)
        shown = text if thick >= _TEXT_ROOM else ""
        ribbons.append(
            Ribbon(_path(start, end, thick), one.before.color, f"{_said(one)}: {text}", shown, start + thick / 2)
        )
    if others:
        thick = others * scale
        path = _path(left[-1].y, right[-1].y, thick)
        ribbons.append(Ribbon(path, _OTHER, f"{name}: {words(others)}", "", left[-1].y))
    return tuple(ribbons)


def _path(start: float, end: float, thick: float) -> str:
    """A band that leaves and arrives level."""
    x0, x1 = _LEFT + _BAR, _RIGHT
    middle = (x0 + x1) / 2
    there = f"C{middle:.1f} {start:.1f} {middle:.1f} {end:.1f} {x1:.1f} {end:.1f}"
    below, behind = start + thick, end + thick
    back = f"C{middle:.1f} {behind:.1f} {middle:.1f} {below:.1f} {x0:.1f} {below:.1f}"
    return f"M{x0:.1f} {start:.1f}{there}V{behind:.1f}{back}Z"


def _said(one: Transition) -> str:
    return f"{spoken(one.before.name)} to {spoken(one.after.name)}"
