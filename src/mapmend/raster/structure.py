"""Whether a file holds as many bytes as its own header promises: cheap checks for truncated and made-up files.

GDAL opens such files and fails at the first read, or returns whatever was in memory (PNG), or zeros (ENVI).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mapmend.core.errors import RasterError

_MOST_TAGS = 4096
_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # TIFF 6.0 section 2, BigTIFF
_UNCOMPRESSED, _OLD_JPEG = 1, 6
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_TAIL = 4096  # bytes at the end of a PNG in which its end mark must lie
_AGAIN = "copy or download it again"


def check_structure(path: Path, driver: str) -> None:
    """Compare a TIFF, PNG or BMP with its own header; blocks that a sparse TIFF leaves out are no fault.

    Raises:
        RasterError: the header is damaged, or promises pixels that the file does not hold.
    """
    checks: dict[str, Callable[[BinaryIO, Path, int], object]]
    checks = {"GTiff": _check_tiff, "PNG": _check_png, "BMP": _check_bmp}
    if driver not in checks:
        return
    try:
        with path.open("rb") as file:
            checks[driver](file, path, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise RasterError(f"cannot be read ({error.strerror})", where=path, fix="check the disk") from None


def is_complete(path: Path) -> bool:
    """Whether a TIFF holds every block of its first image.

    Raises:
        RasterError: as `check_structure`.
    """
    with path.open("rb") as file:
        return _check_tiff(file, path, os.fstat(file.fileno()).st_size)


@dataclass(frozen=True)
class _Tag:
    kind: str
    count: int
    position: int


class _Directory:
    """The first directory of a TIFF; reads only what is asked for, and never beyond the file's end."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file, self._path, self._size = file, path, size
        head = self._bytes(0, 16 if size >= 16 else size)
        self._order = "<" if head[:2] == b"II" else ">"
        big = struct.unpack(f"{self._order}H", head[2:4])[0] == 43
        if len(head) < (16 if big else 8):
            raise _truncated(path)
        start = self._number(head[8:16] if big else head[4:8])
        wide, entry = (8, 20) if big else (2, 12)
        count = self._number(self._bytes(start, wide))
        if start == 0 or not 0 < count <= _MOST_TAGS:
            raise RasterError("is a damaged TIFF: its directory makes no sense", where=path, fix=_AGAIN)
        table = self._bytes(start + wide, count * entry)
        self._tags: dict[int, _Tag] = {}
        room = 8 if big else 4
        for i in range(count):
            code, kind, n = struct.unpack(
                f"{self._order}HH{'Q' if big else 'I'}", table[i * entry : i * entry + 4 + room]
            )
            if kind in _TYPES:
                value = i * entry + 4 + room
                inside = n * int(_TYPES[kind][1]) <= room
                position = start + wide + value if inside else self._number(table[value : value + room])
                self._tags.setdefault(code, _Tag(_TYPES[kind], n, position))

    def has(self, code: int) -> bool:
        return code in self._tags

    def one(self, code: int, default: int) -> int:
        tag = self._tags.get(code)
        return int(self._values(_Tag(tag.kind, 1, tag.position))[0]) if tag and tag.count else default

    def length(self, code: int) -> int:
        return self._tags[code].count if code in self._tags else 0

    def many(self, code: int) -> npt.NDArray[np.float64]:
        return self._values(self._tags[code])

    def _values(self, tag: _Tag) -> npt.NDArray[np.float64]:
        # float64 holds every offset below 2**53 and cannot overflow when counts are added
        raw = self._bytes(tag.position, tag.count * int(tag.kind[1]))
        return np.frombuffer(raw, f"{self._order}{tag.kind}").astype(np.float64)

    def _bytes(self, position: int, count: int) -> bytes:
        if position + count > self._size:
            raise _truncated(self._path)
        self._file.seek(position)
        data = self._file.read(count)
        if len(data) < count:
            raise _truncated(self._path)
        return data

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self._order == "<" else "big")


def _check_tiff(file: BinaryIO, path: Path, size: int) -> bool:
    """Whether every block is there; a block that is listed and not held raises."""
    tags = _Directory(file, path, size)
    width, height = tags.one(256, 0), tags.one(257, 0)
    samples, compression = tags.one(277, 1), tags.one(259, _UNCOMPRESSED)
    if width == 0 or height == 0 or samples == 0:
        raise RasterError("is a damaged TIFF: it has no width, height or bands", where=path, fix=_AGAIN)
    planes = samples if tags.one(284, 1) == 2 else 1
    tiled = tags.has(322)
    if tiled:
        block_width, block_height, offsets_tag, counts_tag = tags.one(322, 0), tags.one(323, 0), 324, 325
    else:
        block_width, block_height, offsets_tag, counts_tag = width, min(tags.one(278, height), height), 273, 279
    if block_width == 0 or block_height == 0 or not tags.has(offsets_tag):
        raise RasterError("is a damaged TIFF: it does not say where its pixels are", where=path, fix=_AGAIN)
    down = -(-height // block_height)
    blocks = -(-width // block_width) * down * planes
    listed = min(tags.length(tag) for tag in (offsets_tag, counts_tag) if tags.has(tag))
    if listed < blocks:
        raise RasterError(
            f"is a damaged TIFF: {width} × {height} pixels need {blocks} blocks, it lists {listed}",
            where=path,
            fix=_AGAIN,
        )
    offsets = tags.many(offsets_tag)[:blocks]
    plain = _plain_bytes(tags, width, height, block_width, block_height, samples // planes, tiled)
    counts = tags.many(counts_tag)[:blocks] if tags.has(counts_tag) else np.resize(plain, blocks)
    if compression == _UNCOMPRESSED:
        counts = np.where(counts > 0, np.resize(plain, blocks), 0)  # whatever is listed, this is what gets read
    held = (offsets > 0) & (counts > 0)  # a sparse file has zeros for blocks that were never written
    if compression != _OLD_JPEG and (offsets[held] + counts[held] > size).any():
        raise _truncated(path)
    return bool(held.all())


def _plain_bytes(
    tags: _Directory, width: int, height: int, block_width: int, block_height: int, samples: int, tiled: bool
) -> npt.NDArray[np.float64]:
    """Bytes of every block of one plane without compression; the last strip holds the rows that are left."""
    row = -(-block_width * samples * tags.one(258, 1) // 8)
    down = -(-height // block_height)
    rows = np.full(down, block_height, np.float64)
    if not tiled:
        rows[-1] = height - (down - 1) * block_height
    return np.repeat(rows, -(-width // block_width)) * float(row)


def _check_png(file: BinaryIO, path: Path, size: int) -> None:
    file.seek(max(0, size - _TAIL))
    if _PNG_END not in file.read():
        raise _truncated(path)


def _check_bmp(file: BinaryIO, path: Path, size: int) -> None:
    head = file.read(54)
    if len(head) < 26:
        raise _truncated(path)
    if struct.unpack("<I", head[14:18])[0] < 40:
        return  # the OS/2 form; GDAL reports reads beyond the end
    if len(head) < 54:
        raise _truncated(path)
    start = struct.unpack("<I", head[10:14])[0]
    width, height, _, bits, compression = struct.unpack("<iiHHI", head[18:34])
    row = (abs(width) * bits + 31) // 32 * 4
    if compression == 0 and start + row * abs(height) > size:
        raise _truncated(path)


def _truncated(path: Path) -> RasterError:
    return RasterError("is truncated: it ends before its pixels do", where=path, fix=_AGAIN)
