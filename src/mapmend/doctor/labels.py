"""Codes of labels: those that the legend does not know, and those that say nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import shapely

from mapmend.core.crosswalk import Crosswalk
from mapmend.core.errors import LegendError, MapmendError
from mapmend.core.grid import Grid, windows
from mapmend.core.legend import NODATA, Legend
from mapmend.core.manifest import Row
from mapmend.core.thinning import evenly
from mapmend.data.label_layers import label_reader
from mapmend.doctor.finding import Finding, from_fault
from mapmend.doctor.sampling import read, spread
from mapmend.raster.features import vector_faults
from mapmend.raster.labels import LabelReader
from mapmend.raster.opening import RasterInfo, raster_info
from mapmend.raster.vector import vector_info

_SIDE = 1024
_MOST_WINDOWS = 64  # of a label raster that are counted
_MOST_FEATURES = 100_000
_FEW = 0.01  # share of labelled pixels below which a dense label is likely wrong
_LISTED = 8


@dataclass(frozen=True)
class Codes:
    """What a label holds: pixels (or features) per class index, and what is to be said about it."""

    counts: Mapping[int, int]
    findings: tuple[Finding, ...]


def raster_codes(path: str, crosswalk: Crosswalk, band: int | None = None) -> Codes:
    """Codes of a label raster, in all of it or, of a large one, in windows spread over it."""
    try:
        info = raster_info(path)
        every = list(windows(info.grid, _SIDE))
        chosen = evenly(every, _MOST_WINDOWS)
        if info.count == 1:
            codes: Counter[float] = Counter()
            for window in chosen:
                values, counts = np.unique(read(info, window), return_counts=True)
                codes.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            return _judge(codes, info, crosswalk, len(chosen) / len(every))
        reader = LabelReader(path, info.grid, crosswalk, band=band)
        ids: Counter[int] = Counter()
        for window in chosen:
            values, counts = np.unique(reader.read(window), return_counts=True)
            ids.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    except MapmendError as fault:
        return Codes({}, (from_fault(fault, "label", path),))
    return _told(ids, path, crosswalk.target)


def vector_codes(path: str, crosswalk: Crosswalk | None, field: str | None) -> Codes:
    """Geometries and classes of a vector label; classes only where the field is named."""
    try:
        info = vector_info(path)
        with vector_faults(path):
            _, _, binary, columns = pyogrio.raw.read(
                Path(path).absolute(),
                layer=info.layer,
                columns=[field] if field in info.fields else [],
                max_features=_MOST_FEATURES,
                force_2d=True,
            )
            broken = int((~shapely.is_valid(shapely.from_wkb(binary))).sum()) if info.count else 0
    except MapmendError as fault:
        return Codes({}, (from_fault(fault, "label", path),))
    found = []
    if not info.count:
        found.append(Finding("error", "empty", "holds no features", path, "check the layer"))
    if info.crs is None:
        fix = f"ogr2ogr -a_srs EPSG:… assigned.gpkg {path}"
        found.append(Finding("warning", "no CRS", "has no CRS: it fits only images without one", path, fix))
    if broken:
        of = f"of the first {_MOST_FEATURES} features" if info.count > _MOST_FEATURES else f"of {info.count} features"
        what = f"{broken} {of} have invalid geometry; they are mended as they are read"
        found.append(Finding("note", "geometry", what, path, "ogr2ogr -makevalid, to see what becomes of them"))
    if field is not None and field not in info.fields:
        listed = ", ".join(info.fields) or "none"
        found.append(Finding("error", "label", f"has no field '{field}'", path, f"its fields: {listed}"))
    if not len(columns) or crosswalk is None:
        return Codes({}, tuple(found))
    return _told_of_features(Counter(columns[0].tolist()), path, crosswalk, found)


def drawn_codes(row: Row, grid: Grid, legend: Legend, base: Path | None) -> Codes:
    """Classes of a label that is no raster of codes (polygons, masks), drawn onto windows of its image's grid."""
    ids: Counter[int] = Counter()
    path = row.label_files[0]
    try:
        _, reader = label_reader(row, grid, legend, base)
        for window in spread(grid, _SIDE):
            values, counts = np.unique(reader.read(window), return_counts=True)
            ids.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    except MapmendError as fault:
        return Codes({}, (from_fault(fault, "label", path),))
    return Codes(_told(ids, path, legend).counts, ())


