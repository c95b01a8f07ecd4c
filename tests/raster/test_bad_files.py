"""Files that nobody should trust: each ends in one typed, one-line error that names it, and none in a crash."""

import random
import struct
import zlib

import numpy as np
import pytest
import rasterio
from tests.raster.distrust import png, read_all, refused

from mapmend.core.errors import RasterError
from mapmend.core.grid import full_window
from mapmend.core.sensor import load_sensor
from mapmend.raster.opening import open_raster, raster_info
from mapmend.raster.reading import ImageSource, Reader

pytestmark = pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")

NOISE = np.random.default_rng(0).integers(0, 255, (3, 96, 128)).astype(np.uint8)
FORMATS = {
    "tiled.tif": {"driver": "GTiff", "tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
    "strips.tif": {"driver": "GTiff"},
    "big.tif": {"driver": "GTiff", "bigtiff": "yes", "compress": "zstd"},
    "planes.tif": {"driver": "GTiff", "interleave": "band", "compress": "lzw"},
    "jpeg.tif": {"driver": "GTiff", "compress": "jpeg", "tiled": True, "blockxsize": 64, "blockysize": 64},
    "image.png": {"driver": "PNG"},
    "image.jpg": {"driver": "JPEG"},
    "image.jp2": {"driver": "JP2OpenJPEG"},
    "image.bmp": {"driver": "BMP"},
    "image.dat": {"driver": "ENVI"},
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of one intact file of every format, by name, with its sidecars."""
    folder = tmp_path_factory.mktemp("good")
    content = {}
    for name, options in FORMATS.items():
        with rasterio.open(folder / name, "w", width=128, height=96, count=3, dtype="uint8", **options) as file:
            file.write(NOISE)
        content[name] = (folder / name).read_bytes()
    content["image.hdr"] = (folder / "image.hdr").read_bytes()
    return content


def put(folder, name, content, good):
    path = folder / name
    path.write_bytes(content)
    if name.endswith(".dat"):
        path.with_suffix(".hdr").write_bytes(good["image.hdr"])
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_an_intact_file_reads(name, good, tmp_path):
    pixels = read_all(put(tmp_path, name, good[name], good))
    assert pixels.shape == NOISE.shape
    if not name.startswith(("jpeg", "image.j")):
        np.testing.assert_array_equal(pixels, NOISE)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("name", FORMATS)
def test_truncated(name, share, good, tmp_path):
    refused(put(tmp_path, name, good[name][: int(len(good[name]) * share)], good))


@pytest.mark.parametrize("name", ["tiled.tif", "strips.tif", "big.tif", "planes.tif", "image.png", "image.bmp"])
def test_truncation_shows_when_the_file_is_opened(name, good, tmp_path):
    path = put(tmp_path, name, good[name][:-200], good)
    with pytest.raises(RasterError, match="truncated"):
        open_raster(path)


@pytest.mark.parametrize("name", FORMATS)
def test_cut_to_its_first_bytes(name, good, tmp_path):
    for length in (1, 2, 4, 8, 9, 15):
        refused(put(tmp_path, name, good[name][:length], good))


def tiff(entries, rest=b"", order="<", version=42, first=8):
    """A classic TIFF with one directory of (tag, type, count, value)."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", version, first)
    body = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(f"{order}HHII", tag, kind, count, value)
    return head + body + struct.pack(f"{order}I", 0) + rest


def entries(**changes):
    """Tags of an uncompressed 16×16 image of one byte per pixel in one strip at 200."""
    tags = {
        256: (4, 1, 16), 257: (4, 1, 16), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1),
        273: (4, 1, 200), 277: (3, 1, 1), 278: (4, 1, 16), 279: (4, 1, 256),
    }  # fmt: skip
    for tag, value in changes.items():
        number = int(tag[1:])
        if value is None:
            tags.pop(number)
        else:
            tags[number] = value
    return [(tag, *value) for tag, value in sorted(tags.items())]


