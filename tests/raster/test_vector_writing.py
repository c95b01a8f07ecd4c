import json
import multiprocessing
import resource
import sqlite3
from xml.etree import ElementTree as Xml

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from affine import Affine

from mapmend.core.errors import DiskError
from mapmend.core.grid import make_grid
from mapmend.core.legend import LegendClass
from mapmend.raster.style import polygon_style
from mapmend.raster.vector_writing import geopackage_writer, geoparquet_writer

GRID = make_grid((300, 400), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
PLAIN = make_grid((300, 400), Affine.identity(), None)
FIELDS = {"to": str, "pixels": int, "sure": float}
FORMATS = ("gpkg", "parquet")


def writer(kind, path, grid=GRID, style=""):
    return (
        geopackage_writer(path, "changes", FIELDS, grid, style)
        if kind == "gpkg"
        else geoparquet_writer(path, FIELDS, grid)
    )


def read(kind, path):
    return geopandas.read_file(path, layer="changes") if kind == "gpkg" else geopandas.read_parquet(path)


def squares(first, count):
    corner = np.arange(first, first + count)
    return shapely.box(corner, corner, corner + 1, corner + 2)


def batch(first, count):
    names = [None if n % 5 == 0 else f"tree <&> ’{n}’" for n in range(first, first + count)]
    sure = np.where(np.arange(first, first + count) % 3 == 0, np.nan, 0.25)
    return squares(first, count), {"to": names, "pixels": np.arange(first, first + count) * 10**10, "sure": sure}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("grid", [GRID, PLAIN], ids=["crs", "no crs"])
def test_batches_come_back(kind, grid, tmp_path, recwarn):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"old")
    with writer(kind, path, grid) as write:
        for first, count in ((0, 7), (7, 1), (8, 12)):
            write(*batch(first, count))
        assert path.read_bytes() == b"old", "nothing is replaced before it is whole"
    assert not recwarn.list
    frame = read(kind, path)
    polygons, columns = batch(0, 20)
    assert list(frame.columns) == [*FIELDS, "geometry"]
    assert [None if not isinstance(name, str) else name for name in frame["to"]] == columns["to"]
    np.testing.assert_array_equal(frame.pixels, columns["pixels"])
    np.testing.assert_array_equal(frame.sure, columns["sure"])
    assert shapely.equals(frame.geometry.values, polygons).all()
    if grid is GRID:
        assert frame.crs.to_epsg() == 32633
    else:
        assert frame.crs is None or "undefined" in frame.crs.name.lower()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_layer_without_polygons(kind, tmp_path):
    with writer(kind, tmp_path / f"a.{kind}"):
        pass
    frame = read(kind, tmp_path / f"a.{kind}")
    assert len(frame) == 0 and list(frame.columns) == [*FIELDS, "geometry"] and frame.crs.to_epsg() == 32633


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_an_interrupted_file_leaves_the_old_one(kind, fault, tmp_path):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"old")
    with pytest.raises(fault), writer(kind, path) as write:
        write(*batch(0, 5))
        raise fault
    assert path.read_bytes() == b"old" and [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_what_geoparquet_asks_for(tmp_path):
    """GeoParquet 1.1: version, primary column, encoding, geometry types, PROJJSON, bounds of all batches."""
    path = tmp_path / "a.parquet"
    with geoparquet_writer(path, FIELDS, GRID) as write:
        write(*batch(50, 5))
        write(*batch(3, 5))
    file = pq.ParquetFile(path)
    geo = json.loads(file.metadata.metadata[b"geo"])
    assert geo["version"] == "1.1.0" and geo["primary_column"] == "geometry"
    column = geo["columns"]["geometry"]
    assert column["encoding"] == "WKB" and column["geometry_types"] == ["Polygon"] and column["bbox"] == [3, 3, 55, 56]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32633} and "$schema" in column["crs"]
    assert file.num_row_groups == 2 and str(file.schema.column(3).physical_type) == "BYTE_ARRAY"
    assert len(geopandas.read_parquet(path, bbox=None)) == 10


def test_geoparquet_without_a_place(tmp_path):
    with geoparquet_writer(tmp_path / "a.parquet", FIELDS, PLAIN) as write:
        write(*batch(0, 2))
    geo = json.loads(pq.read_metadata(tmp_path / "a.parquet").metadata[b"geo"])
    assert geo["columns"]["geometry"]["crs"] is None, "null means unknown; to leave it out would mean degrees"


def test_the_style_of_a_geopackage(tmp_path):
    path = tmp_path / "a.gpkg"
    style = polygon_style("to", [LegendClass(1, "water", "#0000ff"), LegendClass(4, "built <&>", "#ff0000")])
    with geopackage_writer(path, "changes", FIELDS, GRID, style) as write:
        write(*batch(0, 5))
    assert [tuple(layer) for layer in pyogrio.list_layers(path)] == [("changes", "Polygon"), ("layer_styles", None)]
    assert len(pyogrio.read_dataframe(path, layer="layer_styles")) == 1, "GDAL reads the table as one of attributes"
    database = sqlite3.connect(path)
    [registered] = database.execute("SELECT data_type, srs_id FROM gpkg_contents WHERE table_name = 'layer_styles'")
    assert registered == ("attributes", 0)
    [(layer, geometry, qml, default)] = database.execute(
        "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
    )
    assert (layer, geometry, default) == ("changes", "geom", 1)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    renderer = Xml.fromstring(qml).find("renderer-v2")
    assert renderer.get("attr") == "to" and renderer.get("type") == "categorizedSymbol"
    colours = {
        symbol.get("name"): symbol.find(".//Option[@name='color']").get("value") for symbol in renderer.iter("symbol")
    }
    named = {category.get("value"): colours[category.get("symbol")] for category in renderer.iter("category")}
    assert named == {"water": "0,0,255,160", "built <&>": "255,0,0,160"}


def write_with_limit(kind, path, limit, answer):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # writes beyond fail as they do on a full disk
    try:
        with writer(kind, path) as write:
            for first in range(0, 20000, 5000):
                write(*batch(first, 5000))
        answer.send("written")
    except DiskError as error:
        answer.send(str(error))
    except Exception as error:
        answer.send(repr(error))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("limit", [0, 150_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(kind, limit, tmp_path):
    context = multiprocessing.get_context("fork")  # the limit holds in the child only
    mine, theirs = context.Pipe()
    path = tmp_path / f"a.{kind}"
    child = context.Process(target=write_with_limit, args=(kind, path, limit, theirs))
    child.start()
    assert mine.poll(60)
    assert mine.recv() == f"{path}: cannot be written: the disk is full; free some space and run it again"
    child.join(60)
    assert list(tmp_path.iterdir()) == []
