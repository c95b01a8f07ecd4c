import json
from pathlib import Path

import numpy as np
import pytest
from tests.range_server import serving

from mapmend.core.errors import RasterError
from mapmend.core.grid import Window
from mapmend.core.sensor import Band, Sensor
from mapmend.raster.bands import ImageSource
from mapmend.raster.opening import raster_info
from mapmend.raster.reading import Reader
from mapmend.raster.remote import VARIABLE, fetch, remote_name, stamp, stem
from mapmend.raster.stac_items import stac_images

CARD = Sensor("camera", (Band("red"), Band("green"), Band("blue")))
TILED = {"tiled": True, "blockxsize": 256, "blockysize": 256, "nodata": 0}


@pytest.fixture
def allowed(monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as one:
        yield one


def noise(bands=3, side=1536, seed=0):
    return np.random.default_rng(seed).integers(1, 255, (bands, side, side), np.uint8)


def test_a_window_costs_its_own_tiles(server, write_raster, allowed):
    pixels = noise()
    path = write_raster("big.tif", pixels, names=("red", "green", "blue"), interleave="pixel", **TILED)
    reader = Reader(ImageSource((server.url("big.tif"),), CARD.band_names, CARD))
    header, asked = server.sent, len(server.asked)
    got, valid = reader.read(Window(256, 512, 512, 512))
    np.testing.assert_array_equal(got, pixels[:, 256:768, 512:1024])
    assert valid.all()
    tiles = 4 * 256 * 256 * 3
    # four tiles in two runs, and no more than the pieces of 16 KiB that GDAL asks for
    assert server.sent - header <= 1.15 * tiles
    assert len(server.asked) - asked <= 4
    assert header < 2**17 < pixels.nbytes / 16
    assert not [name for _, name, _ in server.asked if name != "big.tif"]  # no file beside it is asked for
    np.testing.assert_array_equal(
        Reader(ImageSource((path,), CARD.band_names, CARD)).read(Window(0, 0, 9, 9))[0], pixels[:, :9, :9]
    )


def test_nothing_is_asked_for_without_leave(server, write_raster):
    write_raster("a.tif", noise(side=64))
    for call in (raster_info, stamp, fetch, remote_name):
        with pytest.raises(RasterError, match="remote or virtual path; give a local file, or --allow-remote"):
            call(server.url("a.tif"))
    assert not server.asked


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("https://a.org/b/c.tif", "/vsicurl/https://a.org/b/c.tif"),
        ("https:/a.org/b/c.tif", "/vsicurl/https://a.org/b/c.tif"),  # what a `Path` makes of it
        ("HTTP://a.org/c.tif?x=https://b.org", "/vsicurl/http://a.org/c.tif?x=https://b.org"),
        ("/vsicurl/https://a.org/c.tif", "/vsicurl/https://a.org/c.tif"),
        ("s3://bucket/c.tif", "/vsis3/bucket/c.tif"),
        ("/vsis3/bucket/c.tif", "/vsis3/bucket/c.tif"),
        ("gs:/bucket/c.tif", "/vsigs/bucket/c.tif"),
        ("az://box/c.tif", "/vsiaz/box/c.tif"),
    ],
)
def test_names_are_gdals(given, name, allowed):
    assert remote_name(given) == name


@pytest.mark.parametrize(
    "given",
    [
        "file:///etc/passwd",
        "ftp://a.org/b.tif",
        "vrt:///etc/passwd?bands=1",
        "zip+https://a.org/b.zip!c.tif",
        "/vsizip//vsicurl/http://a.org/b.zip/c.tif",
        "/vsimem/a.tif",
        "/vsisubfile/0_100,/etc/passwd",
        "/vsicurl/file:///etc/passwd",
        "/vsicurl?url=file:///etc/passwd",
    ],
)
def test_other_kinds_stay_refused(given, allowed):
    with pytest.raises(RasterError, match="is no path that is read from; give a URL of http, https, s3"):
        raster_info(given)


def test_what_is_not_there_or_no_raster_is_one_line(server, tmp_path, allowed):
    (tmp_path / "text.tif").write_text("no raster" * 99)
    for name in ("gone.tif", "text.tif"):
        with pytest.raises(RasterError) as fault:
            raster_info(server.url(name))
        assert "\n" not in str(fault.value) and name in str(fault.value)
    with pytest.raises(RasterError, match="is answered by 127.0.0.1 with 404"):
        stamp(server.url("gone.tif"))
    url = server.url("text.tif")
    server.shutdown()
    server.server_close()
    with pytest.raises(RasterError, match="cannot be reached"):
        stamp(url)


