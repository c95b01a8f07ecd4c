"""Labels looked at before anything is written: that each says something of its scene, and together of two classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rasterio.errors import NotGeoreferencedWarning

from mapmend.core.errors import GridError, LabelError
from mapmend.core.grid import COARSER, Grid, ground_pixel_size, windows
from mapmend.core.legend import NODATA, Legend
from mapmend.core.manifest import Row
from mapmend.data.extents import check_overlap, extent_of
from mapmend.data.label_layers import STRIP, label_reader
from mapmend.raster.opening import NotGeoreferenced, raster_info
from mapmend.raster.vector import is_vector, vector_info

ONE_CLASS_FIX = "a map needs at least two; for masks of 0 and 255 set `label_legend: mask255`"


def check_labels(
    rows: Sequence[Row],
    references: Sequence[Row],
    legend: Legend,
    reference_legend: Legend,
    base: Path | None,
    *,
    trains: bool = True,
) -> None:
    """Refuse labels and references that cover nothing of their scene, and labels of one class; reads until it is clear.

    Args:
        rows: the manifest; labels of split test do not train.
        references: labels for scoring alone.
        legend: of the labels.
        reference_legend: of the references.
        base: folder that paths to crosswalks start from.
        trains: whether anything will be trained; labels of one class are no fault otherwise.

    Raises:
        GridError: a label lies beside its image; file, site and both extents are given.
        LabelError: a label gives no class to any pixel of its image, or all labels together have one class.
        RasterError, VectorError, LegendError: a label cannot be read.
    """
    images = {
        key: row.image[0] for row in reversed(rows) if row.image for key in ((row.site, ""), (row.site, row.date))
    }
    classes: set[int] = set()
    for row in rows:
        if row.label is not None and row.image:
            learned = trains and row.split != "test"
            seen = _classes_of(row, row.image[0], legend, base, enough=classes if learned else None)
            classes |= seen if learned else set()
    if len(classes) == 1:
        name = legend.names[legend.ids.index(classes.pop())]
        raise LabelError(f"the label has one class only ('{name}')", fix=ONE_CLASS_FIX)
    for row in references:
        image = images.get((row.site, row.date), images.get((row.site, "")))
        if row.label is not None and image is not None:
            _classes_of(row, image, reference_legend, base, enough=None)


def known_ratio(row: Row) -> float | None:
    """A label's pixel in pixels of its image, before both are prepared; None where nobody knows.

    A label of trust coarse whose file has pixels as fine as the image's was resampled: its own pixels are not known.
    """
    if row.label is None or not row.image:
        return None
    grid = _grid(row.image[0])
    if row.label_gsd is not None:
        return row.label_gsd / max(ground_pixel_size(grid))
    rasters = [file for file in row.label_files if not is_vector(file)]
    if not rasters:
        return None
    own = _grid(rasters[0])
    if own.crs is not None and grid.crs is not None:
        ratio = max(ground_pixel_size(own)) / max(ground_pixel_size(grid))
    else:
        ratio = int(grid.shape[0]) / int(own.shape[0])
    return None if row.trust == "coarse" and ratio < COARSER else ratio


def _classes_of(row: Row, image: str, legend: Legend, base: Path | None, *, enough: set[int] | None) -> set[int]:
    """Ids in a label; not all of them once there are two together with those of `enough`, or one where that is None."""
    grid = _grid(image)
    try:
        for file in row.label_files:
            check_overlap(file, image, grid)
    except GridError as fault:
        raise GridError(
            f"is the label of site '{row.site}' and {fault.what}", where=fault.where, fix=fault.fix
        ) from None
    _, reader = label_reader(row, grid, legend, base)
    seen: set[int] = set()
    for window in windows(grid, STRIP):
        seen |= set(np.unique(reader.read(window)).tolist()) - {NODATA}
        if seen and (enough is None or len(seen | enough) > 1):
            return seen
    if not seen:
        file = row.label_files[0]
        own = vector_info(file) if is_vector(file) else _grid(file)
        raise LabelError(
            f"gives no class to any pixel of {image}, site '{row.site}': {extent_of(own)} against {extent_of(grid)}",
            where=file,
            fix="check extent, nodata and codes",
        )
    return seen


def _grid(path: str) -> Grid:
    with warnings.catch_warnings():
        for kind in (NotGeoreferenced, NotGeoreferencedWarning):  # `prepare` says it, once a file
            warnings.simplefilter("ignore", kind)
        return raster_info(path).grid
