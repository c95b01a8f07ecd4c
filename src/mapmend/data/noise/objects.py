"""The objects of a label, how many of them make a rate, and what lies around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy import ndimage

from mapmend.core.legend import NODATA

PIECE = 48  # pixels: an object of more than four squares of this side is taken as several
_SLACK = 0.004  # of a class's pixels, which a rate may fall short by to leave the last object whole

Places = tuple[np.ndarray, np.ndarray]
"""Rows and columns of an object's pixels."""


def smaller_classes(label: np.ndarray, asked: Sequence[int]) -> list[int]:
    """The classes that are asked for and present; all but the commonest where none is asked for."""
    counts = np.bincount(label[label != NODATA].ravel(), minlength=1)
    present = np.flatnonzero(counts).tolist()
    if asked:
        return [index for index in asked if index in present]
    return [index for index in present if index != int(counts.argmax())] if len(present) > 1 else []


def objects_of(mask: np.ndarray, rng: np.random.Generator | None = None) -> list[Places]:
    """Connected parts of a mask, by side; given a generator, large ones in pieces of about `PIECE` pixels."""
    ids, count = ndimage.label(mask)
    if not count:
        return []
    flat = ids.ravel().astype(np.int64)
    if rng is not None:
        large = np.bincount(flat) > 4 * PIECE**2
        large[0] = False
        if large.any():
            rows, cols = np.indices(mask.shape) + rng.integers(PIECE, size=2)[:, None, None]
            across = mask.shape[1] // PIECE + 2
            cell = (rows // PIECE * across + cols // PIECE + 1).ravel()
            flat = flat * (int(cell.max()) + 1) + np.where(large[flat], cell, 0)
            flat[~mask.ravel()] = 0
    order = np.argsort(flat, kind="stable")
    order = order[np.searchsorted(flat[order], 1) :]
    starts = np.flatnonzero(np.diff(flat[order])) + 1
    width = mask.shape[1]
    return [(part // width, part % width) for part in np.split(order, starts)]


def take(objects: Sequence[Places], rate: float, total: int, rng: np.random.Generator) -> list[Places]:
    """Objects at random that hold a share of `total` pixels; of one more a part, where whole ones do not make it."""
    left = round(rate * total)
    taken: list[Places] = []
    others: list[Places] = []
    for index in rng.permutation(len(objects)):
        one = objects[index]
        if one[0].size <= left:
            taken.append(one)
            left -= one[0].size
        else:
            others.append(one)
    if left > _SLACK * total and others:
        taken.append(part_of(min(others, key=lambda one: one[0].size), left, rng))
    return taken


def part_of(places: Places, count: int, rng: np.random.Generator) -> Places:
    """The first pixels of an object, seen from a direction at random."""
    angle = rng.uniform(0, 2 * np.pi)
    order = np.argsort(places[0] * np.cos(angle) + places[1] * np.sin(angle), kind="stable")[:count]
    return places[0][order], places[1][order]


def class_around(label: np.ndarray, places: Places, own: int, *, anywhere: bool = False) -> int | None:
    """The commonest other class that touches an object; if none does and `anywhere`, the commonest other at all."""
    top, left = (max(int(part.min()) - 1, 0) for part in places)
    bottom, right = (int(part.max()) + 2 for part in places)
    window = label[top:bottom, left:right]
    inside = np.zeros(window.shape, bool)
    inside[places[0] - top, places[1] - left] = True
    ring = window[ndimage.binary_dilation(inside) & ~inside]
    for seen in (ring, label) if anywhere else (ring,):
        others = seen[(seen != own) & (seen != NODATA)]
        if others.size:
            return int(np.bincount(others).argmax())
    return None


def nearest_of(label: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For every pixel the label of the nearest one that is `known`; the label itself where none is."""
    if not known.any():
        return label
    rows, cols = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    nearest: np.ndarray = label[rows, cols]
    return nearest


def repaint(label: np.ndarray, classes: Iterable[int], moved: Iterable[tuple[int, Places]]) -> np.ndarray:
    """Clear some classes away, as if what is nearest had always been there, and paint objects, the largest first."""
    kept = ~np.isin(label, [*classes, NODATA])
    if not kept.any():
        return label
    out = np.where(kept | (label == NODATA), label, nearest_of(label, kept))
    for index, (rows, cols) in sorted(moved, key=lambda one: -one[1][0].size):
        inside = (rows >= 0) & (rows < label.shape[0]) & (cols >= 0) & (cols < label.shape[1])
        out[rows[inside], cols[inside]] = index
    return np.where(label == NODATA, label, out)


def objects_by_class(label: np.ndarray, classes: Iterable[int]) -> Iterator[tuple[int, Places]]:
    """Each object of some classes, with its class."""
    for index in classes:
        for places in objects_of(label == index):
            yield index, places
