"""Items and collections against the published schemas (kept in tests/stac_schemas), and against the files they name."""

import copy
import hashlib
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from jsonschema import Draft7Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from mapmend.core.errors import RasterError
from mapmend.core.grid import full_window, make_grid
from mapmend.core.legend import Legend, LegendClass
from mapmend.raster.stac import write_collection, write_item
from mapmend.raster.writing import TiledWriter, write_cog, write_qml

SCHEMAS = Path(__file__).parents[1] / "stac_schemas"
ITEM_SPEC = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/"
GRID = make_grid((60, 80), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
LEGEND = Legend("two", (LegendClass(1, "Wälder & Forst", "#00ff00"), LegendClass(4, "built", "#ff0000")))
FROM_TO = {
    0: ("Walder_Forst_unchanged", "Wälder & Forst (unchanged)"),
    1: ("Walder_Forst_to_built", "Wälder & Forst → built"),
    2: ("built_to_Walder_Forst", "built → Wälder & Forst"),
    3: ("built_unchanged", "built (unchanged)"),
}


@pytest.fixture(scope="module")
def problems():
    """What the schemas say against an item or a collection, by the schema's address; nothing is fetched."""
    schemas = {}
    for path in SCHEMAS.glob("*.json"):
        plain = json.loads(path.read_text())
        # the `$id` of common.json lacks its dot, as published
        address = ITEM_SPEC + "common.json" if path.stem == "common" else plain["$id"].removesuffix("#")
        schemas[address] = Resource(plain, DRAFT7)
    registry = Registry().with_resources(schemas.items())
    formats = FormatChecker(())
    formats.checks("date-time", ValueError)(lambda text: text is None or bool(datetime.fromisoformat(text)))

    def check(document):
        kind = "item" if document["type"] == "Feature" else "collection"
        addresses = [
            f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json",
            *document.get("stac_extensions", []),
        ]
        checks = {
            address: Draft7Validator(schemas[address].contents, registry=registry, format_checker=formats)
            for address in addresses
        }
        return {
            address: error.message
            for address, validator in checks.items()
            if (error := next(validator.iter_errors(document), None))
        }

    return check


def write_layer(folder, name, values, kind="class", dtype="uint8", legend=LEGEND, grid=GRID):
    """A COG as a mapping job writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    block, nodata = folder / ".block.tif", np.iinfo(dtype).max
    with TiledWriter(block, grid, 1, dtype, nodata) as writer:
        writer.write(full_window(grid), values.astype(dtype)[None])
    write_cog(
        [(block, full_window(grid))],
        grid,
        folder / f"{name}.tif",
        kind=kind,
        dtype=dtype,
        nodata=nodata,
        legend=legend if kind == "class" else None,
    )
    block.unlink()


@pytest.fixture(scope="module")
def map_folder(tmp_path_factory):
    """A map folder as `predict` leaves it."""
    folder = tmp_path_factory.mktemp("out") / "map" / "mytown"
    rng = np.random.default_rng(0)
    write_layer(folder, "class", rng.choice(np.array([1, 4, 255]), (60, 80)))
    write_layer(folder, "confidence", rng.integers(0, 201, (60, 80)), "confidence")
    write_qml(folder / "class.qml", LEGEND)
    (folder / "mapmend.json").write_text(
        json.dumps({"software": {"mapmend": "9.9", "torch": "2.x"}, "created": "2026-01-02T03:04:05+00:00"})
    )
    (folder / "job.json").write_text("{}")
    (folder / "blocks").mkdir()
    return folder


def read(path):
    return json.loads(path.read_text())


def test_an_item_and_its_collection_are_valid(map_folder, problems):
    item = write_item(map_folder, GRID, name="mytown", date="2024-07-31", legend=LEGEND)
    assert problems(read(item)) == {}, "alone, as for one scene from the command line"
    collection = write_collection(map_folder.parent, [item, None], name="towns", title="Towns", licence="CC-BY-4.0")
    assert problems(read(item)) == {} and problems(read(collection)) == {}
    assert {entry.name for entry in map_folder.parent.iterdir()} == {"mytown", "collection.json"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda item: item.pop("bbox"),
        lambda item: item["properties"].pop("datetime"),
        lambda item: item["properties"].update(datetime="31.7.2024"),
        lambda item: item["assets"]["class"].pop("href"),
        lambda item: item["assets"]["class"].update({"file:checksum": "NOT HEX"}),
        lambda item: item["assets"]["class"].update({"raster:sampling": "volume"}),
        lambda item: item["assets"]["class"]["classification:classes"][0].pop("name"),
        lambda item: item["properties"].update({"proj:shape": [1, 2, 3]}),
        lambda item: item["properties"].update({"processing:software": "mapmend"}),
        lambda item: item["geometry"].update(coordinates=[[[0, 0], [1, 1]]]),
        lambda item: item.update(collection="towns", links=[]),
    ],
)
def test_the_schemas_refuse_a_broken_item(map_folder, problems, spoil):
    item = read(write_item(map_folder, GRID, name="mytown", date="2024-07-31", legend=LEGEND))
    broken = copy.deepcopy(item)
    spoil(broken)
    assert problems(broken) != {}


@pytest.mark.parametrize("lost", ["license", "extent", "links", "description", "id"])
def test_the_schemas_refuse_a_broken_collection(map_folder, problems, lost):
    item = write_item(map_folder, GRID, name="mytown", date="2024-07-31", legend=LEGEND)
    collection = read(write_collection(map_folder.parent, [item], name="towns"))
    collection.pop(lost)
    assert problems(collection) != {}


def test_assets_are_the_files(map_folder):
    item = read(write_item(map_folder, GRID, name="mytown", date="2024-07-31", legend=LEGEND))
    assert set(item["assets"]) == {"class", "class.tif.aux.xml", "class.qml", "confidence", "mapmend.json"}
    for asset in item["assets"].values():
        content = (map_folder / asset["href"]).read_bytes()
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        assert asset["file:size"] == len(content)
    classes, confidence = item["assets"]["class"], item["assets"]["confidence"]
    assert classes["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert classes["data_type"] == "uint8" and classes["nodata"] == 255 and "raster:scale" not in classes
    assert confidence["raster:scale"] == 0.005 and confidence["nodata"] == 255
    assert "classification:classes" not in confidence
    assert item["properties"]["processing:software"] == {"mapmend": "9.9", "torch": "2.x"}
    assert item["properties"]["created"] == "2026-01-02T03:04:05+00:00"


def test_classes_are_the_legends(map_folder):
    item = read(write_item(map_folder, GRID, name="mytown", date="2024-07-31", legend=LEGEND))
    assert item["assets"]["class"]["classification:classes"] == [
        {"value": 1, "name": "Walder_Forst", "title": "Wälder & Forst", "color_hint": "00ff00"},
        {"value": 4, "name": "built", "title": "built", "color_hint": "ff0000"},
        {"value": 255, "name": "nodata", "nodata": True},
    ]


def test_the_place_is_that_of_the_raster(map_folder):
    item = read(write_item(map_folder, GRID, name="mytown", date="2024-07-31", legend=LEGEND))
    with rasterio.open(map_folder / "class.tif") as file:
        properties = item["properties"]
        assert properties["proj:code"] == f"EPSG:{file.crs.to_epsg()}"
        assert properties["proj:shape"] == list(file.shape)
        assert properties["proj:transform"] == list(file.transform) and len(properties["proj:transform"]) == 9
        assert properties["proj:bbox"] == list(file.bounds)
        west, south, east, north = rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    np.testing.assert_allclose(item["bbox"], [west, south, east, north], atol=1e-6)


def test_a_crs_without_a_code_is_spelled_out(tmp_path, problems):
    grid = make_grid((60, 80), Affine(10, 0, 0, 0, -10, 0), "+proj=laea +lat_0=10 +lon_0=20 +ellps=GRS80")
    write_layer(tmp_path, "class", np.ones((60, 80)), grid=grid)
    item = read(write_item(tmp_path, grid, name="far", date="2020", legend=LEGEND))
    assert item["properties"]["proj:code"] is None and "Lambert" in item["properties"]["proj:wkt2"]
    assert problems(item) == {}


@pytest.mark.parametrize(
    "before, date, expected",
    [
        ("", "2024-07-31", {"datetime": "2024-07-31T00:00:00Z"}),
        ("", "2024-02", ("2024-02-01T00:00:00Z", "2024-02-29T23:59:59Z")),
        ("", "2021", ("2021-01-01T00:00:00Z", "2021-12-31T23:59:59Z")),
        ("2011", "2021-06", ("2011-01-01T00:00:00Z", "2021-06-30T23:59:59Z")),
        ("2011-05-22", "2011-05-24", ("2011-05-22T00:00:00Z", "2011-05-24T23:59:59Z")),
        ("", "", None),
        ("", "t1", None),
        ("t1", "2021", None),
        ("", "2024-02-30", None),
        ("", "2024-13", None),
    ],
)
def test_dates(map_folder, problems, before, date, expected):
    item = write_item(map_folder, GRID, name="mytown", date=date, date_before=before, legend=LEGEND)
    if expected is None:
        assert item is None
        return
    properties = read(item)["properties"]
    if isinstance(expected, tuple):
        assert properties["datetime"] is None
        assert (properties["start_datetime"], properties["end_datetime"]) == expected
    else:
        assert {"datetime": properties["datetime"]} == expected
    assert problems(read(item)) == {}


def test_an_unknown_place_has_no_item(tmp_path):
    grid = make_grid((60, 80), Affine.identity(), None)
    write_layer(tmp_path, "class", np.ones((60, 80)), grid=grid)
    assert write_item(tmp_path, grid, name="chip", date="2024", legend=LEGEND) is None
    assert write_collection(tmp_path, [None], name="chips") is None
    assert not list(tmp_path.glob("*.json"))


def test_a_change_folder(tmp_path, problems):
    folder = tmp_path / "change" / "mytown"
    write_layer(folder, "from_to", np.zeros((60, 80)), dtype="uint16", kind="image")
    for name in ("before", "after", "updated"):
        write_layer(folder, name, np.ones((60, 80)))
    for name in ("changes.gpkg", "changes.parquet", "from_to.csv", "from_to.qml"):
        (folder / name).write_bytes(b"content")
    path = write_item(folder, GRID, name="mytown", date="2021", date_before="2011", legend=LEGEND)
    item = read(path)
    assert item["id"] == "mytown_2011_2021" and problems(item) == {}
    listed = item["assets"]["from_to"]["classification:classes"]
    assert {entry["value"]: (entry["name"], entry["title"]) for entry in listed[:-1]} == FROM_TO
    assert listed[-1] == {"value": 65535, "name": "nodata", "nodata": True}
    assert item["assets"]["updated"]["classification:classes"][0]["title"] == "Wälder & Forst"
    assert item["assets"]["changes.gpkg"]["type"] == "application/geopackage+sqlite3"
    assert item["assets"]["changes.parquet"]["type"] == "application/vnd.apache.parquet"


def test_a_collection_spans_its_items(tmp_path, problems):
    items = []
    for number, (site, date) in enumerate((("east/2020", "2020"), ("west", "2021-05-01"))):
        grid = make_grid((60, 80), Affine(10, 0, 500000 + 10_000 * number, 0, -10, 4000000), "EPSG:32633")
        write_layer(tmp_path / site, "class", np.ones((60, 80)), grid=grid)
        items.append(write_item(tmp_path / site, grid, name=site[:4], date=date, legend=LEGEND))
    collection = read(write_collection(tmp_path, items, name="two", description="Two places."))
    assert problems(collection) == {}
    west, south, east, north = np.array([read(path)["bbox"] for path in items]).T
    assert collection["extent"]["spatial"]["bbox"][0] == [west.min(), south.min(), east.max(), north.max()]
    assert collection["extent"]["temporal"]["interval"] == [["2020-01-01T00:00:00Z", "2021-05-01T00:00:00Z"]]
    hrefs = [link["href"] for link in collection["links"] if link["rel"] == "item"]
    assert [tmp_path / href for href in hrefs] == items
    for path in items:
        links = {link["rel"]: (path.parent / link["href"]).resolve() for link in read(path)["links"]}
        assert links == dict.fromkeys(("root", "parent", "collection"), tmp_path / "collection.json")
        assert read(path)["collection"] == "two"


def test_pystac_walks_from_collection_to_files(map_folder):
    pystac = pytest.importorskip("pystac")
    item = write_item(map_folder, GRID, name="mytown", date="2024-07-31", legend=LEGEND)
    collection = pystac.Collection.from_file(str(write_collection(map_folder.parent, [item], name="towns")))
    [found] = collection.get_items(recursive=True)
    assert found.id == "mytown_2024-07-31" and found.get_collection().id == "towns"
    assert Path(found.assets["class"].get_absolute_href()).samefile(map_folder / "class.tif")


def test_a_damaged_item_is_named(tmp_path):
    (tmp_path / "item.json").write_text("[]")
    with pytest.raises(RasterError, match=r"item\.json: is not a JSON file"):
        write_collection(tmp_path, [tmp_path / "item.json"], name="x")
    assert not (tmp_path / "collection.json").exists()
