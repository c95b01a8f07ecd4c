"""Where on a class map the classes' numbers can be written, so that no reader depends on telling colours apart."""

from __future__ import annotations

from collections.abc import Sequence
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
_PAIR_APART = 0.13  # a transition is two numbers and an arrow


@dataclass(frozen=True)
class Mark:
    """A class id at a place of the picture; x and y run from 0 to 1, from the upper left corner.

    `to` is the class that it became, on a picture of change.
    """

    x: float
    y: float
    id: int
    to: int | None = None

    @property
    def text(self) -> str:
        """What is written on the picture."""
        return str(self.id) if self.to is None else f"{self.id}→{self.to}"


def place_marks(indices: npt.NDArray[np.uint8], legend: Legend) -> tuple[Mark, ...]:
    """Numbers for the widest places of each class, the widest first; none overlap.

    Args:
        indices: H×W class indices, other values where there is no class.
        legend: gives the ids.
    """
    return tuple(Mark(x, y, legend.ids[index]) for x, y, index in _places(indices, len(legend), _APART))


def place_change_marks(kinds: npt.NDArray[np.uint8], transitions: Sequence[tuple[int, int]]) -> tuple[Mark, ...]:
    """`from→to` for the widest places of each transition.

    Args:
        kinds: H×W positions in `transitions`, other values where nothing changed.
        transitions: class ids before and after, 254 at most.
    """
    inside = 0.6 * _PAIR_APART
    return tuple(
        Mark(min(max(x, inside), 1 - inside), y, *transitions[kind])
        for x, y, kind in _places(kinds, len(transitions), _PAIR_APART)
    )


def _places(indices: npt.NDArray[np.uint8], count: int, apart: float) -> list[tuple[float, float, int]]:
    """x, y and index of each number, `apart` of the longer side from every other."""
    step = max(1, max(indices.shape) // _SIDE)
    small = indices[step // 2 :: step, step // 2 :: step] if min(indices.shape) > step else indices
    longest = max(small.shape)
    found: list[tuple[float, int, int, int]] = []
    room = _most_room(small)
    for index in range(count):
        if room[index] >= _LEAST_ROOM * longest:
            found.extend(_widest_places(small == index, longest, index))
    kept: list[tuple[int, int, int]] = []
    for _, row, column, index in sorted(found, key=lambda place: -place[0]):
        if len(kept) < _MOST and all(np.hypot(row - r, column - c) >= apart * longest for r, c, _ in kept):
            kept.append((row, column, index))
    height, width = small.shape
    return [((c + 0.5) / width, (r + 0.5) / height, index) for r, c, index in kept]


def _most_room(indices: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Free radius, at most, in the widest place of each of 256 classes: one look at all of them, before each is."""
    inner = np.ones(indices.shape, bool)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        inner[here] &= indices[here] == indices[there]
        inner[there] &= indices[here] == indices[there]
    room = np.zeros(256)
    # a pixel on a border has its neighbour within one pixel
    np.maximum.at(room, indices, ndimage.distance_transform_edt(np.pad(inner, 1))[1:-1, 1:-1] + 1)
    return room


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
