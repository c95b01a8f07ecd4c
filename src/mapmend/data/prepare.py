"""`prepare`: every layer of a site onto the site's own grid, once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from rasterio.errors import NotGeoreferencedWarning

from mapmend.core.errors import ManifestError, MapmendError
from mapmend.core.grid import Grid, PixelArea, finest, same_grid, windows
from mapmend.core.legend import Crosswalk, Legend, load_crosswalk
from mapmend.core.manifest import Row
from mapmend.core.sensor import Sensor
from mapmend.data.band_sums import BandSums, add, finish, sums_at, survey
from mapmend.data.described import identity_of, read_description, write_description
from mapmend.data.extents import check_overlap
from mapmend.data.label_layers import STRIP, LabelLayer, prepare_label, warn_of_faults
from mapmend.data.sites import CHANGE, BandStatistics, Prepared, PreparedImage, PreparedSite, save_prepared
from mapmend.raster.opening import raster_info
from mapmend.raster.reading import ImageSource, LabelReader, Reader
from mapmend.raster.writing import TiledWriter


def prepare(
    rows: Sequence[Row],
    sensors: Mapping[str, Sensor],
    legend: Legend,
    out: Path,
    *,
    references: Sequence[Row] = (),
    reference_legend: Legend | None = None,
    base: Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Prepared:
    """Put every image and label of a manifest onto its site's grid, as tiled GeoTIFFs below `out`.

    The grid of a site is that of its finest image. Images that are tiled and on that grid already are used where
    they are; what is up to date is not made again. Labels become rasters of the legend's ids by nearest
    neighbour, or by mode where they are finer than the grid.

    Args:
        rows: the manifest.
        sensors: cards by the names that the manifest uses.
        legend: the project's legend.
        out: folder for the files and their description, `prepared.json`.
        references: labels for scoring alone.
        reference_legend: that references are brought into; the project's if None.
        base: folder that paths to legends and crosswalks start from.
        progress: told how many sites are done.

    Raises:
        ManifestError, SensorError, RasterError, GridError, LegendError, LabelError: whatever is wrong with an input.
    """
    by_site = {name: list(group) for name, group in groupby(sorted(rows, key=lambda r: r.site), key=lambda r: r.site)}
    unknown = {row.site for row in references} - by_site.keys()
    if unknown:
        raise ManifestError(f"site '{min(unknown)}' has a reference but no image", fix="list it among the scenes")
    for of_site in by_site.values():
        _check_rows(of_site, sensors)
    for row in references:
        dates = sorted({one.date for one in by_site[row.site]})
        if row.date and row.date not in dates:
            fix = f"its images are of {', '.join(dates)}" if any(dates) else "leave out its date: the images have none"
            raise ManifestError(f"site '{row.site}' has a reference of {row.date} and no image of it", fix=fix)
    reference_of = {(row.site, row.date): row for row in references}
    sites: list[PreparedSite] = []
    labels: list[LabelLayer] = []
    # Libraries set warning filters in threads, and leave them muddled: they are put back as they were.
    with warnings.catch_warnings(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # this package says it, once a file
        legends = legend, reference_legend or legend
        jobs = [
            pool.submit(_prepare_site, by_site[name], sensors, legends, out, reference_of, base) for name in by_site
        ]
        try:
            for done, job in enumerate(jobs, start=1):
                made, layers = job.result()
                sites += made
                labels += layers
                progress(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    prepared = Prepared(tuple(sites), legend)
    out.mkdir(parents=True, exist_ok=True)
    save_prepared(prepared, out / "prepared.json")
    warn_of_faults(labels)
    return prepared


def _check_rows(rows: list[Row], sensors: Mapping[str, Sensor]) -> None:
    name = rows[0].site
    for row in rows:
        if not row.image:
            raise ManifestError(f"site '{name}' has a row without an image", fix="labels alone belong into `reference`")
        if row.sensor not in sensors:
            known = ", ".join(sensors)
            raise ManifestError(f"site '{name}': sensor '{row.sensor}' is not among the project's", fix=f"use {known}")
    dated = [row for row in rows if row.date]
    if dated and len(dated) < len(rows):
        raise ManifestError(
            f"site '{name}' has an image of {dated[0].date} and one without a date",
            fix="date both (t1 and t2 if only their order is known), or neither",
        )
    for date, group in groupby(sorted(rows, key=lambda r: r.date), key=lambda r: r.date):
        told = {
            (r.label, r.label_legend, r.label_class, r.label_rest, r.label_band) for r in group if r.label is not None
        }
        if len(told) > 1:
            raise ManifestError(f"site '{name}' {date}: two rows give different labels", fix="keep one")
    changes = {(row.change, row.change_legend, row.change_band) for row in rows if row.change is not None}
    if len(changes) > 1:
        raise ManifestError(f"site '{name}': two rows give different changes", fix="keep one")
    if changes and len({row.date for row in rows}) < 2:
        raise ManifestError(f"site '{name}' has a change and one date", fix="list images of both dates")


def _prepare_site(
    rows: list[Row],
    sensors: Mapping[str, Sensor],
    legends: tuple[Legend, Legend],
    out: Path,
    reference_of: Mapping[tuple[str, str], Row],
    base: Path | None,
) -> tuple[list[PreparedSite], list[LabelLayer]]:
    name = rows[0].site
    sources = {(row.date, row.sensor): _source(row, sensors[row.sensor]) for row in rows}
    grid, image = _site_grid(list(sources.values()))
    folder = out / name
    made, layers = [], []
    for date, group in groupby(sorted(rows, key=lambda r: r.date), key=lambda r: r.date):
        rows_of_date = list(group)
        stem = date or "undated"
        images = tuple(
            _prepare_image(sensor, sources[date, sensor], grid, folder / f"{stem}_{sensor}.tif")
            for sensor in sensors
            if (date, sensor) in sources
        )
        site = PreparedSite(name, date, grid, images, split=rows_of_date[0].split)
        row = next((row for row in rows_of_date if row.label is not None), None)
        if row is not None:
            layer = prepare_label(row, image, grid, legends[0], folder / f"{stem}_label.tif", base)
            layers.append(layer)
            gsd = row.label_gsd or layer.gsd
            site = replace(site, label=str(layer.path), label_counts=layer.counts, label_gsd=gsd, trust=row.trust)
            rows_path = str(layer.rows) if layer.rows is not None else None
            site = replace(site, label_grid=layer.grid, label_rows=rows_path, label_shares=layer.shares)
            site = replace(site, label_files=layer.files, split=row.split, label_confidence=row.label_confidence)
        row = next((row for row in rows_of_date if row.change is not None), None)
        if row is not None:
            layer = prepare_label(_as_label(row), image, grid, CHANGE, folder / f"{stem}_change.tif", base)
            layers.append(layer)
            site = replace(site, change=str(layer.path))
        reference = reference_of.get((name, date), reference_of.get((name, "")))
        if reference is not None:
            layer = prepare_label(reference, image, grid, legends[1], folder / f"{stem}_reference.tif", base)
            layers.append(layer)
            site = replace(site, reference=str(layer.path))
        made.append(site)
    return made, layers


def _as_label(row: Row) -> Row:
    """A row whose label is its change: told by presence where no crosswalk explains its codes."""
    marked = (CHANGE.names[1], CHANGE.names[0]) if row.change_legend is None else (None, None)
    return Row(
        row.site,
        label=row.change,
        label_legend=row.change_legend,
        label_class=marked[0],
        label_rest=marked[1],
        label_band=row.change_band,
    )


def _site_grid(sources: Sequence[ImageSource]) -> tuple[Grid, str]:
    """The grid of a site and the file it is that of; see `finest`.

    Raises:
        GridError: two of the images do not overlap.
    """
    for source in sources:
        first = raster_info(source.files[0]).grid
        for file in (*source.files[1:], *([source.valid] if source.valid else [])):
            check_overlap(file, source.files[0], first)
    grids = [Reader(source).grid for source in sources]
    best = finest(grids)
    image = sources[grids.index(best)].files[0]
    for source in sources:
        check_overlap(source.files[0], image, best)
    return best, image


def _source(row: Row, sensor: Sensor) -> ImageSource:
    return ImageSource(row.image, tuple(band.name for band in sensor.bands), sensor, row.valid)


def _prepare_image(modality: str, source: ImageSource, grid: Grid, path: Path) -> PreparedImage:
    infos = [raster_info(file) for file in source.files]
    in_place = all(info.tiled and same_grid(info.grid, grid) for info in infos)
    inputs = [*source.files, *([source.valid] if source.valid else [])]
    identity = identity_of(inputs, grid, source.sensor.to_dict())
    described = read_description(path, identity)
    valid_path = path.with_name(f"{path.stem}_valid.tif")
    if described is None or not (in_place or path.is_file()):
        reader = Reader(source, grid)
        try:
            sums = survey(reader) if in_place else _copy(reader, grid, path, valid_path, source.bands)
            statistics = finish(sums, source, reader.dtype)
        except MapmendError:
            path.unlink(missing_ok=True)
            valid_path.unlink(missing_ok=True)
            raise
        if statistics.valid_share == 1.0:
            valid_path.unlink(missing_ok=True)
        write_description(path, identity, asdict(statistics))
    else:
        statistics = BandStatistics.from_dict(described)
    if in_place:
        return PreparedImage(modality, source, statistics)
    valid = str(valid_path) if valid_path.is_file() else None
    return PreparedImage(modality, ImageSource((str(path),), source.bands, source.sensor, valid), statistics)


def _copy(reader: Reader, grid: Grid, path: Path, valid_path: Path, bands: tuple[str, ...]) -> BandSums:
    path.parent.mkdir(parents=True, exist_ok=True)
    sums = []
    with (
        TiledWriter(path, grid, reader.count, reader.stored_dtype, band_names=bands) as pixels_out,
        TiledWriter(valid_path, grid, 1, "uint8", band_names=["valid"]) as valid_out,
    ):
        for window in windows(grid, STRIP):
            pixels, valid = reader.raw(window)
            pixels_out.write(window, pixels)
            valid_out.write(window, valid.astype(np.uint8))
            sums.append(sums_at(reader, window, pixels, valid))
    return add(sums)


def class_areas(
    path: str | Path, grid: Grid, legend: Legend, codes: Crosswalk | None = None
) -> tuple[tuple[float, ...], str]:
    """Area of each class of a class raster and the unit, ha or (without a CRS) px.

    Args:
        path: of the raster.
        grid: that it is counted on.
        legend: of the classes.
        codes: what the raster's codes mean in that legend; None: they are its ids.

    Raises:
        GridError: part of the grid lies outside its CRS.
    """
    area = PixelArea(grid)
    reader = LabelReader(str(path), grid, codes or load_crosswalk(None, legend))
    totals = np.zeros(256)
    for window in windows(grid, STRIP):
        totals += np.bincount(reader.read(window).ravel(), weights=area.of(window).ravel(), minlength=256)
    return tuple(float(totals[id_]) for id_ in legend.ids), area.unit
