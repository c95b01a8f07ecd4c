"""Features written batch by batch, so that a layer's size does not show in memory: GeoPackage and GeoParquet."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

from mapmend.core.grid import Grid
from mapmend.raster.atomic import check_disk, disk_faults, staged, write_fault
from mapmend.raster.opening import first_cause

Geometries = npt.NDArray[np.object_]
Polygons = Geometries
Fields = Mapping[str, type]
"""Name → str, int or float."""
WriteBatch = Callable[[Geometries, Mapping[str, Sequence[Any] | npt.NDArray[Any]]], None]
"""Adds geometries in the grid's CRS and their fields; in a text None, in a float NaN, stands for "unknown"."""

_NUMPY: dict[type, type] = {str: object, int: np.int64, float: np.float64}
_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64()}
_GEOMETRY = "geometry"
_RECORD = "mapmend_record"

_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
  f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)
"""  # as QGIS makes it


@contextmanager
def geopackage_writer(
    path: Path,
    layer: str,
    fields: Fields,
    grid: Grid,
    style: str = "",
    *,
    geometry: Literal["Polygon", "Point"] = "Polygon",
    record: str = "",
) -> Iterator[WriteBatch]:
    """Write a GeoPackage of one layer, which appears whole at the end or not at all.

    Args:
        path: the file; one that exists is replaced at the end.
        layer: its name.
        fields: of the layer.
        grid: whose CRS the geometries have; without a CRS their coordinates are the grid's own.
        style: QML, which QGIS applies to the layer when it is opened.
        geometry: type of all geometries.
        record: a text that goes into a table of its own, for `read_record`.

    Raises:
        DiskError: the disk is full.
        RasterError: the file cannot be written.
    """
    crs = grid.crs.to_wkt() if grid.crs is not None else None

    with staged(path) as part:

        def write(geometries: Geometries, columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]]) -> None:
            binary = shapely.to_wkb(geometries)
            check_disk(path, sum(map(len, binary)))
            with _faults(path), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "'crs' was not provided")  # the raster's reader has said it
                pyogrio.raw.write(
                    part,
                    binary,
                    [np.asarray(columns[name], _NUMPY[kind]) for name, kind in fields.items()],
                    list(fields),
                    layer=layer,
                    driver="GPKG",
                    geometry_type=geometry,
                    crs=crs,
                    append=part.exists(),
                )

        write(np.zeros(0, object), {name: () for name in fields})
        yield write
        with _faults(path):
            if style:
                _add_style(part, layer, style)
            if record:
                _add_record(part, record)


def read_record(path: Path) -> str | None:
    """The text that was written into a GeoPackage as its `record`; None where it has none, or is no GeoPackage."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute(f"SELECT content FROM {_RECORD}").fetchone()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None


@contextmanager
def geoparquet_writer(path: Path, fields: Fields, grid: Grid) -> Iterator[WriteBatch]:
    """Write a GeoParquet file (version 1.1), a row group per batch; it appears whole at the end or not at all.

    Args:
        path: the file; one that exists is replaced at the end.
        fields: of the layer.
        grid: whose CRS the polygons have; without a CRS their coordinates are the grid's own.

    Raises:
        DiskError: the disk is full.
        RasterError: the file cannot be written.
    """
    schema = pa.schema([*((name, _ARROW[kind]) for name, kind in fields.items()), (_GEOMETRY, pa.binary())])
    extents: list[npt.NDArray[np.float64]] = []
    # the metadata is complete only at the end, when the bounds are known; a stored Arrow schema would hide it
    with (
        staged(path) as part,
        _faults(path),
        pq.ParquetWriter(part, schema, compression="zstd", store_schema=False) as file,
    ):

        def write(geometries: Geometries, columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]]) -> None:
            geometry = shapely.to_wkb(geometries)
            check_disk(path, sum(map(len, geometry)))
            arrays = [pa.array(columns[name], _ARROW[kind], from_pandas=True) for name, kind in fields.items()]
            with _faults(path):
                file.write_table(pa.table([*arrays, pa.array(geometry, pa.binary())], schema=schema))
            extents.append(shapely.total_bounds(geometries))

        yield write
        file.add_key_value_metadata({"geo": json.dumps(_geo_metadata(grid, extents))})


def _geo_metadata(grid: Grid, extents: Sequence[npt.NDArray[np.float64]]) -> dict[str, object]:
    column: dict[str, object] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": grid.crs.proj.to_json_dict() if grid.crs is not None else None,
        "edges": "planar",
    }
    if extents:
        bounds = np.array(extents)
        column["bbox"] = [*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist()]
    return {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}


def _add_record(part: Path, record: str) -> None:
    with closing(sqlite3.connect(part)) as database, database:
        database.execute(f"CREATE TABLE {_RECORD} (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, content TEXT)")
        _list_table(database, _RECORD)
        database.execute(f"INSERT INTO {_RECORD} (content) VALUES (?)", (record,))


def _list_table(database: sqlite3.Connection, name: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id)"
        " VALUES (?, 'attributes', ?, '', ?, 0)",
        (name, name, now),
    )


def _add_style(part: Path, layer: str, style: str) -> None:
    with closing(sqlite3.connect(part)) as database, database:
        [geometry] = database.execute(
            "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
        ).fetchone()
        database.execute(_STYLES)
        _list_table(database, "layer_styles")
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
            " styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '')",
            (layer, geometry, layer, style, f"{layer}: default style"),
        )


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn what GDAL, SQLite and Arrow raise while writing into a DiskError or RasterError that names the file."""
    try:
        with disk_faults(path):
            yield
    except (DataLayerError, DataSourceError, FeatureError, FieldError, sqlite3.Error, pa.ArrowException) as error:
        raise write_fault(path, first_cause(error, path)) from None
