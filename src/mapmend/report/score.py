"""Class rasters against a reference, streamed: the label and the map are scored by the same pixels."""

from __future__ import annotations

from pathlib import Path

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.core.grid import Grid, windows
from mapmend.core.legend import NODATA, Legend, load_crosswalk
from mapmend.data.sites import PreparedSite
from mapmend.raster.reading import LabelReader, Reader

_STRIP = 2048


def score_site(site: PreparedSite, map_path: Path, legend: Legend) -> tuple[ConfusionMatrix | None, ConfusionMatrix]:
    """Confusion of a site's label (None without one) and of its map with the site's reference.

    Counted where the reference has a class and every image is valid. A pixel there without a label, or which
    the map leaves empty, is an error (`missing`).
    """
    assert site.reference is not None
    reference, map_ = (_open(path, site.grid, legend) for path in (site.reference, str(map_path)))
    label = _open(site.label, site.grid, legend) if site.label else None
    images = [Reader(source, site.grid) for source in site.sources]
    of_map = ConfusionMatrix(legend.names)
    of_label = ConfusionMatrix(legend.names) if label else None
    for window in windows(site.grid, _STRIP):
        truth = reference.read(window)
        for image in images:
            truth[~image.read(window)[1]] = NODATA
        of_map.update(truth, map_.read(window), lut=legend.lut, where=str(map_path))
        if label is not None and of_label is not None:
            of_label.update(truth, label.read(window), lut=legend.lut, where=site.label)
    return of_label, of_map


def _open(path: str, grid: Grid, legend: Legend) -> LabelReader:
    return LabelReader(path, grid, load_crosswalk(None, legend))
