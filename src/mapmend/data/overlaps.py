"""Places that share ground, and images that share pixels: what must not be trained on and judged by at once."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, prod
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from rasterio.windows import Window as RasterioWindow

from mapmend.core.grid import Grid, ground_pixel_size, make_grid
from mapmend.raster.opening import handle, raster_faults
from mapmend.raster.placement import overlap, to_pixels

TILE = 64  # side of the tiles that are compared, aligned with each image's corner
LEAST_SHARE = 0.01  # of the smaller place: neighbours that share a line of pixels are no leak
_STRIP = 1024  # side of the windows that are read
_MOST_HASHES = 2**20  # over all images; above, the same sample of contents is kept of each
_MOST_ALIKE = 8  # places remembered per tile
_LEAST_VALUES = 3  # tiles with fewer values (fills, collars, their seams) say nothing
_LONLAT = make_grid((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")


@dataclass(frozen=True)
class Place:
    """Ground, or pixels without a place on Earth, on one side of a split: train, val or test."""

    name: str
    side: str
    grid: Grid
    files: tuple[str, ...] = ()

    @property
    def area(self) -> float:
        """Square metres; pixels without a CRS."""
        return prod(int(n) for n in self.grid.shape) * prod(ground_pixel_size(self.grid))


Wanted = Callable[[Place, Place], bool]
"""Whether a pair is of interest."""


def shared_ground(places: Sequence[Place], wanted: Wanted) -> Iterator[tuple[int, int, float]]:
    """Pairs of places with a CRS whose footprints overlap, across CRSs: (index, index, share of the smaller)."""
    numbers = [number for number, place in enumerate(places) if place.grid.crs is not None]
    boxes = [(number, box) for number in numbers for box in _boxes(places[number].grid)]
    tree = shapely.STRtree([box for _, box in boxes])
    seen: set[tuple[int, int]] = set()
    for number, box in boxes:
        for other in sorted({boxes[hit][0] for hit in tree.query(box).tolist()}):
            if other <= number or (number, other) in seen or not wanted(places[number], places[other]):
                continue
            seen.add((number, other))
            share = _share_of_smaller(places[number].grid, places[other].grid)
            if share > LEAST_SHARE:
                yield number, other, share


def shared_pixels(places: Sequence[Place], wanted: Wanted) -> Mapping[tuple[int, int], float]:
    """Pairs of places without a CRS whose images hold equal tiles, with the share of the smaller's tiles.

    Tiles are compared by their hashes, so a crop is found where it was cut at multiples of `TILE` from the corner
    of the image it came from. Memory is bounded: of very many tiles a sample is kept, the same contents of every image.
    """
    numbers = [number for number, place in enumerate(places) if place.grid.crs is None and place.files]
    if not any(wanted(places[a], places[b]) for a in numbers for b in numbers if a < b):
        return {}
    tiles = sum(prod(ceil(int(n) / TILE) for n in places[number].grid.shape) for number in numbers)
    keep = ceil(tiles / _MOST_HASHES)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        hashes = list(pool.map(lambda number: _hashes_of(places[number], keep), numbers))
    holders: dict[int, list[int]] = {}
    alike: Counter[tuple[int, int]] = Counter()
    for number, own in zip(numbers, hashes, strict=True):
        for value in own:
            known = holders.setdefault(value, [])
            for other in known:
                if wanted(places[other], places[number]):
                    alike[other, number] += 1
            if len(known) < _MOST_ALIKE:
                known.append(number)
    sizes = dict(zip(numbers, map(len, hashes), strict=True))
    return {(a, b): count / min(sizes[a], sizes[b]) for (a, b), count in alike.items()}


def groups(places: Sequence[Place]) -> tuple[tuple[tuple[str, ...], ...], frozenset[str]]:
    """Names of the places that share ground or pixels with one another, and of those that share pixels.

    Returns:
        Groups that cover every name once, in the order of their first names; and the names tied by pixels.
    """
    parent = {place.name: place.name for place in places}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    def apart(a: Place, b: Place) -> bool:
        return root(a.name) != root(b.name)

    for a, b, _ in shared_ground(places, apart):
        parent[root(places[b].name)] = root(places[a].name)
    by_pixels = set()
    for a, b in shared_pixels(places, lambda a, b: a.name != b.name):
        by_pixels |= {places[a].name, places[b].name}
        parent[root(places[b].name)] = root(places[a].name)
    members: dict[str, list[str]] = {}
    for name in parent:
        members.setdefault(root(name), []).append(name)
    return tuple(tuple(names) for names in members.values()), frozenset(by_pixels)


def _boxes(grid: Grid) -> list[shapely.Polygon]:
    """Bounds in degrees; twice where they cross the date line, wide where they hold a pole."""
    height, width = (int(n) for n in grid.shape)
    along = np.linspace(0, 1, 17)
    zero, one = np.zeros_like(along), np.ones_like(along)
    cols = np.concatenate([along, along, zero, one]) * width
    rows = np.concatenate([zero, one, along, along]) * height
    lon, lat = to_pixels(grid, _LONLAT, cols, rows)
    lon, lat = lon[np.isfinite(lon)] - 180, 90 - lat[np.isfinite(lat)]
    if not lon.size or not lat.size:
        return [shapely.box(-180, -90, 180, 90)]
    if np.ptp(lon) <= 180:
        return [shapely.box(lon.min(), lat.min(), lon.max(), lat.max())]
    lon = lon % 360
    if np.ptp(lon) <= 180:
        ends = float(lon.min()), float(lon.max())
        return [shapely.box(ends[0] - turn, lat.min(), ends[1] - turn, lat.max()) for turn in (0, 360)]
    return [shapely.box(-180, -90 if lat.mean() < 0 else lat.min(), 180, 90 if lat.mean() > 0 else lat.max())]


def _share_of_smaller(a: Grid, b: Grid) -> float:
    return max(overlap(a, b), overlap(b, a))  # an outline that the date line tears comes out too small, never too large


def _hashes_of(place: Place, keep: int) -> set[int]:
    """Hashes of the tiles of a place's images; of every `keep` values one is kept."""
    stamps = [(file, Path(file).stat()) for file in place.files]
    return set().union(*(_hashes(file, stamp.st_mtime_ns, stamp.st_size, keep) for file, stamp in stamps))


@lru_cache(maxsize=8192)  # splits are checked, and then drawn, from the same files
def _hashes(file: str, changed: int, size: int, keep: int) -> frozenset[int]:
    return frozenset(value for value in _every_hash(file) if value % keep == 0)


def _every_hash(file: str) -> Iterator[int]:
    with raster_faults(file):
        dataset = handle(file)
        height, width = dataset.height, dataset.width
    for row, col in product(range(0, height, _STRIP), range(0, width, _STRIP)):
        with raster_faults(file):
            data = dataset.read(window=RasterioWindow(col, row, min(_STRIP, width - col), min(_STRIP, height - row)))
        for top, left in product(range(0, data.shape[1], TILE), range(0, data.shape[2], TILE)):
            tile = data[:, top : top + TILE, left : left + TILE]
            whole = tile.shape[1:] == (TILE, TILE) or min(height, width) < TILE
            if whole and len(set(tile[:, ::8, ::8].ravel().tolist())) >= _LEAST_VALUES:
                yield int.from_bytes(hashlib.blake2b(tile.tobytes(), digest_size=8).digest())
