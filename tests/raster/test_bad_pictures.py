"""PNG, BMP, JPEG and JPEG 2000 files whose headers lie: each ends in one line that names it, none in a crash."""

import struct
import zlib

import numpy as np
import pytest
import rasterio
from tests.raster.distrust import chunk, png, read_all, refused

pytestmark = pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")

SIDE = 16
LINES = zlib.compress(bytes((SIDE + 1) * SIDE))
MARK = b"\x89PNG\r\n\x1a\n"
HEAD = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0))
DATA, END = chunk(b"IDAT", LINES), chunk(b"IEND", b"")
PNGS = {
    "width 0": png(0, SIDE, LINES),
    "height 0": png(SIDE, 0, LINES),
    "as large as a header allows": png(2**31 - 1, 2**31 - 1, LINES),
    "wider than a header allows": png(2**32 - 1, SIDE, LINES),
    "pixels that end early": png(SIDE, 4096, LINES),
    "pixels that end before the last line": png(SIDE, SIDE + 1, LINES),
    "3 bits": png(SIDE, SIDE, LINES, depth=3),
    "0 bits": png(SIDE, SIDE, LINES, depth=0),
    "a kind of colour that is none": png(SIDE, SIDE, LINES, kind=5),
    "a palette that is missing": png(SIDE, SIDE, LINES, kind=3),
    "a compression that is none": png(SIDE, SIDE, LINES, method=1),
    "an interlacing that is none": png(SIDE, SIDE, LINES, interlace=7),
    "no header": MARK + DATA + END,
    "a header after the pixels": MARK + DATA + HEAD + END,
    "a header that is cut": MARK + chunk(b"IHDR", struct.pack(">II", SIDE, SIDE)) + DATA + END,
    "a header that does not fit its checksum": MARK + HEAD[:-4] + bytes(4) + DATA + END,
    "a part longer than the file": MARK + HEAD + chunk(b"IDAT", LINES, length=2**31 - 1),
    "a part longer than any": MARK + HEAD + chunk(b"IDAT", LINES, length=2**32 - 1),
    "no pixels": MARK + HEAD + END,
    "empty pixels": MARK + HEAD + chunk(b"IDAT", b"") + END,
    "pixels that are not compressed": MARK + HEAD + chunk(b"IDAT", bytes(300)) + END,
    "pixels that end in a line": MARK + HEAD + chunk(b"IDAT", zlib.compress(bytes(40))) + END,
    "a filter that is none": MARK + HEAD + chunk(b"IDAT", zlib.compress(b"\x09" * (SIDE + 1) * SIDE)) + END,
}


def bmp(width=SIDE, height=SIDE, *, bits=24, planes=1, packing=0, header=40, offset=54, colours=0):
    """A bitmap of zeros."""
    pixels = bytes(3 * SIDE * SIDE)
    head = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", header, width, height, planes, bits, packing, 0, 0, 0, colours, 0)
    return head + info + pixels


BMPS = {
    "width 0": bmp(0),
    "height 0": bmp(height=0),
    "a negative width": bmp(-SIDE),
    "as large as a header allows": bmp(2**31 - 1, 2**31 - 1),
    "the least height": bmp(height=-(2**31)),
    "7 bits": bmp(bits=7),
    "0 bits": bmp(bits=0),
    "65535 bits": bmp(bits=65535),
    "pixels beyond the end": bmp(offset=10**9),
    "a header longer than the file": bmp(header=10**8),
    "a packing that is none": bmp(packing=77),
    "more colours than any palette": bmp(bits=8, colours=2**32 - 1),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Bytes of a sound JPEG and a sound JPEG 2000 file."""
    folder = tmp_path_factory.mktemp("sound")
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32)).astype(np.uint8)
    found = {}
    for name, driver in (("a.jpg", "JPEG"), ("a.jp2", "JP2OpenJPEG")):
        with rasterio.open(folder / name, "w", driver=driver, width=32, height=32, count=3, dtype="uint8") as file:
            file.write(pixels)
        found[name] = (folder / name).read_bytes()
    return found


def patched(content, mark, at, new):
    """Bytes after the first `mark` replaced."""
    start = content.index(mark) + at
    return content[:start] + new + content[start + len(new) :]


FRAME, SCAN, TABLE, QUANT = b"\xff\xc0", b"\xff\xda", b"\xff\xc4", b"\xff\xdb"
JPEGS = {
    "height 0": (FRAME, 5, struct.pack(">H", 0)),
    "width 0": (FRAME, 7, struct.pack(">H", 0)),
    "3 bits": (FRAME, 4, b"\x03"),
    "no bands": (FRAME, 9, b"\x00"),
    "255 bands": (FRAME, 9, b"\xff"),
    "bands sampled 0 times": (FRAME, 11, b"\x00"),
    "a frame of no length": (FRAME, 2, struct.pack(">H", 0)),
    "a frame longer than the file": (FRAME, 2, struct.pack(">H", 65535)),
    "a frame that is none": (FRAME, 0, b"\xff\xc5"),
    "codes longer than the file": (TABLE, 2, struct.pack(">H", 65535)),
    "more codes than there can be": (TABLE, 5, b"\xff" * 16),
    "steps longer than the file": (QUANT, 2, struct.pack(">H", 65535)),
    "a scan of no bands": (SCAN, 4, b"\x00"),
    "a scan of another band": (SCAN, 5, b"\x77"),
}
SIZE = b"\xff\x51"  # of a JPEG 2000 codestream
JP2S = {
    "width 0": (SIZE, 6, struct.pack(">I", 0)),
    "height 0": (SIZE, 10, struct.pack(">I", 0)),
    "as large as a header allows": (SIZE, 6, struct.pack(">II", 2**32 - 1, 2**32 - 1)),
    "an offset beyond the image": (SIZE, 14, struct.pack(">II", 10**6, 10**6)),
    "tiles of width 0": (SIZE, 22, struct.pack(">I", 0)),
    "no bands": (SIZE, 38, struct.pack(">H", 0)),
    "16385 bands": (SIZE, 38, struct.pack(">H", 16385)),
    "a box shorter than its head": (b"jp2h", -4, struct.pack(">I", 3)),
    "a header longer than the file": (b"jp2h", -4, struct.pack(">I", 2**31)),
    "no codestream": (b"jp2c", 0, b"none"),
}


@pytest.mark.parametrize("fault", PNGS)
def test_png(fault, tmp_path):
    path = tmp_path / "odd.png"
    path.write_bytes(PNGS[fault])
    refused(path)


@pytest.mark.parametrize("fault", BMPS)
def test_bmp(fault, tmp_path):
    path = tmp_path / "odd.bmp"
    path.write_bytes(BMPS[fault])
    refused(path)


@pytest.mark.parametrize("fault", JPEGS)
def test_jpeg(fault, pictures, tmp_path):
    path = tmp_path / "odd.jpg"
    path.write_bytes(patched(pictures["a.jpg"], *JPEGS[fault]))
    refused(path)


@pytest.mark.parametrize("fault", JP2S)
def test_jpeg_2000(fault, pictures, tmp_path):
    path = tmp_path / "odd.jp2"
    path.write_bytes(patched(pictures["a.jp2"], *JP2S[fault]))
    refused(path)


def test_what_these_are_made_from_is_sound(pictures, tmp_path):
    sound = {"a.png": png(SIDE, SIDE, LINES), "a.bmp": bmp(), **pictures}
    for name, content in sound.items():
        (tmp_path / name).write_bytes(content)
        assert read_all(tmp_path / name).shape[1:] in ((SIDE, SIDE), (32, 32))
