"""STAC beside finished maps: an item for a folder, a collection for several, with links that move with them.

An item says where and when a map is, what each file holds, and its checksum. Where the place or the time is not known
(no CRS, no date, a date such as `t1`) there is no item, for STAC has no words for that.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from calendar import monthrange
from collections.abc import Iterable, Mapping
from datetime import date as Date
from pathlib import Path
from typing import Any

from mapmend import __version__
from mapmend.core.classes import NODATA, Legend
from mapmend.core.durable import replace_json, typed_faults
from mapmend.core.errors import RasterError
from mapmend.core.grid import Grid, ground_pixel_size
from mapmend.core.provenance import RECORD, file_hash
from mapmend.raster.footprint import footprint, union
from mapmend.raster.opening import open_raster

ITEM, COLLECTION = "item.json", "collection.json"

_VERSION = "1.1.0"
_EXTENSIONS = {
    name: f"https://stac-extensions.github.io/{name}/v{version}/schema.json"
    for name, version in (
        ("file", "2.1.0"),
        ("projection", "2.0.0"),
        ("classification", "2.0.0"),
        ("raster", "2.0.0"),
        ("processing", "1.2.0"),
    )
}
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_SHA256 = "1220"  # multihash: the function's code and the length of what follows

_FILES = {
    ".tif": (_COG, "data"),
    ".gpkg": ("application/geopackage+sqlite3", "data"),
    ".parquet": ("application/vnd.apache.parquet", "data"),
    ".csv": ("text/csv", "data"),
    ".qml": ("application/xml", "style"),
    ".xml": ("application/xml", "metadata"),
    ".json": ("application/json", "metadata"),
}
_TITLES = {
    "class": "Classes",
    "confidence": "Confidence of the class",
    "class_before": "Classes at the earlier date",
    "confidence_before": "Confidence of the class at the earlier date",
    "change": "Probability of change",
    "entropy": "How undecided the model is",
    "disagreement": "How much the models disagree",
    "from_to": "Class before and class after",
    "before": "Classes before, consistent with the changes",
    "after": "Classes after, consistent with the changes",
    "updated": "The old map with the changes applied",
    "changes.gpkg": "Polygons of change",
    "changes.parquet": "Polygons of change",
    "from_to.csv": "Areas by class before and class after",
    RECORD: "What the files were made from and with",
}
_CLASSES = ("class", "class_before", "before", "after", "updated")
_CHANGES = "from_to"
_NOT_ASSETS = (ITEM, "job.json")  # the second is the state of a job


def write_item(
    folder: Path, grid: Grid, *, name: str, date: str, date_before: str = "", legend: Legend | None = None
) -> Path | None:
    """Write `item.json` into a finished folder of maps or changes; its assets are the files that lie there.

    Args:
        folder: holds the files; folders in it and hidden files are no assets.
        grid: of every raster in it.
        name: of the place; with the dates it makes the item's id.
        date: YYYY-MM-DD, YYYY-MM or YYYY.
        date_before: of maps of two dates, the earlier one; the item then spans the time between.
        legend: of the class rasters.

    Returns:
        The file; None where a date is not known, or where the grid lies on Earth.

    Raises:
        RasterError: a file cannot be read, or the item cannot be written.
        DiskError: the disk is full.
    """
    place = footprint(grid)
    spans = [_span(text) for text in (date_before or date, date)]
    first, last = spans
    if place is None or first is None or last is None:
        return None
    files = sorted(path for path in folder.iterdir() if path.is_file() and _is_asset(path))
    record = _record(folder / RECORD)
    properties: dict[str, object] = {
        "title": name,
        **_time(first[0], last[1], exact=first == last and first[0] == first[1]),
        "gsd": round(sum(ground_pixel_size(grid)) / 2, 4),
        **_projection(grid),
        "processing:software": record["software"],
    }
    if record["created"]:
        properties["created"] = record["created"]
    item = {
        "type": "Feature",
        "stac_version": _VERSION,
        "stac_extensions": list(_EXTENSIONS.values()),
        "id": "_".join(part for part in (name, date_before, date) if part),
        "geometry": place.geometry,
        "bbox": list(place.bbox),
        "properties": properties,
        "links": [],
        "assets": {(path.stem if path.suffix == ".tif" else path.name): _asset(path, legend) for path in files},
    }
    replace_json(folder / ITEM, item, error=RasterError)
    return folder / ITEM


def write_collection(
    folder: Path,
    items: Iterable[Path | None],
    *,
    name: str,
    title: str = "",
    description: str = "",
    licence: str = "other",
) -> Path | None:
    """Write `collection.json` into a folder, and link it and the items below it with each other.

    Args:
        folder: above all items.
        items: what `write_item` returned; None is passed over.
        name: the collection's id.
        title: what a reader calls it.
        description: one or more sentences.
        licence: an SPDX identifier, or `other`.

    Returns:
        The file; None where there is no item.

    Raises:
        RasterError: an item cannot be read, or a file cannot be written.
        DiskError: the disk is full.
    """
    members = {path: _read(path) for path in items if path is not None}
    if not members:
        return None
    times = [item["properties"] for item in members.values()]
    begins = min(each["start_datetime"] if each["datetime"] is None else each["datetime"] for each in times)
    ends = max(each["end_datetime"] if each["datetime"] is None else each["datetime"] for each in times)
    boxes = [tuple(item["bbox"]) for item in members.values()]
    whole = [union(boxes)] if len(boxes) == 1 else [union(boxes), *boxes]
    to_items = [_link("item", path, folder, "application/geo+json", item["id"]) for path, item in members.items()]
    collection = {
        "type": "Collection",
        "stac_version": _VERSION,
        "id": name,
        "title": title or name,
        "description": description or f"Maps of {title or name}, made with mapmend.",
        "license": licence,
        "extent": {"spatial": {"bbox": [list(box) for box in whole]}, "temporal": {"interval": [[begins, ends]]}},
        "links": [_link("root", folder / COLLECTION, folder, "application/json", title or name), *to_items],
    }
    replace_json(folder / COLLECTION, collection, error=RasterError)
    for path, item in members.items():
        links = [
            _link(relation, folder / COLLECTION, path.parent, "application/json", title or name)
            for relation in ("root", "parent", "collection")
        ]
        replace_json(path, {**item, "collection": name, "links": links}, error=RasterError)
    return folder / COLLECTION


def _span(text: str) -> tuple[Date, Date] | None:
    """First and last day of a day, a month or a year; None if the text is none of these."""
    try:
        if match := re.fullmatch(r"(\d{4})(?:-(\d{2}))?", text, re.ASCII):
            year, month = int(match[1]), int(match[2] or 0)
            if not month:
                return Date(year, 1, 1), Date(year, 12, 31)
            return Date(year, month, 1), Date(year, month, monthrange(year, month)[1])
        day = Date.fromisoformat(text)
    except ValueError:
        return None
    return day, day


def _time(first: Date, last: Date, *, exact: bool) -> dict[str, str | None]:
    if exact:
        return {"datetime": f"{first}T00:00:00Z"}
    return {"datetime": None, "start_datetime": f"{first}T00:00:00Z", "end_datetime": f"{last}T23:59:59Z"}


def _projection(grid: Grid) -> dict[str, object]:
    assert grid.crs is not None
    epsg, box = grid.crs.to_epsg(), grid.boundingbox
    code: dict[str, object] = {"proj:code": f"EPSG:{epsg}" if epsg else None}
    if not epsg:
        code["proj:wkt2"] = grid.crs.proj.to_wkt("WKT2_2019")
    return {
        **code,
        "proj:shape": [int(n) for n in grid.shape],
        "proj:transform": [float(n) for n in grid.transform],
        "proj:bbox": [float(box.left), float(box.bottom), float(box.right), float(box.top)],
    }


def _is_asset(path: Path) -> bool:
    return path.suffix in _FILES and path.name not in _NOT_ASSETS and not path.name.startswith(".")


def _asset(path: Path, legend: Legend | None) -> dict[str, object]:
    media, role = _FILES[path.suffix]
    with typed_faults(path, error=RasterError):
        asset: dict[str, object] = {
            "href": f"./{path.name}",
            "type": media,
            "roles": [role],
            "file:size": path.stat().st_size,
            "file:checksum": _SHA256 + file_hash(path),
        }
    title = _TITLES.get(path.stem if path.suffix == ".tif" else path.name)
    return {
        **({"title": title} if title else {}),
        **asset,
        **(_band(path, legend) if path.suffix == ".tif" else {}),
    }


def _band(path: Path, legend: Legend | None) -> dict[str, object]:
    """Number type, nodata, scale and classes of a raster of one band."""
    with open_raster(path) as raster:
        dtype, nodata, scale = str(raster.dtypes[0]), raster.nodata, float(raster.scales[0])
        palette = raster.colormap(1) if raster.colorinterp[0].name == "palette" else {}
    band: dict[str, object] = {"data_type": dtype, "raster:sampling": "area"}
    if nodata is not None:
        band["nodata"] = int(nodata) if nodata == int(nodata) else nodata
    if scale != 1:
        band["raster:scale"] = scale
    if legend is None or path.stem not in (*_CLASSES, _CHANGES):
        return band
    colours = {code: f"{red:02x}{green:02x}{blue:02x}" for code, (red, green, blue, _) in palette.items()}
    texts = _changes(legend) if path.stem == _CHANGES else dict(zip(legend.ids, legend.names, strict=True))
    classes = [_class(code, text, colours.get(code)) for code, text in texts.items()]
    missing = {"value": int(NODATA if nodata is None else nodata), "name": "nodata", "nodata": True}
    return {**band, "classification:classes": [*classes, missing]}


def _changes(legend: Legend) -> dict[int, str]:
    """Code → text of a from-to raster, i·K + j by the legend's indices."""
    return {
        i * len(legend) + j: f"{before} (unchanged)" if i == j else f"{before} → {after}"
        for i, before in enumerate(legend.names)
        for j, after in enumerate(legend.names)
    }


