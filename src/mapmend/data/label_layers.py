"""Labels as class rasters on a site's grid."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mapmend.core.errors import LabelError
from mapmend.core.grid import Grid, ground_pixel_size, windows
from mapmend.core.legend import NODATA, Legend, load_crosswalk
from mapmend.core.manifest import Row
from mapmend.core.mixtures import row_crosswalk
from mapmend.data.described import identity_of, read_description, write_description
from mapmend.data.extents import check_overlap
from mapmend.data.label_pixels import own_grid, write_rows
from mapmend.raster.labels import LabelReader
from mapmend.raster.opening import raster_info
from mapmend.raster.presence import PresenceReader
from mapmend.raster.vector import is_vector
from mapmend.raster.writing import TiledWriter

STRIP = 1024  # side of the windows that are read and written at once


@dataclass(frozen=True)
class LabelLayer:
    """A label on a grid.

    Attributes:
        files: what it was made from.
        path: class raster of the project's legend.
        counts: labelled pixels per class, in the legend's order.
        gsd: the label's own pixel size in metres; None for vectors.
        grid: the label's own grid, where its pixels are larger than those it was brought onto.
        rows: raster of places in `shares`; None where the label's product has no table of mixtures.
        shares: what each of the product's codes holds of each class.
        mended: features whose geometry was invalid.
        conflicts: pixels that two masks gave different classes.
    """

    files: tuple[str, ...]
    path: Path
    counts: tuple[int, ...]
    gsd: float | None
    mended: int
    conflicts: int
    grid: Grid | None = None
    rows: Path | None = None
    shares: tuple[tuple[float, ...], ...] = ()


def prepare_label(row: Row, image: str, grid: Grid, legend: Legend, path: Path, base: Path | None) -> LabelLayer:
    """Write a row's label as the legend's ids on a grid.

    Args:
        row: its label columns count.
        image: file of the image on whose grid the label is brought, for messages.
        grid: that grid.
        legend: the project's.
        path: where the raster goes.
        base: folder that paths to crosswalks start from.

    Raises:
        RasterError, VectorError, GridError, LegendError: the label is not what the row says.
        LabelError: no pixel gets a class.
    """
    for file in row.label_files:
        check_overlap(file, image, grid)
    settings, reader = label_reader(row, grid, legend, base)
    gsd = max((size for file in row.label_files if (size := _gsd(file, grid)) is not None), default=None)
    identity = identity_of(row.label_files, grid, settings)
    described = read_description(path, identity)
    if described is None or not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        counts = np.zeros(256, np.int64)
        with TiledWriter(path, grid, 1, "uint8", nodata=NODATA, legend=legend) as out:
            for window in windows(grid, STRIP):
                ids = reader.read(window)
                counts += np.bincount(ids.ravel(), minlength=256)
                out.write(window, ids)
        if counts.sum() == counts[NODATA]:
            path.unlink()
            raise LabelError(
                "gives no class to any pixel of its image", where=row.label_files[0], fix="check extent and codes"
            )
        conflicts = reader.conflicts if isinstance(reader, PresenceReader) else 0
        described = {
            "counts": [int(counts[id_]) for id_ in legend.ids],
            "mended": reader.mended,
            "conflicts": conflicts,
        }
        write_description(path, identity, described)
    counted = tuple(described["counts"])
    rows, shares = _prepare_rows(reader, grid, path)
    rasters = [file for file in row.label_files if not is_vector(file)]
    own = own_grid(raster_info(rasters[0]).grid, grid, row.label_gsd) if rasters else None
    faults = described["mended"], described["conflicts"]
    return LabelLayer(row.label_files, path, counted, gsd, *faults, grid=own, rows=rows, shares=shares)


def _prepare_rows(
    reader: LabelReader | PresenceReader, grid: Grid, label: Path
) -> tuple[Path | None, tuple[tuple[float, ...], ...]]:
    """Beside a label whose product has a table of mixtures, which row of it holds where; and the table."""
    if not isinstance(reader, LabelReader) or not reader.crosswalk.mixture:
        return None, ()
    path = label.with_name(f"{label.stem}_rows.tif")
    crosswalk = reader.crosswalk
    identity = identity_of([reader.path], grid, ["rows", crosswalk.to_dict(), reader.band])
    if read_description(path, identity) is None or not path.is_file():
        rows = LabelReader(reader.path, grid, row_crosswalk(crosswalk), band=reader.band)
        write_rows(path, grid, list(windows(grid, STRIP)), rows)
        write_description(path, identity, {})
    return path, crosswalk.share_rows


def warn_of_faults(layers: Iterable[LabelLayer]) -> None:
    """Say once a file how many of its polygons were mended, and how many pixels two masks contend for.

    Warns:
        UserWarning: for each such file.
    """
    mended: dict[str, int] = {}
    conflicts: dict[tuple[str, ...], int] = {}
    for layer in layers:
        mended[layer.files[0]] = max(mended.get(layer.files[0], 0), layer.mended)
        conflicts[layer.files] = max(conflicts.get(layer.files, 0), layer.conflicts)
    for file, count in mended.items():
        if count:
            plural = "features with invalid geometry were" if count > 1 else "feature with invalid geometry was"
            warnings.warn(f"{file}: {count} {plural} mended", stacklevel=2)
    for files, count in conflicts.items():
        if count:
            names = " and ".join(Path(file).name for file in files)
            text = f"{files[0]}: {count} pixels are marked by two masks ({names}); they get no label"
            warnings.warn(text, stacklevel=2)


def label_reader(
    row: Row, grid: Grid, legend: Legend, base: Path | None
) -> tuple[object, LabelReader | PresenceReader]:
    """The reader of a row's label on a grid, and what is read depends on beside the files, as plain values.

    By nearest neighbour, or by mode where the label is finer than the grid.

    Args:
        row: its label columns count.
        grid: to read on.
        legend: the project's.
        base: folder that paths to crosswalks start from.

    Raises:
        RasterError, VectorError, GridError, LegendError, LabelError: the label is not what the row says.
    """
    sizes = [size for file in row.label_files if (size := _gsd(file, grid)) is not None]
    finer = any(size < 0.75 * min(ground_pixel_size(grid)) for size in sizes)
    if row.masks:
        masks = [(legend.ids[legend.index_of(name)], file) for name, file in row.masks]
        rest = NODATA if row.label_rest is None else legend.ids[legend.index_of(row.label_rest)]
        return ["presence", masks, rest, legend.to_dict()], PresenceReader(masks, rest, grid, mode=finer)
    assert row.label is not None
    if row.label_band and is_vector(row.label):
        raise LabelError("has no bands, and `label_band` names one", where=row.label, fix="leave out `label_band`")
    crosswalk = load_crosswalk(row.label_legend, legend, base)
    reader = LabelReader(
        row.label,
        grid,
        crosswalk,
        resampling="mode" if finer else "nearest",
        field=row.label_field,
        band=row.label_band,
    )
    return [crosswalk.to_dict(), row.label_field, row.label_band], reader


def _gsd(file: str, grid: Grid) -> float | None:
    """A label's pixel size in metres; one without a CRS covers the whole grid, and vectors have none."""
    if is_vector(file):
        return None
    own = raster_info(file).grid
    if own.crs is not None:
        return float(max(ground_pixel_size(own)))
    return float(max(ground_pixel_size(grid)) * int(grid.shape[0]) / int(own.shape[0]))
