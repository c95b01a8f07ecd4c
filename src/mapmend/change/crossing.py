"""Patches that go on from strip to strip: only what touches a strip's first or last row is remembered."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mapmend.change.patches import Floats, Ints, StripPatches, sums
from mapmend.change.settings import ChangeSettings


@dataclass(frozen=True)
class CrossingPatches:
    """The patches that touch borders of strips, each as a whole.

    Attributes:
        group: the patch that each piece belongs to, strip by strip in the order of `StripPatches.border`.
        starts: place in `group` of each strip's first piece, and the end.
        pixels: of each patch.
        area: of each patch.
        certainty: sum over each patch's pixels.
        last: strip in which each patch ends.
        kept: whether it reaches the minimum mapping unit.
    """

    group: Ints
    starts: tuple[int, ...]
    pixels: Ints
    area: Floats
    certainty: Floats
    last: Ints
    kept: npt.NDArray[np.bool_]

    def of(self, strip: int) -> Ints:
        """The patch that each of a strip's border pieces belongs to."""
        return self.group[self.starts[strip] : self.starts[strip + 1]]


@dataclass
class Crossings:
    """Collects the pieces at the strips' borders, from the first strip to the last."""

    _sums: list[Floats] = field(default_factory=list)
    _links: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _starts: list[int] = field(default_factory=lambda: [0])
    _above: tuple[Ints, Ints] | None = None

    def add(self, patches: StripPatches) -> None:
        """Add the next strip's patches."""
        border, start = patches.border, self._starts[-1]
        if self._above is not None:
            ids, codes = self._above
            both = np.flatnonzero((ids >= 0) & (patches.top >= 0))
            both = both[codes[both] == patches.code[patches.top[both]]]
            links = np.stack([ids[both], start + np.searchsorted(border, patches.top[both])])
            self._links.append(np.unique(links, axis=1))
        there = patches.bottom >= 0
        ids = np.where(there, start + np.searchsorted(border, patches.bottom), -1)
        codes = np.full(len(ids), -1, np.int64)
        codes[there] = patches.code[patches.bottom[there]]
        self._above = ids, codes
        self._sums.append(np.stack([patches.pixels[border], patches.area[border], patches.certainty[border]]))
        self._starts.append(start + len(border))

    def resolve(self, settings: ChangeSettings) -> CrossingPatches:
        """Join the pieces into patches, and see which of them are large enough."""
        total = self._starts[-1]
        upper, lower = np.concatenate([np.zeros((2, 0), np.int64), *self._links], axis=1)
        graph = coo_array((np.ones(len(upper), bool), (upper, lower)), shape=(total, total))
        count, found = connected_components(graph, directed=False) if total else (0, [])
        group = np.asarray(found, np.int64)
        pixels, area, certainty = (sums(group, values, count) for values in np.concatenate(self._sums, axis=1))
        strips = np.repeat(np.arange(len(self._starts) - 1), np.diff(self._starts))
        last = np.zeros(count, np.int64)
        np.maximum.at(last, group, strips)
        whole = np.rint(pixels).astype(np.int64)
        return CrossingPatches(group, tuple(self._starts), whole, area, certainty, last, settings.keeps(whole, area))
