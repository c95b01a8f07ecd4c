"""What is refused before GDAL sees a path: remote and virtual names, other formats, sidecars that lead elsewhere."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from mapmend.core.errors import RasterError
from mapmend.raster.remote import is_remote, without_query

FORMATS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG", "ENVI", "BMP")
FORMAT_NAMES = "GeoTIFF, PNG, JPEG, JPEG 2000, ENVI or BMP"

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAGIC = (
    *((magic, "GTiff") for magic in _TIFF_MAGIC),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    (b"BM", "BMP"),
)
_REMOTE_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jp2": "JP2OpenJPEG"}
_HEAD = 4096  # bytes of a file that are looked at to tell its format
_SIDECAR_LIMIT = 2**24  # bytes; statistics and histograms of hundreds of bands stay far below


def local_file(path: str | Path) -> Path:
    """The absolute path of an ordinary file that exists and is not empty.

    An absolute path also keeps GDAL from reading a prefix such as `MEM:::` or `GTIFF_DIR:` into a file's name.

    Raises:
        RasterError: it is remote, virtual, missing, a folder, a device or pipe, unreadable, or empty.
    """
    text = str(path)
    if is_remote(text):
        raise RasterError("is a remote or virtual path", where=text, fix="give a local file")
    try:
        full = Path(text).absolute()
        state = full.stat()
    except (OSError, ValueError) as error:
        if re.match(r"<|\{|[A-Za-z][A-Za-z0-9_+.-]*:", text.lstrip()):
            fault = RasterError("is a GDAL connection text, not a file", where=text[:80], fix="give a file on disk")
        elif isinstance(error, FileNotFoundError):
            fault = RasterError("does not exist", where=text, fix="check the path")
        else:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            fault = RasterError(f"cannot be reached ({reason})", where=text[:200], fix="check the path")
        raise fault from None
    if stat.S_ISDIR(state.st_mode):
        raise RasterError("is a folder", where=text, fix="give the file inside it")
    if not stat.S_ISREG(state.st_mode):
        raise RasterError("is not an ordinary file", where=text, fix="give a file on disk")
    if state.st_size == 0:
        raise RasterError("is empty (0 bytes)", where=text, fix="copy or download it again")
    return full


def driver_of(path: Path, *, allow_vrt: bool) -> str:
    """The GDAL driver that a local file's content asks for; its name's ending does not matter.

    Raises:
        RasterError: it is in no listed format, or it is a VRT and those are not allowed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise RasterError(f"cannot be read ({error.strerror})", where=path, fix="check its permissions") from None
    for magic, driver in _MAGIC:
        if head.startswith(magic):
            return driver
    if b"<VRTDataset" in head:
        if allow_vrt:
            return "VRT"
        raise RasterError(
            "is a VRT, which may read any other file", where=path, fix="give the files it refers to, or allow VRT"
        )
    if _envi_header(path) is not None:
        return "ENVI"
    if head.lstrip().startswith(b"ENVI"):
        raise RasterError("is an ENVI header", where=path, fix="give the file with the pixels, beside it")
    raise RasterError("is not a raster", where=path, fix=f"give {FORMAT_NAMES}")


def remote_driver(path: str) -> str:
    """The driver for a remote file, by the ending of its name; GeoTIFF where that says nothing."""
    return _REMOTE_SUFFIXES.get(Path(without_query(path)).suffix.lower(), "GTiff")


def check_sidecars(path: Path) -> None:
    """Refuse masks, overviews and metadata beside a raster through which GDAL would open some other file.

    Raises:
        RasterError: a `.msk` or `.ovr` that is no TIFF, or an `.aux.xml` that is huge or names overviews elsewhere.
    """
    for suffix in (".msk", ".ovr"):
        sidecar = path.with_name(path.name + suffix)
        if sidecar.is_file():
            with sidecar.open("rb") as file:
                if file.read(4) not in _TIFF_MAGIC:
                    raise RasterError(f"has a {suffix} file beside it that is no TIFF", where=path, fix="remove that")
    aux = path.with_name(path.name + ".aux.xml")
    if not aux.is_file():
        return
    if aux.stat().st_size > _SIDECAR_LIMIT:
        raise RasterError("has an .aux.xml file beside it that is too large", where=path, fix="remove that file")
    for name in re.findall(rb"OVERVIEW_FILE\"\s*>([^<]*)<", aux.read_bytes()):
        if b"/" in name or b"\\" in name or b"<" in name:
            raise RasterError("has an .aux.xml file that names overviews elsewhere", where=path, fix="remove that file")


def _envi_header(path: Path) -> Path | None:
    for header in (path.with_suffix(".hdr"), path.with_suffix(".HDR"), *_appended(path)):
        if header != path and header.is_file():
            with header.open("rb") as file:
                if file.read(4) == b"ENVI":
                    return header
    return None


def _appended(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + ".hdr"), path.with_name(path.name + ".HDR")