@pytest.mark.parametrize("heads", [True, False])
def test_a_stamp_sees_that_a_file_was_replaced_and_not_who_signed_its_address(server, write_raster, allowed, heads):
    server.heads = heads  # signed addresses are for GET alone
    path = write_raster("a.tif", noise(side=64))
    first = stamp(server.url("a.tif?signed=by-me"))
    assert first == stamp(server.url("a.tif?signed=by-you"))
    assert "signed" not in str(first) and first[1] == str(Path(path).stat().st_size) and server.sent < 9
    write_raster("a.tif", noise(side=64, seed=1))
    assert stamp(server.url("a.tif")) != first


def test_the_stem_of_an_address_is_without_its_query():
    assert stem("https://a.org/x/B04.tif?sig=a/b.c") == "B04"
    assert stem("what?.tif") == "what?"


def item(assets, date="2024-05-17T10:00:00Z", **more):
    return {"type": "Feature", "id": "one", "properties": {"datetime": date}, "assets": assets, **more}


def test_an_items_bands_are_found_by_key_name_and_common_name(tmp_path, write_raster):
    assets = {
        "thumbnail": {"href": "small.png", "type": "image/png", "roles": ["thumbnail"]},
        "B04": {"href": "x_red.tif", "type": "image/tiff; application=geotiff", "bands": [{"eo:common_name": "red"}]},
        "B03": {"href": "./x_green.tif", "eo:bands": [{"name": "B03", "common_name": "green"}], "roles": ["data"]},
        "blue": {"href": str(tmp_path / "x_blue.tif"), "roles": ["data"]},
        "metadata": {"href": "m.xml", "type": "application/xml"},
    }
    (tmp_path / "item.json").write_text(json.dumps(item(assets)))
    [image] = stac_images(tmp_path / "item.json", CARD)
    assert image.date == "2024-05-17"
    assert image.source.files == tuple(str(tmp_path / f"x_{band}.tif") for band in CARD.band_names)
    pixels = noise(side=32)
    for band, values in zip(CARD.band_names, pixels, strict=True):
        write_raster(f"x_{band}.tif", values)
    np.testing.assert_array_equal(Reader(image.source).read(Window(0, 0, 32, 32))[0], pixels)


def test_an_items_only_image_needs_no_names(tmp_path):
    (tmp_path / "item.json").write_text(json.dumps(item({"visual": {"href": "rgb.tif", "type": "image/tiff"}})))
    [image] = stac_images(tmp_path / "item.json", CARD)
    assert image.source.files == (str(tmp_path / "rgb.tif"),)


def test_collections_and_searches_name_items(tmp_path):
    def one(name, date):
        return item({"a": {"href": f"{name}.tif", "type": "image/tiff"}}, date)

    (tmp_path / "items").mkdir()
    for name in ("p", "q"):
        (tmp_path / "items" / f"{name}.json").write_text(json.dumps(one(name, "2024-01-01")))
    links = [{"rel": "self", "href": "c.json"}, *({"rel": "item", "href": f"./items/{name}.json"} for name in "pq")]
    (tmp_path / "c.json").write_text(json.dumps({"type": "Collection", "links": links}))
    (tmp_path / "s.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": [one("r", "2023-02-03"), one("s", "")]})
    )
    found = [image for name in ("c", "s") for image in stac_images(tmp_path / f"{name}.json", CARD)]
    inside = [tmp_path / "items" / "p.tif", tmp_path / "items" / "q.tif", tmp_path / "r.tif", tmp_path / "s.tif"]
    assert [image.source.files[0] for image in found] == [str(path) for path in inside]
    assert [image.date for image in found] == ["2024-01-01", "2024-01-01", "2023-02-03", ""]


def test_an_item_elsewhere_leads_to_what_lies_beside_it(server, tmp_path, allowed):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "item.json").write_text(json.dumps(item({"a": {"href": "../rgb.tif", "type": "image/tiff"}})))
    [image] = stac_images(server.url("here/item.json"), CARD)
    assert image.source.files == (server.url("rgb.tif"),)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is no JSON object"),
        ("[]", "is no JSON object"),
        ('{"type": "Polygon"}', "is no STAC item"),
        ('{"type": "FeatureCollection", "features": []}', "names no item"),
        (
            json.dumps(item({"B1": {"href": "a.tif"}, "B2": {"href": "b.tif"}})),
            r"has no band 'red' \(its assets: B1, B2\)",
        ),
        (json.dumps(item({})), "its assets: no image"),
    ],
)
def test_a_bad_item_is_one_line(tmp_path, content, match):
    (tmp_path / "item.json").write_text(content)
    with pytest.raises(RasterError, match=match):
        stac_images(tmp_path / "item.json", CARD)
