"""How files that nobody should trust are made, read and refused."""

import struct
import zlib
from pathlib import Path

import pytest

from mapmend.core.errors import RasterError
from mapmend.core.grid import full_window
from mapmend.core.sensor import load_sensor
from mapmend.raster.opening import raster_info
from mapmend.raster.reading import ImageSource, Reader


def read_all(path):
    count = raster_info(path).count
    assert count < 1000, "the bad file claims to have many bands and was not refused"
    card = load_sensor({"card": "png", "bands": [f"b{i}" for i in range(count)], "dtypes": []})
    reader = Reader(ImageSource((str(path),), card.band_names, card))
    window = full_window(reader.grid)
    assert window.height * window.width < 10**6, "the bad file claims to be large and was not refused"
    return reader.read(window)[0]


def refused(path):
    path = Path(path)
    with pytest.raises(RasterError) as caught:
        read_all(path)
    text = str(caught.value)
    assert "\n" not in text and path.name in text and caught.value.fix, text
    return text


def chunk(kind, data, length=None):
    """Of a PNG."""
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, lines, *, depth=8, kind=0, method=0, interlace=0):
    """A picture of compressed lines."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, method, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
