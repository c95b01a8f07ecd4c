"""Where on a class map the classes' numbers can be written, so that no reader depends on telling colours apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mapmend.core.legend import Legend

_SIDE = 180  # pixels of the reduced map in which places are looked for
_ROOM = 0.030  # free radius a number needs, as a share of the longer side
_LEAST_ROOM = 0.016  # what the widest place of a class must have to be marked at all
_APART = 0.085  # distance between numbers, as a share of the longer side
_PER_CLASS = 3
_MOST = 28


@dataclass(frozen=True)
class Mark:
    """A class id at a place of the picture; x and y run from 0 to 1, from the upper left corner."""

    x: float
    y: float
    id: int


def place_marks(indices: npt.NDArray[np.uint8], legend: Legend) -> tuple[Mark, ...]:
    """Numbers for the widest places of each class, the widest first; none overlap.

    Args:
        indices: H×W class indices, other values where there is no class.
        legend: gives the ids.
    """
    step = max(1, max(indices.shape) // _SIDE)
    small = indices[step // 2 :: step, step // 2 :: step] if min(indices.shape) > step else indices
    longest = max(small.shape)
    found: list[tuple[float, int, int, int]] = []
    for index in range(len(legend)):
        found.extend(_widest_places(small == index, longest, index))
    kept: list[tuple[int, int, int]] = []
    for _, row, column, index in sorted(found, key=lambda place: -place[0]):
        if len(kept) < _MOST and all(np.hypot(row - r, column - c) >= _APART * longest for r, c, _ in kept):
            kept.append((row, column, index))
    height, width = small.shape
    return tuple(Mark((c + 0.5) / width, (r + 0.5) / height, legend.ids[index]) for r, c, index in kept)


def _widest_places(mask: npt.NDArray[np.bool_], longest: int, index: int) -> list[tuple[float, int, int, int]]:
    """(free radius, row, column, class) of up to three places, the radius in pixels of the mask."""
    if not mask.any():
        return []
    # the picture's edge bounds an area too: a number must not be cut off
    free = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    places: list[tuple[float, int, int, int]] = []
    while len(places) < _PER_CLASS:
        row, column = divmod(int(np.argmax(free)), free.shape[1])
        radius = float(free[row, column])
        if radius < (_ROOM if places else _LEAST_ROOM) * longest:
            break
        places.append((radius, row, column, index))
        taken = max(2 * radius, 3 * _APART * longest)
        free[np.hypot(rows - row, columns - column) < taken] = 0
    return places
