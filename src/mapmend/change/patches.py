"""Patches of change: 4-connected pixels with the same from-to code, in one strip of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mapmend.change.codes import Codes
from mapmend.core.stored import STEPS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StripPatches:
    """The patches of a strip; N changed pixels, P patches.

    Attributes:
        at: N places of changed pixels, row · width + column, rising.
        label: N patches they belong to, 0 to P - 1.
        code: P from-to codes.
        pixels: P counts.
        area: P sums of pixels' areas.
        certainty: P sums of how sure the pixels' change is, 0 to 1 each; NaN where that is unknown.
        top: patch of each pixel of the first row, -1 where nothing changed.
        bottom: the same for the last row.
    """

    at: Ints
    label: Ints
    code: Ints
    pixels: Ints
    area: Floats
    certainty: Floats
    top: Ints
    bottom: Ints

    @property
    def border(self) -> Ints:
        """Patches in the first or last row, rising: those that may go on in another strip."""
        touching = np.unique(np.concatenate([self.top, self.bottom]))
        return touching[touching >= 0]


def find_patches(
    codes: Codes, changed: npt.NDArray[np.bool_], area: Floats, certainty: npt.NDArray[np.uint8] | None
) -> StripPatches:
    """Find and measure the patches of a strip; the cost grows with the changed pixels, not with the strip.

    Args:
        codes: from-to codes H×W.
        changed: H×W.
        area: of the changed pixels in row-major order.
        certainty: H×W, round(200·p), or None.
    """
    width = codes.shape[1]
    at = np.flatnonzero(changed)
    code = codes.ravel()[at]
    label, count = _label(at, code, width)
    first = np.zeros(count, np.int64)
    first[label[::-1]] = np.arange(len(label))[::-1]
    sure = np.full(len(at), np.nan) if certainty is None else certainty.ravel()[at] / STEPS
    by_place = [np.full(width, -1, np.int64) for _ in range(2)]
    for row, edge in zip((0, codes.shape[0] - 1), by_place, strict=True):
        here = slice(*np.searchsorted(at, [row * width, (row + 1) * width]))
        edge[at[here] - row * width] = label[here]
    return StripPatches(
        at=at,
        label=label,
        code=code[first].astype(np.int64),
        pixels=np.bincount(label, minlength=count),
        area=sums(label, area, count),
        certainty=sums(label, sure, count),
        top=by_place[0],
        bottom=by_place[1],
    )


def sums(label: Ints, values: Floats, count: int) -> Floats:
    """Sum of the values of each of `count` labels."""
    return np.bincount(label, values, minlength=count).astype(np.float64, copy=False)


def _label(at: Ints, code: Codes, width: int) -> tuple[Ints, int]:
    """The connected component of each changed pixel, by runs along the rows and what lies below each other."""
    if not len(at):
        return np.zeros(0, np.int64), 0
    goes_on = (np.diff(at) == 1) & (at[1:] % width != 0) & (code[1:] == code[:-1])
    run = np.concatenate([[0], np.cumsum(~goes_on)])
    below = np.searchsorted(at, at + width)
    upper = np.flatnonzero(below < len(at))
    upper = upper[(at[below[upper]] == at[upper] + width)]
    upper = upper[code[below[upper]] == code[upper]]
    pairs = run[upper], run[below[upper]]
    runs = int(run[-1]) + 1
    graph = coo_array((np.ones(len(upper), bool), pairs), shape=(runs, runs))
    count, of_run = connected_components(graph, directed=False)
    return of_run.astype(np.int64)[run], int(count)
