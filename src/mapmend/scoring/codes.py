"""Pairs of codes of two rasters, counted as they stand in the files: what a code means is looked up once at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import numpy as np

from mapmend.accuracy.confusion import Counts, joint_histogram
from mapmend.core.grid import Window, windows
from mapmend.raster.opening import without_rasterio_warning
from mapmend.scoring.images import ScoredImage

_SIDE = 1024
_MOST_THREADS = 4  # beyond these the counting, of which part is Python, waits for itself

Roles = tuple[str, str]


def count_codes(image: ScoredImage, roles: Roles) -> Counts | None:
    """How often each pair of class indices occurs in two rasters of an image.

    Args:
        image: with these rasters.
        roles: of the reference and of the prediction.

    Returns:
        256×256, [reference, prediction], 255 for none. None where codes alone do not say it: rasters with masks or
        wider numbers, or a code that is no class, which only a look at the pixels can name.

    Raises:
        RasterError: a raster cannot be read.
    """
    if not all(image.is_plain(role) for role in roles):
        return None
    found = _count(image, roles)
    (rows, strange_rows), (columns, strange_columns) = (image.meaning(role) for role in roles)
    if found[strange_rows].any() or found[:, strange_columns].any():
        return None
    joint: Counts = np.zeros((256, 256), np.int64)
    np.add.at(joint, (rows[:, None], columns[None, :]), found)
    return joint


def _count(image: ScoredImage, roles: Roles) -> Counts:
    """The codes' pairs, windows shared out among threads where the rasters are tiled."""
    areas = _areas(image, roles)
    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)), len(areas))
    shared = iter(areas)
    if threads == 1 or not all(image.tile(role) for role in roles):
        return _count_windows(image, roles, shared)
    with without_rasterio_warning(), ThreadPoolExecutor(threads, thread_name_prefix="counter") as pool:
        parts = [pool.submit(_count_windows, image, roles, shared) for _ in range(threads)]
        try:
            wait(parts, return_when=FIRST_EXCEPTION)
        finally:
            for _ in shared:  # after a fault or an interrupt nothing more is begun
                pass
        total = parts[0].result()
        for part in parts[1:]:
            total += part.result()
    return total


def _count_windows(image: ScoredImage, roles: Roles, areas: Iterator[Window]) -> Counts:
    total: Counts = np.zeros((256, 256), np.int64)
    for area in areas:
        total += joint_histogram(image.read_plain(roles[0], area), image.read_plain(roles[1], area))
    return total


def _areas(image: ScoredImage, roles: Roles) -> list[Window]:
    """Whole tiles of the reference; whole rows where a raster is stored in rows, which a square would decode anew."""
    if all(image.tile(role) for role in roles):
        return list(windows(image.grid, _SIDE // image.tile(roles[0]) * image.tile(roles[0]) or _SIDE))
    height, width = (int(n) for n in image.grid.shape)
    rows = max(1, _SIDE**2 // width)
    return [Window(row, 0, min(rows, height - row), width) for row in range(0, height, rows)]