def unheld(counts: Mapping[int, int], legend: Legend, where: str) -> list[Finding]:
    """Classes of the legend that no label holds; an error where the labels hold one class alone."""
    held = [index for index, count in counts.items() if count]
    lacking = [name for index, name in enumerate(legend.names) if index not in held]
    if len(held) == 1:
        what = f"all labels are '{legend.names[held[0]]}': there is nothing to tell it from"
        return [Finding("error", "one class", what, where, "check `label_legend` (masks of 0 and 255: mask255)")]
    if not held or not lacking:
        return []
    what = f"no label holds {_listed(lacking)}: a map cannot show what nothing was learned about"
    return [Finding("warning", "classes", what, where, "add labels of these classes, or leave them out of the legend")]


def _judge(codes: Mapping[float, int], info: RasterInfo, crosswalk: Crosswalk, part: float) -> Codes:
    nodata = info.nodata[0]
    ids: Counter[int] = Counter()
    unknown = {}
    for code, count in codes.items():
        if code != code or code == nodata:
            ids[NODATA] += count
        elif code in crosswalk.table:
            ids[crosswalk.table[int(code)]] += count
        else:
            unknown[code] = count
    if not unknown:
        return _told(ids, info.path, crosswalk.target)
    listed = sorted(unknown.items(), key=lambda pair: -pair[1])
    told = _listed([f"{code:g} ({count} px)" for code, count in listed])
    inside = "" if part == 1 else f" in {part:.0%} of the file"
    what = f"holds {told}{inside}, not in '{crosswalk.source}' (for legend '{crosswalk.target.name}')"
    fix = "name the labels' own legend or crosswalk in `label_legend`, or list codes without a label in `ignore`"
    known = _told(ids, info.path, crosswalk.target).counts
    return Codes(known, (Finding("error", "label codes", what, info.path, fix),))


def _told(ids: Mapping[int, int], path: str, legend: Legend) -> Codes:
    counts = {legend.ids.index(id_): count for id_, count in ids.items() if id_ != NODATA}
    total, labelled = sum(ids.values()), sum(counts.values())
    found = []
    if not labelled:
        what = "gives no class to any pixel"
        found.append(Finding("error", "empty label", what, path, "check codes, nodata and `ignore`"))
    elif labelled < _FEW * total:
        what = f"gives a class to {labelled / total:.2%} of its pixels"
        found.append(Finding("note", "sparse label", what, path, "fine for sparse samples; else check nodata"))
    if len(counts) == 1 and labelled == total:
        what = f"is '{legend.names[next(iter(counts))]}' everywhere"
        found.append(Finding("note", "constant label", what, path, "fine for one of many; else check `label_legend`"))
    return Codes(counts, tuple(found))


def _told_of_features(values: Mapping[object, int], path: str, crosswalk: Crosswalk, found: Sequence[Finding]) -> Codes:
    counts: Counter[int] = Counter()
    unknown = []
    for value, count in values.items():
        if value is None or value == "" or value != value:
            continue
        try:
            plain = value if isinstance(value, str | float) else float(str(value))
            id_ = crosswalk.id_of(plain, where=path)
        except (LegendError, ValueError):
            unknown.append(f"'{value}' ({count})")
            continue
        if id_ != NODATA:
            counts[crosswalk.target.ids.index(id_)] += count
    if not unknown:
        return Codes(counts, tuple(found))
    what = f"has features of {_listed(unknown)}, not in '{crosswalk.source}' (for legend '{crosswalk.target.name}')"
    fix = "name the labels' own legend or crosswalk in `label_legend`"
    return Codes(counts, (*found, Finding("error", "label codes", what, path, fix)))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
