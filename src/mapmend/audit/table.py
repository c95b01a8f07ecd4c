"""All parts of a label in one table, joined across the strips in which they were found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from mapmend.audit.measuring import SUMS, StripParts
from mapmend.change.crossing import CrossingPatches, Crossings
from mapmend.change.patches import Floats, Ints
from mapmend.change.settings import ChangeSettings

_ALL = ChangeSettings()  # keeps patches of any size


@dataclass(frozen=True)
class Parts:
    """P parts, in the order in which their first pixels are met.

    Attributes:
        site: number of the judged site.
        label: class that the label gives, legend index.
        proposed: class that the held-out model proposes.
        pixels: of the part.
        area: in ha, or px where the place on Earth is unknown.
        sums: M×P, see `StripParts.sums`, in the order of `SUMS`.
        depth: of the deepest pixel.
        box: 4×P first and last row, first and last column, on the site's grid.
        object: number of the label's object it lies in.
    """

    site: Ints
    label: Ints
    proposed: Ints
    pixels: Ints
    area: Floats
    sums: Floats
    depth: Floats
    box: Ints
    object: Ints

    def __len__(self) -> int:
        return len(self.label)

    def mean(self, name: str) -> Floats:
        """A sum over the part's pixels, per pixel."""
        result: Floats = self.sums[SUMS.index(name)] / self.pixels
        return result

    def share(self, name: str, of: str) -> Floats:
        """One sum by another, 0 where there is nothing of it."""
        part, whole = self.sums[SUMS.index(name)], self.sums[SUMS.index(of)]
        result: Floats = np.divide(part, whole, out=np.zeros(len(self)), where=whole > 0)
        return result

    @property
    def differs(self) -> npt.NDArray[np.bool_]:
        """Which parts have another class proposed than the label's."""
        result: npt.NDArray[np.bool_] = self.label != self.proposed
        return result

    def chosen(self, which: npt.NDArray[np.generic]) -> Parts:
        """Some of the parts, by places or by a mask."""
        return Parts(**{one.name: getattr(self, one.name)[..., which] for one in fields(self)})


def joined(tables: Sequence[Parts]) -> Parts:
    """Tables one after the other, their label objects kept apart."""
    start, moved = 0, []
    for table in tables:
        moved.append(table.object + start)
        start += int(table.object.max(initial=-1)) + 1
    whole = {
        one.name: np.concatenate([getattr(table, one.name) for table in tables], axis=-1)
        for one in fields(Parts)
        if one.name != "object"
    }
    return Parts(**whole, object=np.concatenate(moved))


@dataclass
class Collector:
    """Takes the parts of a site's strips from the first to the last.

    Small parts are dropped as soon as it is known that they are small, so memory grows with those that are not.

    Args:
        site: number of the site.
        classes: K.
        least: pixels of the smallest part that is kept.
    """

    site: int
    classes: int
    least: int
    _parts: Crossings = field(default_factory=Crossings)
    _objects: Crossings = field(default_factory=Crossings)
    _strips: list[_Strip] = field(default_factory=list)

    def add(self, strip: StripParts, row: int, col: int = 0) -> None:
        """Add a strip whose first own pixel is at this place of the grid."""
        self._parts.add(strip.patches)
        self._objects.add(strip.objects)
        border = np.zeros(len(strip.patches.code), bool)
        border[strip.patches.border] = True
        kept = np.flatnonzero(border | (strip.patches.pixels >= self.least))
        values = np.concatenate([strip.patches.area[None], np.stack([strip.sums[name] for name in SUMS])])
        self._strips.append(
            _Strip(
                count=len(border),
                kept=kept,
                code=strip.patches.code[kept],
                pixels=strip.patches.pixels[kept],
                values=values[:, kept],
                depth=strip.depth[kept],
                box=strip.box[:, kept] + np.array([[row], [row], [col], [col]]),
                object=strip.object_of[kept],
                objects=len(strip.objects.code),
                part_border=strip.patches.border,
                object_border=strip.objects.border,
            )
        )

    def finish(self) -> tuple[Parts, list[Ints]]:
        """The table, and for each strip the row of each of its parts, -1 for what was dropped."""
        parts, objects = self._parts.resolve(_ALL), self._objects.resolve(_ALL)
        part_keys, object_keys = [], []
        next_part, next_object = len(parts.pixels), len(objects.pixels)
        for number, strip in enumerate(self._strips):
            whole = _keys(strip.count, strip.part_border, parts, number, next_part)
            of_object = _keys(strip.objects, strip.object_border, objects, number, next_object)
            next_part, next_object = next_part + strip.count, next_object + strip.objects
            part_keys.append(whole[strip.kept])
            object_keys.append(of_object[strip.object])
        keys = np.concatenate([np.zeros(0, np.int64), *part_keys])
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")  # rows in the order in which parts are met
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        place = rank[place.ravel()]
        table = self._combined(place, first[order], np.concatenate([np.zeros(0, np.int64), *object_keys]))
        large = table.pixels >= self.least
        row_of = np.where(large, np.cumsum(large) - 1, -1)
        return table.chosen(large), self._rows(row_of[place])

    def _combined(self, place: Ints, first: Ints, objects: Ints) -> Parts:
        count = len(first)

        def together(name: str) -> Ints | Floats:
            empty = np.zeros((*{"box": (4,), "values": (1 + len(SUMS),)}.get(name, ()), 0))
            return np.concatenate([empty, *(getattr(strip, name) for strip in self._strips)], axis=-1)

        values = np.stack([np.bincount(place, of_sum, minlength=count) for of_sum in together("values")])
        code = together("code").astype(np.int64)[first]
        depth, box = np.zeros(count), together("box").astype(np.int64)
        np.maximum.at(depth, place, together("depth"))
        bounds = np.stack([np.full(count, extreme) for extreme in (2**62, -1, 2**62, -1)]).astype(np.int64)
        for row in range(4):
            (np.minimum, np.maximum)[row % 2].at(bounds[row], place, box[row])
        label, proposed = np.divmod(code, self.classes)
        pixels = np.bincount(place, together("pixels"), minlength=count).round().astype(np.int64)
        own = np.unique(objects[first], return_inverse=True)[1].ravel()
        site = np.full(count, self.site)
        areas, rest = np.asarray(values[0], np.float64), np.asarray(values[1:], np.float64)
        return Parts(site, label, proposed, pixels, areas, rest, depth, bounds, own)

    def _rows(self, rows: Ints) -> list[Ints]:
        found, start = [], 0
        for strip in self._strips:
            of_strip = np.full(strip.count, -1, np.int64)
            of_strip[strip.kept] = rows[start : start + len(strip.kept)]
            start += len(strip.kept)
            found.append(of_strip)
        return found


@dataclass(frozen=True)
class _Strip:
    """What is remembered of a strip: its large parts, and those that may go on in another one."""

    count: int
    kept: Ints
    code: Ints
    pixels: Ints
    values: Floats
    depth: Floats
    box: Ints
    object: Ints
    objects: int
    part_border: Ints
    object_border: Ints


def _keys(count: int, border: Ints, crossing: CrossingPatches, strip: int, start: int) -> Ints:
    """A number for each piece of a strip, the same for pieces of one whole."""
    keys = np.arange(start, start + count)
    keys[border] = crossing.of(strip)
    return keys