def _class(code: int, text: str, colour: str | None) -> dict[str, object]:
    plain = unicodedata.normalize("NFKD", text.replace("→", "to")).encode("ascii", "ignore").decode()
    name = re.sub("[^0-9A-Za-z]+", "_", plain).strip("_") or f"class_{code}"
    return {"value": code, "name": name, "title": text, **({"color_hint": colour} if colour else {})}


def _record(path: Path) -> dict[str, Any]:
    """Software and time of a map's record; what the record does not say, this package says of itself."""
    plain: Mapping[str, Any] = _read(path) if path.is_file() else {}
    software = plain.get("software", {"mapmend": __version__})
    return {"software": {key: str(value) for key, value in software.items()}, "created": plain.get("created")}


def _read(path: Path) -> dict[str, Any]:
    try:
        with typed_faults(path, error=RasterError):
            plain = json.loads(path.read_text())
    except ValueError:
        plain = None
    if not isinstance(plain, dict):
        raise RasterError("is not a JSON file of this package", where=path, fix="delete it and map again")
    return plain


def _link(relation: str, target: Path, start: Path, media: str, title: str) -> dict[str, str]:
    href = Path(os.path.relpath(target, start)).as_posix()
    return {"rel": relation, "href": href if href.startswith(".") else f"./{href}", "type": media, "title": title}
