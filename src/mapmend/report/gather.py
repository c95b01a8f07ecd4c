"""From prepared sites and their maps to what a report shows; scenes are thinned while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mapmend.core.grid import Grid, Window, ground_pixel_size
from mapmend.core.legend import NODATA, Crosswalk, Legend, load_crosswalk
from mapmend.data.sites import PreparedSite
from mapmend.raster.opening import handle
from mapmend.raster.reading import LabelReader, Reader
from mapmend.report.change_data import ChangePanel
from mapmend.report.data import SitePanel
from mapmend.report.stretch import display_bands, stretch, stretch_alike

_SIDE = 700  # pixels of a drawn map's long side
_MOST_IMAGES = 3  # of different sensors are shown
_STRIP_PIXELS = 2**24  # read at once


def site_panel(
    site: PreparedSite, legend: Legend, map_folder: Path | None, codes: Crosswalk | None = None
) -> SitePanel:
    """All layers of a site, thinned to at most 700 pixels on the long side; at most three of its sensors' images.

    Args:
        site: with its layers.
        legend: of the reference, and of what is shown.
        map_folder: of its map, or None.
        codes: what codes of label and map mean in that legend; None: they are its ids.
    """
    thinned = _Thinned(site.grid, legend, codes)
    pictures = []
    for number, image in enumerate(site.images[:_MOST_IMAGES]):
        pixels, valid = thinned.image(site, number)
        pictures.append((image.modality, stretch(pixels, valid, _bands(site, number)), valid))
    map_, confidence = (map_folder / name if map_folder else None for name in ("class.tif", "confidence.tif"))
    (sensor, first, valid), *others = pictures
    panel = _panel(site, thinned, first, valid, map_, confidence)
    if not others:
        return panel
    return replace(panel, sensor=sensor, others=tuple((name, picture) for name, picture, _ in others))


def pair_panel(
    before: PreparedSite,
    after: PreparedSite,
    legend: Legend,
    map_folder: Path,
    change_folder: Path | None,
    codes: Crosswalk | None = None,
) -> SitePanel:
    """All layers of a site of two dates, thinned as by `site_panel`.

    Where one sensor took both images they have one stretch. For the maps see `pair_rasters`; where those are the ones
    that `change` made consistent, references end where either image does, as these maps do.
    """
    thinned = _Thinned(after.grid, legend, codes)
    images = [thinned.image(site) for site in (before, after)]
    if before.images[0].source.sensor == after.images[0].source.sensor:
        colours = stretch_alike(images, _bands(after))
    else:
        colours = [stretch(*image, _bands(site)) for image, site in zip(images, (before, after), strict=True)]
    sources = pair_rasters(map_folder, change_folder)
    asked = images[0][1] & images[1][1] if change_folder is not None else np.ones_like(images[0][1])
    earlier = ChangePanel(
        valid=images[0][1],
        date=before.date,
        image=colours[0],
        label=thinned.classes(before.label),
        map=thinned.classes(sources[0]),
        confidence=thinned.shares(map_folder / "confidence_before.tif"),
        reference=_where(asked, thinned.references(before.reference)),
        probability=thinned.shares(map_folder / "change.tif"),
        updated=thinned.classes(change_folder / "updated.tif") if change_folder is not None else None,
        decided=change_folder is not None,
    )
    later = _panel(after, thinned, colours[1], images[1][1], sources[1], map_folder / "confidence.tif")
    return replace(later, reference=_where(asked, later.reference), change=earlier)


def _where(asked: npt.NDArray[np.bool_], classes: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8] | None:
    return None if classes is None else np.where(asked, classes, np.uint8(NODATA))


def pair_rasters(map_folder: Path, change_folder: Path | None) -> tuple[Path, Path]:
    """The maps before and after that a report shows, counts and scores.

    They are those that `change` made consistent, for the from-to table adds up to them; without a `change_folder`,
    those that were predicted.
    """
    if change_folder is None:
        return map_folder / "class_before.tif", map_folder / "class.tif"
    return change_folder / "before.tif", change_folder / "after.tif"


def _panel(
    site: PreparedSite,
    thinned: _Thinned,
    image: npt.NDArray[np.uint8],
    valid: npt.NDArray[np.bool_],
    map_: Path | None,
    confidence: Path | None,
) -> SitePanel:
    width, height = (thinned.every * size for size in ground_pixel_size(site.grid))
    return SitePanel(
        name=site.name,
        valid=valid,
        image=image,
        label=thinned.classes(site.label),
        map=thinned.classes(map_),
        confidence=thinned.shares(confidence),
        reference=thinned.references(site.reference),
        date=site.date,
        pixel_size=width if site.grid.crs is not None else None,
        pixel_height=height if site.grid.crs is not None else None,
        note=f"split: {site.split}" if site.split else "",
    )


def _bands(site: PreparedSite, number: int = 0) -> tuple[int, ...]:
    return display_bands(site.images[number].source.sensor.bands)


class _Thinned:
    """Reads layers on one grid strip by strip and keeps of each square of `every`² pixels the first."""

    def __init__(self, grid: Grid, legend: Legend, codes: Crosswalk | None) -> None:
        self._grid = grid
        self._own = load_crosswalk(None, legend)
        self._codes = codes or self._own
        self.every = -(-max(int(n) for n in grid.shape) // _SIDE)

    def image(self, site: PreparedSite, number: int = 0) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
        """Pixels C×H×W and validity H×W of one of a site's modalities, the first by default."""
        reader = Reader(site.images[number].source, self._grid)
        parts = [_thin(*reader.read(strip), self.every) for strip in _strips(self._grid, self.every)]
        return np.concatenate([p for p, _ in parts], axis=1), np.concatenate([v for _, v in parts])

    def classes(self, path: str | Path | None) -> npt.NDArray[np.uint8] | None:
        """Legend ids of a label or map."""
        return self._ids(path, self._codes)

    def references(self, path: str | Path | None) -> npt.NDArray[np.uint8] | None:
        """Legend ids of a reference."""
        return self._ids(path, self._own)

    def _ids(self, path: str | Path | None, codes: Crosswalk) -> npt.NDArray[np.uint8] | None:
        if path is None:
            return None
        layer = LabelReader(str(path), self._grid, codes)
        return np.concatenate([layer.read(strip)[_every(self.every)] for strip in _strips(self._grid, self.every)])

    def shares(self, path: Path | None) -> npt.NDArray[np.uint8] | None:
        """Confidence or probability as stored, where the raster exists."""
        if path is None or not path.is_file():
            return None
        raster = handle(str(path))
        return np.concatenate(
            [
                raster.read(1, window=((strip.row, strip.row_end), (0, strip.width)))[_every(self.every)]
                for strip in _strips(self._grid, self.every)
            ]
        )


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