PLAIN = bytes(600)
HEADERS = {
    "huge": tiff(entries(t256=(4, 1, 10**6), t257=(4, 1, 10**6)), PLAIN),
    "huge, one row a strip": tiff(entries(t256=(4, 1, 10**6), t257=(4, 1, 10**6), t278=(4, 1, 1)), PLAIN),
    "huge in tiles": tiff(
        entries(t256=(4, 1, 10**6), t257=(4, 1, 10**6), t273=None, t278=None, t279=None, t322=(4, 1, 512),
                t323=(4, 1, 512), t324=(4, 1, 200), t325=(4, 1, 256)), PLAIN),
    "wider than any memory": tiff(entries(t256=(4, 1, 2**32 - 1)), PLAIN),
    "one pixel in a tile of 2**30": tiff(
        entries(t256=(4, 1, 1), t257=(4, 1, 1), t259=(3, 1, 8), t273=None, t278=None, t279=None,
                t322=(4, 1, 2**15), t323=(4, 1, 2**15), t324=(4, 1, 200), t325=(4, 1, 256)), PLAIN),
    "tile of 2**30 by 16": tiff(
        entries(t259=(3, 1, 5), t273=None, t278=None, t279=None, t322=(4, 1, 2**30), t323=(4, 1, 16),
                t324=(4, 1, 200), t325=(4, 1, 256)), PLAIN),
    "no width": tiff(entries(t256=None), PLAIN),
    "width 0": tiff(entries(t256=(4, 1, 0)), PLAIN),
    "no bands, in planes": tiff(entries(t277=(3, 1, 0), t284=(3, 1, 2)), PLAIN),
    "height 0": tiff(entries(t257=(4, 1, 0)), PLAIN),
    "no offsets": tiff(entries(t273=None), PLAIN),
    "tile width 0": tiff(entries(t322=(4, 1, 0), t323=(4, 1, 16), t324=(4, 1, 200), t325=(4, 1, 256)), PLAIN),
    "offset beyond the end": tiff(entries(t273=(4, 1, 10**9)), PLAIN),
    "offset list beyond the end": tiff(entries(t273=(4, 100, 10**9), t278=(4, 1, 1)), PLAIN),
    "offset list as long as memory": tiff(entries(t273=(4, 2**32 - 1, 200)), PLAIN),
    "65535 bits per sample": tiff(entries(t258=(3, 1, 65535)), PLAIN),
    "unknown compression": tiff(entries(t259=(3, 1, 12345)), PLAIN),
    "65535 samples": tiff(entries(t277=(3, 1, 65535)), PLAIN),
    "directory beyond the end": tiff(entries(), PLAIN, first=10**8),
    "directory at 0": tiff(entries(), PLAIN, first=0),
    "directory of nothing": b"II*\0\x08\0\0\0\0\0" + PLAIN,
    "directory of 65535 tags": b"II*\0\x08\0\0\0\xff\xff" + PLAIN,
    "version 44": tiff(entries(), PLAIN, version=44),
    "complex numbers": tiff(entries(t258=(3, 1, 64), t339=(3, 1, 6), t279=(4, 1, 2048)), bytes(4096)),
}  # fmt: skip


@pytest.mark.parametrize("fault", HEADERS)
def test_tiff_header(fault, tmp_path):
    path = tmp_path / "odd.tif"
    path.write_bytes(HEADERS[fault])
    refused(path)


def test_the_header_those_are_made_from_is_sound(tmp_path):
    path = tmp_path / "even.tif"
    path.write_bytes(tiff(entries(), bytes(100) + bytes(range(256)) * 2))
    assert read_all(path).shape == (1, 16, 16)


