"""From prepared sites and their maps to what a report shows; scenes are thinned while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mapmend.core.grid import Grid, Window, ground_pixel_size
from mapmend.core.legend import Legend, load_crosswalk
from mapmend.data.sites import PreparedSite
from mapmend.raster.opening import handle
from mapmend.raster.reading import LabelReader, Reader
from mapmend.report.data import SitePanel
from mapmend.report.stretch import display_bands, stretch

_SIDE = 700  # pixels of a drawn map's long side
_STRIP_PIXELS = 2**24  # read at once


def site_panel(site: PreparedSite, legend: Legend, map_folder: Path | None) -> SitePanel:
    """All layers of a site, thinned to at most 700 pixels on the long side; the image is the first modality's."""
    every = -(-max(int(n) for n in site.grid.shape) // _SIDE)
    source = site.images[0].source
    reader = Reader(source, site.grid)
    parts = [_thin(*reader.read(strip), every) for strip in _strips(site.grid, every)]
    pixels, valid = np.concatenate([p for p, _ in parts], axis=1), np.concatenate([v for _, v in parts])

    def classes(path: str | Path | None) -> npt.NDArray[np.uint8] | None:
        if path is None:
            return None
        layer = LabelReader(str(path), site.grid, load_crosswalk(None, legend))
        return np.concatenate([layer.read(strip)[_every(every)] for strip in _strips(site.grid, every)])

    width, height = (every * size for size in ground_pixel_size(site.grid))
    return SitePanel(
        name=site.name,
        valid=valid,
        image=stretch(pixels, valid, display_bands(source.sensor.bands)),
        label=classes(site.label),
        map=classes(map_folder / "class.tif" if map_folder else None),
        confidence=_confidence(map_folder / "confidence.tif", site.grid, every) if map_folder else None,
        reference=classes(site.reference),
        date=site.date,
        pixel_size=width if site.grid.crs is not None else None,
        pixel_height=height if site.grid.crs is not None else None,
        note=f"split: {site.split}" if site.split else "",
    )


def _confidence(path: Path, grid: Grid, every: int) -> npt.NDArray[np.uint8]:
    raster = handle(str(path))
    strips = [raster.read(1, window=((s.row, s.row_end), (0, s.width)))[_every(every)] for s in _strips(grid, every)]
    return np.concatenate(strips)


def _strips(grid: Grid, every: int) -> Iterator[Window]:
    height, width = (int(n) for n in grid.shape)
    rows = max(1, _STRIP_PIXELS // (width * every)) * every
    for row in range(0, height, rows):
        yield Window(row, 0, min(rows, height - row), width)


def _thin(
    pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_], every: int
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    return pixels[(slice(None), *_every(every))], valid[_every(every)]


def _every(every: int) -> tuple[slice, slice]:
    """The first pixel of each square of `every`², which stands for it: a last, smaller square has one too."""
    return slice(None, None, every), slice(None, None, every)
