"""Whether a label is drawn in large pixels: its boundaries then lie on the lines of a lattice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mapmend.audit.measuring import Bytes
from mapmend.change.patches import Floats, Ints
from mapmend.core.grid import Window
from mapmend.core.legend import NODATA

_LEAST, _MOST, _STEP = 2.5, 128.0, 0.05  # pixels of a large pixel's side
_BLOCKY = 0.75  # of the boundaries' common phase: 1 where all lie on one lattice, 0 where they lie anywhere
_LEAST_EDGES = 200
_REACH = 2**14  # pixels over which phases must hold; a lattice of uneven pixels drifts


@dataclass(frozen=True)
class Blockiness:
    """How well a label's boundaries lie on a lattice.

    Attributes:
        cell: side of its squares in pixels; 0 where there is none.
        phase: 0 to 1, how much of the boundaries' length lies on it.
    """

    cell: float
    phase: float

    @property
    def coarse(self) -> bool:
        """Whether the label is drawn in large pixels."""
        return self.cell > 0


@dataclass
class EdgePlaces:
    """Counts a label's boundaries by row and by column."""

    _down: dict[int, int] = field(default_factory=dict)
    _right: dict[int, int] = field(default_factory=dict)

    def add(self, label: Bytes, window: Window) -> None:
        """Add a window; what lies between windows is left out."""
        for counts, axis, start in ((self._down, 0, window.row), (self._right, 1, window.col)):
            one, other = (label[1:], label[:-1]) if axis == 0 else (label[:, 1:], label[:, :-1])
            differ = (one != other) & (one != NODATA) & (other != NODATA)
            per_line = differ.sum(axis=1 - axis)
            for place in np.flatnonzero(per_line).tolist():
                at = start + place + 1
                counts[at] = counts.get(at, 0) + int(per_line[place])

    def blockiness(self) -> Blockiness:
        """The largest lattice on which the boundaries lie.

        All boundaries on lines every T pixels have one phase, and |Σ n exp(2πi x / T)| / Σ n = 1: so it is for T and
        for its whole fractions, of which the largest period is the lattice's.
        """
        both = [(np.array(list(counts)), np.array(list(counts.values()))) for counts in (self._down, self._right)]
        if min((int(number.sum()) for _, number in both), default=0) < _LEAST_EDGES:
            return Blockiness(0.0, 0.0)
        periods = np.arange(_LEAST, _MOST, _STEP)
        phases = np.minimum(*(_phases(place, number, periods) for place, number in both))
        blocky = np.flatnonzero(phases >= _BLOCKY)
        if not blocky.size:
            return Blockiness(0.0, float(phases.max()))
        # the highest of the last hump
        last = blocky[-1]
        first = last
        while first > 0 and phases[first - 1] >= _BLOCKY:
            first -= 1
        best = first + int(phases[first : last + 1].argmax())
        return Blockiness(round(float(periods[best]), 2), float(phases[best]))


def _phases(place: Ints, number: Ints, periods: Floats) -> Floats:
    near = place < place.min() + _REACH
    turns = np.exp(2j * np.pi * place[near] / periods[:, None])
    result: Floats = np.abs(turns @ number[near]) / number[near].sum()
    return result
