"""Many images of one sensor as one: each fills what those before it leave invalid, on one grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from affine import Affine
from rasterio.warp import transform_bounds

from mapmend.core.errors import GridError, SensorError
from mapmend.core.grid import Grid, Window, full_window, make_grid
from mapmend.raster.aligning import Array, Bool
from mapmend.raster.bands import ImageSource
from mapmend.raster.opening import raster_faults
from mapmend.raster.placement import gdal_crs
from mapmend.raster.reading import Reader
from mapmend.raster.zones import Zone, by_zone

_DENSE = 21  # points along each edge of an image whose outline is projected
_WHOLE = 0.01  # of a pixel, by which an outline may reach over a pixel's edge without taking the next one
_MARGIN = 2  # pixels around a projected outline


@dataclass(frozen=True)
class Piece:
    """An image of a mosaic.

    Attributes:
        source: its files.
        window: of the mosaic's grid, which holds all of it.
        dtype: of its pixels as they are read.
        stored_dtype: of the numbers in its files.
    """

    source: ImageSource
    window: Window
    dtype: str
    stored_dtype: str


class MosaicReader:
    """Reads windows of a mosaic as `Reader` does those of an image; an image is opened when a window touches it.

    Args:
        pieces: the first that is valid at a pixel counts there.
        grid: of the mosaic.

    Attributes:
        grid: the same.
        count: number of bands.
        dtype, stored_dtype: of every piece.

    Raises:
        RasterError: a file cannot be opened.
    """

    def __init__(self, pieces: Sequence[Piece], grid: Grid) -> None:
        self.grid, self._pieces = grid, tuple(pieces)
        self.dtype, self.stored_dtype = np.dtype(pieces[0].dtype), np.dtype(pieces[0].stored_dtype)
        self.count = len(pieces[0].source.bands)
        self._readers: dict[int, Reader] = {}

    def read(self, window: Window) -> tuple[Array, Bool]:
        """Pixels C×H×W, 0 where invalid, and validity H×W, of a window that may reach outside the grid.

        Raises:
            RasterError: a file cannot be read.
        """
        pixels = np.zeros((self.count, window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), bool)
        for number, shared in self._touching(window):
            here = shared.shift(-window.row, -window.col).slices
            if valid[here].all():
                continue
            values, good = self._reader(number).read(shared)
            good &= ~valid[here]
            np.copyto(pixels[:, *here], values, where=good)
            valid[here] |= good
        return pixels, valid

    def empty(self, window: Window) -> bool:
        """Whether nothing in a window is valid, as far as that is known without reading it."""
        return all(self._reader(number).empty(shared) for number, shared in self._touching(window))

    def _touching(self, window: Window) -> list[tuple[int, Window]]:
        shared = [piece.window.intersect(window) for piece in self._pieces]
        return [(number, part) for number, part in enumerate(shared) if part is not None]

    def _reader(self, number: int) -> Reader:
        if number not in self._readers:
            self._readers[number] = Reader(self._pieces[number].source, self.grid)
        return self._readers[number]


@dataclass(frozen=True)
class Placed:
    """Images and the grid that they are to be laid on.

    Attributes:
        sources: the images.
        like: the grid; None: that of the first image, as far as any image reaches.
        crs: of the grid, where `like` is None; "" for the first image's.
        gsd: side of its pixels in units of `crs`; None for the first image's.
        zone: to whose part the grid is cut; None for all of it.
    """

    sources: tuple[ImageSource, ...]
    like: Grid | None = None
    crs: str = ""
    gsd: float | None = None
    zone: Zone | None = None

    @cached_property
    def readers(self) -> tuple[Reader, ...]:
        """Of every image, on its own grid."""
        return tuple(Reader(source) for source in self.sources)

    @cached_property
    def _grids(self) -> tuple[Grid, ...]:
        """The grid of every image, each of a place on Earth."""
        for reader in self.readers:
            if reader.grid.crs is None:
                raise GridError("has no CRS", where=reader.source.files[0], fix="georeference it, or map it alone")
        return tuple(reader.grid for reader in self.readers)

    @cached_property
    def grid(self) -> Grid:
        """The grid of the mosaic.

        Raises:
            GridError: an image or the grid has no CRS, or the CRS is unknown.
        """
        if self.like is not None:
            return self.like
        first = self._grids[0]
        model = make_grid((1, 1), first.transform, self.crs or first.crs)
        t = first.transform
        if self.crs or self.gsd is not None or t.b or t.d:
            if self.gsd is None:
                raise GridError("says a CRS and no pixel size", where="--crs", fix="give --gsd in its units")
            t = Affine(self.gsd, 0, 0, 0, -self.gsd, 0)
        boxes = [_bounds(grid, model) for grid in self._grids]
        left, right = (
            step((choose(box[side] for box in boxes) - t.c) / t.a - shift)
            for step, choose, side, shift in ((math.floor, min, 0, -_WHOLE), (math.ceil, max, 2, _WHOLE))
        )
        top, bottom = (
            step((choose(box[side] for box in boxes) - t.f) / t.e - shift)
            for step, choose, side, shift in ((math.floor, max, 3, -_WHOLE), (math.ceil, min, 1, _WHOLE))
        )
        whole = make_grid((bottom - top, right - left), t @ Affine.translation(left, top), model.crs)
        if self.zone is None:
            return whole
        own = self.zone.area(whole).bounds
        corner = whole.transform @ Affine.translation(own.col, own.row)
        return make_grid((own.height, own.width), corner, model.crs)

    def by_zone(self) -> Iterator[Placed]:
        """The images of each UTM zone on a grid of the zone's own, with pixels of `gsd` metres.

        Raises:
            GridError: an image has no CRS, or lies in no zone.
        """
        for zone, places in by_zone(self._grids).items():
            yield Placed(tuple(self.sources[place] for place in places), None, zone.crs, self.gsd, zone)

    def pieces(self) -> tuple[Piece, ...]:
        """The images that touch the grid, in their order.

        Raises:
            GridError: none does.
            SensorError: their stored types differ.
        """
        whole, found = full_window(self.grid), []
        for reader in self.readers:
            back, (left, low, right, high) = ~self.grid.transform, _bounds(reader.grid, self.grid)
            cols, rows = zip(*(back @ corner for corner in ((left, high), (right, low))), strict=True)
            row, col = math.floor(min(rows)) - _MARGIN, math.floor(min(cols)) - _MARGIN
            outline = Window(row, col, math.ceil(max(rows)) + _MARGIN - row, math.ceil(max(cols)) + _MARGIN - col)
            window = outline.intersect(whole)
            if window is not None:
                found.append(Piece(reader.source, window, reader.dtype.name, reader.stored_dtype.name))
        if not found:
            raise GridError("no image touches the grid", where="mosaic", fix="check --grid and the images' CRSs")
        for piece in found:
            if piece.stored_dtype != found[0].stored_dtype:
                raise SensorError(
                    f"stores {piece.stored_dtype}, and {found[0].source.files[0]} {found[0].stored_dtype}",
                    where=piece.source.files[0],
                    fix="map them apart, or convert one",
                )
        return tuple(found)


def _bounds(grid: Grid, onto: Grid) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a grid in the CRS of another."""
    box = grid.boundingbox
    own = (float(box.left), float(box.bottom), float(box.right), float(box.top))
    if grid.crs == onto.crs:
        return own
    with raster_faults("mosaic", "cannot be projected"):
        left, bottom, right, top = transform_bounds(gdal_crs(grid), gdal_crs(onto), *own, densify_pts=_DENSE)
    return float(left), float(bottom), float(right), float(top)
