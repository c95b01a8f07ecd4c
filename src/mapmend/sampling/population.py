"""All that can be drawn from a map: how much of each category there is, and how probable a class is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mapmend.change.codes import FromToLegend
from mapmend.core.errors import LegendError, SampleError
from mapmend.core.plain import suggestion
from mapmend.core.stored import STEPS
from mapmend.sampling.counting import Tally
from mapmend.sampling.inputs import SampledMap

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CHANGE = "change"
"""Names all transitions of a from-to map together."""

_MOST_LISTED = 8


@dataclass(frozen=True)
class Population:
    """The pixels of a map that can be drawn, by their code: a class's id, or i·K + j of what changed from i to j.

    Attributes:
        source: the map.
        codes: those that occur, increasing.
        pixels: of each code.
        areas: of each code in hectares.
        histogram: codes×201, areas in hectares by the step of the probability; zero where that is unknown.
    """

    source: SampledMap
    codes: tuple[int, ...]
    pixels: tuple[int, ...]
    areas: tuple[float, ...]
    histogram: Floats

    @property
    def pixel_area_ha(self) -> float:
        """Mean area of a pixel."""
        return sum(self.areas) / sum(self.pixels)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the codes: a class, or what became what."""
        source = self.source
        entries = FromToLegend(source.legend).classes if source.two_dates else source.legend.classes
        by_code = {entry.id: entry.name for entry in entries}
        return tuple(by_code[code] for code in self.codes)

    @property
    def changed(self) -> tuple[bool, ...]:
        """Whether a code is that of a transition."""
        size = len(self.source.legend)
        return tuple(self.source.two_dates and code // size != code % size for code in self.codes)

    def later(self, values: Sequence[float]) -> tuple[float, ...]:
        """Sums of a value of each code by class of the (later) map, in the legend's order."""
        legend = self.source.legend
        sums = [type(values[0])(0)] * len(legend)
        for code, value in zip(self.codes, values, strict=True):
            sums[code % len(legend) if self.source.two_dates else legend.ids.index(code)] += value
        return tuple(sums)

    def members(self, name: str) -> tuple[int, ...]:
        """Indices of the codes of the map that a name stands for, see `codes_of`.

        Raises:
            LegendError: there is no such class; the nearest is named.
            SampleError: the map has none of it.
        """
        found = tuple(at for at, code in enumerate(self.codes) if code in self.codes_of(name))
        if not found:
            raise SampleError(f"the map has no pixel of '{name}'", where=self.source.path, fix="name another class")
        return found

    def codes_of(self, name: str) -> set[int]:
        """All codes that a name stands for, whether the map has them or not.

        Args:
            name: a class of the (later) map by name or id; of a from-to map also "change", or "old → new", for which
                "old -> new" and "old > new" will do.

        Raises:
            LegendError: there is no such class; the nearest is named.
        """
        legend, size = self.source.legend, len(self.source.legend)
        if not self.source.two_dates:
            return {legend.ids[legend.index_of(name)]}
        if name.strip().casefold() == CHANGE and not legend.has_name(CHANGE):
            return {code for code in range(size**2) if code // size != code % size}
        for arrow in ("→", "->", ">"):
            old, found, new = name.partition(arrow)
            if found:
                return {legend.index_of(old) * size + legend.index_of(new)}
        try:
            to = legend.index_of(name)
        except LegendError as fault:
            known = (CHANGE, *legend.names)
            raise LegendError(fault.what, where=fault.where, fix=suggestion(name, known)) from None
        return {code for code in range(size**2) if code % size == to}


def population_of(tally: Tally, source: SampledMap, known: frozenset[int]) -> Population:
    """Put together what was counted.

    Args:
        tally: of the map.
        source: the map.
        known: codes that it may hold.

    Raises:
        LegendError: a code that is not in the legend.
    """
    keys, pixels, areas = tally.totals()
    codes, steps = keys >> 8, keys & 255
    unknown = {int(code): int(pixels[codes == code].sum()) for code in np.unique(codes) if int(code) not in known}
    if unknown:
        ordered = sorted(unknown.items(), key=lambda one: -one[1])
        listed = ", ".join(f"{code} ({count} px)" for code, count in ordered[:_MOST_LISTED])
        more = f" and {len(ordered) - _MOST_LISTED} more" if len(ordered) > _MOST_LISTED else ""
        raise LegendError(
            f"holds code{'s' * (len(ordered) > 1)} {listed}{more}, not in legend '{source.legend.name}'",
            where=source.path,
            fix="name the map's own legend, and list codes without a class in its `ignore`",
        )
    present, place = np.unique(codes, return_inverse=True)
    histogram = np.zeros((len(present), STEPS + 1))
    certain = steps <= STEPS
    np.add.at(histogram, (place[certain], steps[certain]), areas[certain])
    sums = [np.bincount(place, weights, len(present)) for weights in (pixels, areas)]
    return Population(
        source,
        tuple(present.tolist()),
        tuple(np.rint(sums[0]).astype(int).tolist()),
        tuple(sums[1].tolist()),
        histogram,
    )
