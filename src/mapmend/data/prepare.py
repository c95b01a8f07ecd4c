"""`prepare`: every layer of a site onto the site's own grid, once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mapmend.core.durable import replace_json
from mapmend.core.errors import LabelError, ManifestError, MapmendError, RasterError
from mapmend.core.grid import Grid, PixelArea, finest, grid_to_dict, ground_pixel_size, same_grid, windows
from mapmend.core.legend import NODATA, Legend, load_crosswalk
from mapmend.core.manifest import Row
from mapmend.core.provenance import file_stamp, value_hash
from mapmend.core.sensor import Sensor, check_fit
from mapmend.data.sites import BandStatistics, Prepared, PreparedImage, PreparedSite, save_prepared
from mapmend.raster.opening import raster_info
from mapmend.raster.reading import ImageSource, LabelReader, Reader
from mapmend.raster.vector import is_vector
from mapmend.raster.writing import TiledWriter

_STRIP = 1024  # side of the windows that are read and written at once
_STRAY = 0.01  # share of pixels that may lie outside the sensor's range: glints, saturated roofs
_FORMAT = 1  # raised when prepared files of an older version must be made again


@dataclass(frozen=True)
class _Statistics:
    """Sums from which `BandStatistics` follow; they add up over windows."""

    count: int
    pixels: int
    outside: int
    total: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray


def prepare(
    rows: Sequence[Row],
    sensors: Mapping[str, Sensor],
    legend: Legend,
    out: Path,
    *,
    references: Sequence[Row] = (),
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
        base: folder that paths to legends and crosswalks start from.
        progress: told how many sites are done.

    Raises:
        ManifestError, SensorError, RasterError, GridError, LegendError, LabelError: whatever is wrong with an input.
    """
    by_site = {name: list(group) for name, group in groupby(sorted(rows, key=lambda r: r.site), key=lambda r: r.site)}
    unknown = {row.site for row in references} - by_site.keys()
    if unknown:
        raise ManifestError(f"site '{min(unknown)}' has a reference but no image", fix="list it among the scenes")
    reference_of = {(row.site, row.date): row for row in references}
    sites: list[PreparedSite] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [pool.submit(_prepare_site, by_site[name], sensors, legend, out, reference_of, base) for name in by_site]
        try:
            for done, job in enumerate(jobs, start=1):
                sites += job.result()
                progress(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    prepared = Prepared(tuple(sites), legend)
    out.mkdir(parents=True, exist_ok=True)
    save_prepared(prepared, out / "prepared.json")
    return prepared


def _prepare_site(
    rows: list[Row],
    sensors: Mapping[str, Sensor],
    legend: Legend,
    out: Path,
    reference_of: Mapping[tuple[str, str], Row],
    base: Path | None,
) -> list[PreparedSite]:
    name = rows[0].site
    for row in rows:
        if not row.image:
            raise ManifestError(f"site '{name}' has a row without an image", fix="labels alone belong into `reference`")
        if row.sensor not in sensors:
            known = ", ".join(sensors)
            raise ManifestError(f"site '{name}': sensor '{row.sensor}' is not among the project's", fix=f"use {known}")
    sources = {(row.date, row.sensor): _source(row, sensors[row.sensor]) for row in rows}
    grid = finest([Reader(source).grid for source in sources.values()])
    folder = out / name
    made = []
    for date, group in groupby(sorted(rows, key=lambda r: r.date), key=lambda r: r.date):
        rows_of_date = list(group)
        stem = date or "undated"
        images = tuple(
            _prepare_image(sensor, sources[date, sensor], grid, folder / f"{stem}_{sensor}.tif")
            for sensor in sensors
            if (date, sensor) in sources
        )
        labelled = [row for row in rows_of_date if row.label is not None]
        if len({(row.label, row.label_legend) for row in labelled}) > 1:
            raise ManifestError(f"site '{name}' {date}: two rows give different labels", fix="keep one")
        site = PreparedSite(name, date, grid, images, split=rows_of_date[0].split)
        if labelled:
            site = _with_label(site, labelled[0], legend, folder / f"{stem}_label.tif", base)
        reference = reference_of.get((name, date), reference_of.get((name, "")))
        if reference is not None:
            path = folder / f"{stem}_reference.tif"
            _prepare_label(reference, grid, legend, path, base)
            site = replace(site, reference=str(path))
        made.append(site)
    return made


def _source(row: Row, sensor: Sensor) -> ImageSource:
    return ImageSource(row.image, tuple(band.name for band in sensor.bands), sensor, row.valid)


def _prepare_image(modality: str, source: ImageSource, grid: Grid, path: Path) -> PreparedImage:
    infos = [raster_info(file) for file in source.files]
    in_place = all(info.tiled and same_grid(info.grid, grid) for info in infos)
    inputs = [*source.files, *([source.valid] if source.valid else [])]
    identity = _identity(inputs, grid, source.sensor.to_dict())
    described = _read_description(path, identity)
    valid_path = path.with_name(f"{path.stem}_valid.tif")
    if described is None or not (in_place or path.is_file()):
        reader = Reader(source, grid)
        try:
            sums = _survey(reader) if in_place else _copy(reader, grid, path, valid_path, source.bands)
            statistics = _finish(sums, source)
        except MapmendError:
            path.unlink(missing_ok=True)
            valid_path.unlink(missing_ok=True)
            raise
        if statistics.valid_share == 1.0:
            valid_path.unlink(missing_ok=True)
        _write_description(path, identity, asdict(statistics))
    else:
        statistics = BandStatistics.from_dict(described)
    if in_place:
        return PreparedImage(modality, source, statistics)
    valid = str(valid_path) if valid_path.is_file() else None
    return PreparedImage(modality, ImageSource((str(path),), source.bands, source.sensor, valid), statistics)


def _copy(reader: Reader, grid: Grid, path: Path, valid_path: Path, bands: tuple[str, ...]) -> _Statistics:
    path.parent.mkdir(parents=True, exist_ok=True)
    sums = []
    with (
        TiledWriter(path, grid, reader.count, reader.dtype, band_names=bands) as pixels_out,
        TiledWriter(valid_path, grid, 1, "uint8", band_names=["valid"]) as valid_out,
    ):
        for window in windows(grid, _STRIP):
            pixels, valid = reader.read(window)
            pixels_out.write(window, pixels)
            valid_out.write(window, valid.astype(np.uint8))
            sums.append(_sums(pixels, valid, reader.source.sensor))
    return _add(sums)


def _survey(reader: Reader, most: int = 64) -> _Statistics:
    """Statistics from at most `most` windows, evenly spread over the grid."""
    every = list(windows(reader.grid, _STRIP // 4))
    chosen = every if len(every) <= most else [every[i] for i in np.linspace(0, len(every) - 1, most).astype(int)]
    return _add([_sums(*reader.read(window), reader.source.sensor) for window in chosen])


def _sums(pixels: np.ndarray, valid: np.ndarray, sensor: Sensor) -> _Statistics:
    values = pixels[:, valid].astype(np.float64)
    if not values.size:
        nothing = np.zeros(len(pixels))
        return _Statistics(0, valid.size, 0, nothing, nothing, nothing + np.inf, nothing - np.inf)
    lowest, highest = sensor.valid_range or (-np.inf, np.inf)
    outside = int(((values < lowest) | (values > highest)).any(0).sum())
    moments = values.sum(1), (values**2).sum(1), values.min(1), values.max(1)
    return _Statistics(values.shape[1], valid.size, outside, *moments)


def _add(parts: Sequence[_Statistics]) -> _Statistics:
    return _Statistics(
        sum(part.count for part in parts),
        sum(part.pixels for part in parts),
        sum(part.outside for part in parts),
        np.sum([part.total for part in parts], axis=0),
        np.sum([part.squares for part in parts], axis=0),
        np.min([part.low for part in parts], axis=0),
        np.max([part.high for part in parts], axis=0),
    )


def _finish(sums: _Statistics, source: ImageSource) -> BandStatistics:
    if sums.count == 0:
        raise RasterError("has no valid pixel", where=source.files[0], fix="check nodata, mask and quality band")
    if sums.outside > _STRAY * sums.count:
        check_fit(source.sensor, where=source.files[0], low=float(sums.low.min()), high=float(sums.high.max()))
    mean = sums.total / sums.count
    std = np.sqrt(np.maximum(sums.squares / sums.count - mean**2, 0))
    return BandStatistics(
        sums.count,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        low=tuple(sums.low.tolist()),
        high=tuple(sums.high.tolist()),
        valid_share=sums.count / sums.pixels,
    )


def _with_label(site: PreparedSite, row: Row, legend: Legend, path: Path, base: Path | None) -> PreparedSite:
    counts, gsd = _prepare_label(row, site.grid, legend, path, base)
    return replace(
        site, label=str(path), label_counts=counts, label_gsd=row.label_gsd or gsd, trust=row.trust, split=row.split
    )


def _prepare_label(
    row: Row, grid: Grid, legend: Legend, path: Path, base: Path | None
) -> tuple[tuple[int, ...], float | None]:
    """Write a label as legend ids on the grid; its pixels per class, and its own pixel size in metres if a raster."""
    assert row.label is not None
    crosswalk = load_crosswalk(row.label_legend, legend, base)
    own_grid = None if is_vector(row.label) else raster_info(row.label).grid
    gsd = None if own_grid is None else float(max(ground_pixel_size(own_grid)))
    identity = _identity([row.label], grid, [crosswalk.to_dict(), row.label_field])
    described = _read_description(path, identity)
    if described is None or not path.is_file():
        finer = own_grid is not None and gsd is not None and gsd < 0.75 * min(ground_pixel_size(grid))
        reader = LabelReader(
            row.label, grid, crosswalk, resampling="mode" if finer else "nearest", field=row.label_field
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        counts = np.zeros(256, np.int64)
        with TiledWriter(path, grid, 1, "uint8", nodata=NODATA, legend=legend) as out:
            for window in windows(grid, _STRIP):
                ids = reader.read(window)
                counts += np.bincount(ids.ravel(), minlength=256)
                out.write(window, ids)
        if counts.sum() == counts[NODATA]:
            path.unlink()
            raise LabelError("gives no class to any pixel of its image", where=row.label, fix="check extent and codes")
        described = {"counts": [int(counts[id_]) for id_ in legend.ids]}
        _write_description(path, identity, described)
    return tuple(described["counts"]), gsd


def class_areas(path: str | Path, grid: Grid, legend: Legend) -> tuple[tuple[float, ...], str]:
    """Area of each class of a class raster and the unit, ha or (without a CRS) px.

    Raises:
        GridError: part of the grid lies outside its CRS.
    """
    area = PixelArea(grid)
    reader = LabelReader(str(path), grid, load_crosswalk(None, legend))
    totals = np.zeros(256)
    for window in windows(grid, _STRIP):
        totals += np.bincount(reader.read(window).ravel(), weights=area.of(window).ravel(), minlength=256)
    return tuple(float(totals[id_]) for id_ in legend.ids), area.unit


def _identity(files: Sequence[str], grid: Grid, settings: object) -> str:
    return value_hash([_FORMAT, [file_stamp(file) for file in files], grid_to_dict(grid), settings])


def _read_description(path: Path, identity: str) -> dict[str, Any] | None:
    try:
        plain = json.loads(path.with_suffix(".json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return plain["content"] if plain.get("identity") == identity else None


def _write_description(path: Path, identity: str, content: object) -> None:
    replace_json(path.with_suffix(".json"), {"identity": identity, "content": content})