OTHERS = {
    "empty.tif": b"",
    "zeros.tif": bytes(4096),
    "text.tif": b"this is a letter, not a raster\n" * 40,
    "page.jp2": b"<!DOCTYPE html><html><body>404</body></html>",
    "program.png": b"\x7fELF" + bytes(200),
    "archive.tif": b"PK\x03\x04" + bytes(200),
    "hdf.tif": b"\x89HDF\r\n\x1a\n" + bytes(200),
    "layer.tif": b"SQLite format 3\0" + bytes(200),
    "shape.jpg": b"\0\0\x27\x0a" + bytes(200),
    "points.tif": b'{"type": "FeatureCollection", "features": []}',
    "grid.asc": b"ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n3 4\n",
    "tree.tif": b'<?xml version="1.0"?><tree/>',
    "image.hdr": b"ENVI\nsamples = 4\nlines = 4\nbands = 1\ndata type = 1\ninterleave = bsq\n",
    "only.png": b"\x89PNG\r\n\x1a\n",
    "only.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "only.jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
    "only.bmp": b"BM",
    "short.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 10**6, 0, 0, 54, 40, 20000, 20000, 1, 24, 0, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_not_a_raster(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(OTHERS[name])
    refused(path)


def test_a_small_png_that_would_fill_a_gibibyte(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(32768, 32768, zlib.compress(bytes(2**20))))
    assert "inflate" in refused(path)


def test_an_ordinary_empty_mask_is_no_bomb(tmp_path):
    path = tmp_path / "dry.png"
    path.write_bytes(png(900, 900, zlib.compress(bytes(901 * 900))))
    assert path.stat().st_size < 1200 and not read_all(path).any()


def test_an_envi_header_that_promises_more_than_the_file_holds(good, tmp_path):
    path = put(tmp_path, "image.dat", good["image.dat"], good)
    header = path.with_suffix(".hdr")
    header.write_text(header.read_text().replace("lines   = 96", "lines   = 960"))
    assert "too small" in refused(path)
    path.write_bytes(good["image.dat"] * 8)
    assert "truncated" in refused(path)


def test_an_envi_header_whose_numbers_are_none(good, tmp_path):
    path = put(tmp_path, "image.dat", good["image.dat"], good)
    header = path.with_suffix(".hdr")
    for offset in ("x0", "}", "1e999"):
        header.write_text(good["image.hdr"].decode().replace("header offset = 0", f"header offset = {offset}"))
        refused(path)


def test_sidecars_that_lead_elsewhere(write_raster, tmp_path):
    path = write_raster("plain.tif", NOISE)
    for suffix, content in (
        (".msk", b"<VRTDataset rasterXSize='1' rasterYSize='1'/>"),
        (".ovr", b"<VRTDataset rasterXSize='1' rasterYSize='1'/>"),
        (".aux.xml", b'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/x</MDI></Metadata>'),
    ):
        sidecar = tmp_path / f"plain.tif{suffix}"
        sidecar.write_bytes(content)
        assert suffix in refused(path)
        sidecar.unlink()
    assert read_all(path).shape == NOISE.shape


def test_a_block_that_cannot_be_decoded(write_raster, tmp_path):
    ramp = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint16)
    path = write_raster("ramp.tif", ramp, compress="deflate", tiled=True, blockxsize=64, blockysize=64)
    content = bytearray((tmp_path / "ramp.tif").read_bytes())
    content[-40:-20] = bytes(range(20))
    (tmp_path / "ramp.tif").write_bytes(content)
    open_raster(path).close()
    assert "cannot be read (" in refused(path)


def test_a_file_that_breaks_after_it_was_opened(good, tmp_path):
    path = put(tmp_path, "tiled.tif", good["tiled.tif"], good)
    card = load_sensor("rgb")
    reader = Reader(ImageSource((str(path),), card.band_names, card))
    reader.read(full_window(reader.grid))
    path.write_bytes(good["tiled.tif"][:-3000])
    with pytest.raises(RasterError, match="truncated"):
        reader.read(full_window(reader.grid))


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_changed_at_random_never_raise_anything_else(name, good, tmp_path):
    rng = random.Random(name)
    for i in range(25):
        content = bytearray(good[name])
        reach = len(content) if i % 2 else min(400, len(content))
        for _ in range(rng.choice([1, 3, 20])):
            content[rng.randrange(reach)] = rng.randrange(256)
        path = put(tmp_path, f"{i}{name}", bytes(content), good)
        try:
            info = raster_info(path)
            if info.grid.shape[0] * info.grid.shape[1] < 10**6 and info.count < 1000:
                read_all(path)
        except RasterError as error:
            assert "\n" not in str(error)
