"""Folds: the labelled ground in as many parts, each of which is judged by a model that was trained on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mapmend.core.errors import LabelError
from mapmend.core.grid import Grid, Window, full_window
from mapmend.data.overlaps import groups
from mapmend.data.sites import PreparedSite
from mapmend.data.splits import SitePart, classes_in, place_of, shared_blocks

_LEAST_SIDE = 32  # of a block
_PER_FOLD = 3  # blocks that a fold shall have at least: a fold of one block may lack a class altogether
_DRAWS = 16  # of folds, from which the one whose trainings lack the fewest classes is taken

Placed = tuple[str, Window]
"""A site's name and a block of it."""


@dataclass(frozen=True)
class _Unit:
    """What goes into a fold as a whole: one block, or whole sites that cannot be told apart; and its classes."""

    blocks: tuple[Placed, ...]
    held: np.ndarray


def fold_sites(
    sites: Sequence[PreparedSite], *, folds: int, block: int, seed: int = 0
) -> tuple[tuple[SitePart, ...], ...]:
    """For each fold the parts of all sites: its blocks, and what lies outside of them and of a buffer trains.

    Every labelled block lies in exactly one fold. A site is cut into equal blocks of about twice `block` pixels, less
    where that would leave a fold fewer than three; a small site is a block itself. All dates of a site share its
    blocks. Ground that several sites share is trained on nowhere while one of them is judged there, and sites whose
    images share pixels stay in one fold. The buffer is an eighth of a block's side. Equal arguments give equal folds.

    Args:
        sites: labelled sites.
        folds: how many, at least 2.
        block: half of a block's side in pixels.
        seed: of the draw.

    Raises:
        LabelError: fewer than two folds, or labels in too few places for so many.
    """
    if folds < 2:
        raise LabelError(f"{folds} fold would judge labels by a model that saw them", fix="use 2 folds or more")
    dates: dict[str, list[PreparedSite]] = {}
    for site in sites:
        dates.setdefault(site.name, []).append(site)
    tied, by_pixels = groups([place_of(of_name) for of_name in dates.values()])
    side = 2 * block
    units = _units(dates, tied, by_pixels, side)
    while len(units) < _PER_FOLD * folds and side // 2 >= _LEAST_SIDE:
        side //= 2
        units = _units(dates, tied, by_pixels, side)
    if len(units) < folds:
        raise LabelError(
            f"labels in {len(units)} places cannot be cut into {folds} folds",
            fix="use fewer folds, or label more than a corner",
        )
    fold_of = _draw(units, folds, np.random.default_rng([seed, 0xF01D]))
    return tuple(
        _parts(dates, tied, [unit for unit, own in zip(units, fold_of, strict=True) if own == fold], side // 8)
        for fold in range(folds)
    )


def _units(
    dates: Mapping[str, Sequence[PreparedSite]], tied: Sequence[tuple[str, ...]], by_pixels: frozenset[str], side: int
) -> list[_Unit]:
    units = []
    for group in tied:
        if by_pixels & set(group):  # nobody knows where they share pixels
            whole = [(name, full_window(dates[name][0].grid)) for name in group]
            units.append(_Unit(tuple(whole), np.any([classes_in(dates[name], window) for name, window in whole], 0)))
            continue
        for name in group:
            for window in equal_blocks(dates[name][0].grid, side):
                units.append(_Unit(((name, window),), classes_in(dates[name], window)))
    return [unit for unit in units if unit.held.any()]


def equal_blocks(grid: Grid, side: int) -> list[Window]:
    """A grid cut into equal blocks of about `side` pixels, row by row; none is left over."""
    rows, cols = (
        np.linspace(0, int(size), max(1, round(int(size) / side)) + 1).round().astype(int).tolist()
        for size in grid.shape
    )
    return [
        Window(top, left, bottom - top, right - left)
        for top, bottom in zip(rows, rows[1:], strict=False)
        for left, right in zip(cols, cols[1:], strict=False)
    ]


def _draw(units: Sequence[_Unit], folds: int, rng: np.random.Generator) -> np.ndarray:
    """The fold of each unit: equally many in each, so drawn that the other folds of each show most classes."""
    held = np.array([unit.held for unit in units])
    draws = [rng.permutation(len(units)) % folds for _ in range(_DRAWS)]
    shown = [sum(int(held[draw != fold].any(0).sum()) for fold in range(folds)) for draw in draws]
    return draws[int(np.argmax(shown))]


def _parts(
    dates: Mapping[str, Sequence[PreparedSite]], tied: Sequence[tuple[str, ...]], units: Sequence[_Unit], buffer: int
) -> tuple[SitePart, ...]:
    blocks: dict[str, tuple[Window, ...]] = {name: () for name in dates}
    for unit in units:
        for name, window in unit.blocks:
            blocks[name] += (window,)
    shared = {name: shared_blocks(name, group, dates, blocks) for group in tied for name in group}
    parts = []
    for name, of_name in dates.items():
        trains = blocks[name] != (full_window(of_name[0].grid),)
        parts += [SitePart(site, trains, blocks[name], buffer, shared[name]) for site in of_name]
    return tuple(parts)
