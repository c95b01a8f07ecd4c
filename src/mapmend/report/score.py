"""Class rasters and their change against references, streamed: label and map are scored by the same pixels."""

from __future__ import annotations

from pathlib import Path

from mapmend.accuracy.change import ChangeAccuracy
from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.core.grid import Grid, PixelArea, windows
from mapmend.core.legend import NODATA, Crosswalk, Legend, load_crosswalk
from mapmend.data.sites import PreparedSite
from mapmend.raster.reading import LabelReader, Reader
from mapmend.raster.vector import load_aoi

_STRIP = 2048


def score_site(
    site: PreparedSite,
    map_path: Path,
    legend: Legend,
    other: PreparedSite | None = None,
    aoi: Path | None = None,
    codes: Crosswalk | None = None,
) -> tuple[ConfusionMatrix | None, ConfusionMatrix]:
    """Confusion of a site's label (None without one) and of its map with the site's reference.

    Counted where the reference has a class and every image is valid, inside the area of interest. A pixel there
    without a label, or which the map leaves empty, is an error (`missing`).

    Args:
        site: with a reference.
        map_path: class raster.
        legend: of the reference.
        other: the other date of a pair whose maps were made consistent: its images must be valid as well.
        aoi: vector file outside of which there is no map, or None.
        codes: what codes of label and map mean in that legend; None: they are its ids.
    """
    assert site.reference is not None
    reference = _open(site.reference, site.grid, legend)
    codes = codes or load_crosswalk(None, legend)
    map_ = LabelReader(str(map_path), site.grid, codes)
    label = LabelReader(site.label, site.grid, codes) if site.label else None
    sources = (*site.sources, *(other.sources if other is not None else ()))
    images = [Reader(source, site.grid) for source in sources]
    of_map = ConfusionMatrix(legend.names)
    of_label = ConfusionMatrix(legend.names) if label else None
    area = load_aoi(aoi, site.grid) if aoi is not None else None
    for window in windows(site.grid, _STRIP):
        truth = reference.read(window)
        if area is not None:
            truth[~area.mask(window)] = NODATA
        for image in images:
            truth[~image.read(window)[1]] = NODATA
        of_map.update(truth, map_.read(window), lut=legend.lut, where=str(map_path))
        if label is not None and of_label is not None:
            of_label.update(truth, label.read(window), lut=legend.lut, where=site.label)
    return of_label, of_map


def score_change(
    before: PreparedSite, after: PreparedSite, change_folder: Path, legend: Legend, aoi: Path | None = None
) -> ChangeAccuracy | None:
    """Change between `before.tif` and `after.tif` of a folder that `change` wrote, against both dates' references.

    Counted where both references have a class and every image of both dates is valid, inside the area of interest;
    None without both references.
    """
    if before.reference is None or after.reference is None:
        return None
    truth = [_open(path, after.grid, legend) for path in (before.reference, after.reference)]
    maps = [_open(str(change_folder / name), after.grid, legend) for name in ("before.tif", "after.tif")]
    images = [Reader(source, after.grid) for source in (*before.sources, *after.sources)]
    areas = PixelArea(after.grid)
    area = load_aoi(aoi, after.grid) if aoi is not None else None
    accuracy = ChangeAccuracy(legend.names, areas.unit)
    for window in windows(after.grid, _STRIP):
        true_before, true_after, map_before, map_after = (legend.lut[layer.read(window)] for layer in (*truth, *maps))
        if area is not None:
            true_before[~area.mask(window)] = NODATA
        for image in images:
            true_before[~image.read(window)[1]] = NODATA
        accuracy.update((true_before, true_after), (map_before, map_after), areas.of(window), where=str(change_folder))
    return accuracy


def _open(path: str, grid: Grid, legend: Legend) -> LabelReader:
    return LabelReader(path, grid, load_crosswalk(None, legend))
