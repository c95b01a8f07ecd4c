"""Rasters from outside, opened safely, and handles that never cross a fork or a thread."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from mapmend.core.errors import GridError, RasterError
from mapmend.core.grid import Grid, make_grid
from mapmend.raster.remote import OPENING, SETTINGS, is_remote, remote_name
from mapmend.raster.safety import FORMAT_NAMES, check_sidecars, driver_of, local_file, remote_driver
from mapmend.raster.structure import check_structure

__all__ = [
    "NotGeoreferenced",
    "RasterInfo",
    "first_cause",
    "gdal_settings",
    "handle",
    "open_raster",
    "raster_faults",
    "raster_info",
    "without_rasterio_warning",
]

_MOST_BLOCK_BYTES = 2**28  # decoded bytes of one block, all its bands: what any read may cost beyond its own pixels
_MOST_DECODED_BYTES = 2**28  # where a format has no blocks, an image above this must not also be
_MOST_INFLATION = 200  # this many times its file: real photographs inflate 3 to 50 times
_MOST_HANDLES = 64  # open files per thread

# GDAL's own default cache is 5 % of the machine's memory, which grows with the machine and not with the work.
# `GDAL_CACHEMAX` in the environment still wins.
_SETTINGS: dict[str, object] = {
    "GDAL_CACHEMAX": 64 * 2**20,  # two rows of tiles of a wide block; as a number, rasterio takes bytes
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
    "GDAL_JPEG_MAX_ALLOWED_SCAN_NUMBER": 100,
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,  # it does not see that pixels end early, and gives what was in memory
    "RAW_CHECK_FILE_SIZE": True,
    **SETTINGS,
}


class NotGeoreferenced(UserWarning):
    """A raster without a place on Earth; it is used in pixel units."""


@dataclass(frozen=True)
class RasterInfo:
    """What a raster says about itself.

    Attributes:
        path: as it was given.
        grid: its grid; without a CRS where it has none.
        count: number of bands, alpha included.
        dtype: the type that holds every band.
        nodata: of each band, None where it has none.
        tiled: whether it is stored in tiles.
        block: (height, width) of a block.
        band_names: description of each band, "" where it has none.
        compression: name in lower case, "" for none.
        colorinterp: colour interpretation of each band: gray, red, alpha, palette, ...
        masked: whether it has a mask of its own (internal or `.msk`) that is neither nodata nor alpha.
    """

    path: str
    grid: Grid
    count: int
    dtype: str
    nodata: tuple[float | None, ...]
    tiled: bool
    block: tuple[int, int]
    band_names: tuple[str, ...]
    compression: str
    colorinterp: tuple[str, ...]
    masked: bool


def open_raster(path: str | Path, *, allow_vrt: bool = False) -> rasterio.DatasetReader:
    """Open a raster that nobody has vouched for; the caller closes it.

    Args:
        path: a GeoTIFF, PNG, JPEG, JPEG 2000, ENVI or BMP; its content counts, not the name's ending. Where
            `raster.remote` allows it, also one elsewhere, whose ending counts.
        allow_vrt: accept GDAL's virtual rasters, which may read any other file.

    Raises:
        RasterError: it is missing, of another format, truncated, or would need far more memory than its size says.
    """
    if is_remote(path):
        name = remote_name(path)
        with rasterio.Env(**OPENING):
            return _checked(_open(name, remote_driver(name)), name, None)
    full = local_file(path)
    driver = driver_of(full, allow_vrt=allow_vrt)
    state = full.stat()
    _check_file_once(full, driver, state.st_mtime_ns, state.st_size, state.st_ino)
    return _checked(_open(str(full), driver), full, state.st_size)


def handle(path: str | Path, *, allow_vrt: bool = False) -> rasterio.DatasetReader:
    """The calling thread's own open dataset of a file; the caller does not close it.

    Handles are kept per process and thread (a handle used on both sides of a fork silently returns the pixels of
    another place, because both share one file position), the least recently used are closed, and a file that was
    replaced is opened anew.

    Raises:
        RasterError: as `open_raster`.
    """
    handles = _handles.of_this_process()
    key = (str(path), allow_vrt, *_identity(path))
    dataset = handles.get(key)
    if dataset is None:
        dataset = open_raster(path, allow_vrt=allow_vrt)
        handles[key] = dataset
        while len(handles) > _MOST_HANDLES:
            handles.popitem(last=False)[1].close()
    handles.move_to_end(key)
    return dataset


def raster_info(path: str | Path, *, allow_vrt: bool = False) -> RasterInfo:
    """What a raster says about itself.

    Raises:
        RasterError: it cannot be opened, is complex-valued, or has a transform that maps pixels onto a line.

    Warns:
        NotGeoreferenced: once per file, where it has no place on Earth.
    """
    with (
        open_raster(path, allow_vrt=allow_vrt) as dataset,
        raster_faults(path, "cannot be understood"),
    ):
        dtype = np.result_type(*dataset.dtypes) if "complex" not in "".join(dataset.dtypes) else None
        if dtype is None:
            raise RasterError("has complex values", where=path, fix="give amplitude or intensity")
        flags = {flag.name for band in dataset.mask_flag_enums for flag in band}
        interpretation = tuple(ColorInterp(code).name.lower() for code in dataset.colorinterp)
        return RasterInfo(
            path=str(path),
            grid=_grid_of(dataset, path),
            count=dataset.count,
            dtype=str(dtype),
            nodata=dataset.nodatavals,
            tiled=dataset.block_shapes[0][1] != dataset.width,
            block=dataset.block_shapes[0],
            band_names=tuple(text or "" for text in dataset.descriptions),
            compression=dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "").lower(),
            colorinterp=interpretation,
            masked="per_dataset" in flags and "alpha" not in flags,
        )


@contextmanager
def raster_faults(path: str | Path, what: str = "cannot be read") -> Iterator[None]:
    """Turn whatever GDAL raises inside into a RasterError that names the file and the first cause.

    Raises:
        RasterError: instead of the errors of rasterio and GDAL.
    """
    try:
        with gdal_settings():
            yield
    except (RasterioError, rasterio._err.CPLE_BaseError, OSError, ValueError, OverflowError, MemoryError) as error:
        raise RasterError(f"{what} ({first_cause(error, path)})", where=path, fix="check or replace the file") from None


@contextmanager
def without_rasterio_warning() -> Iterator[None]:
    """Silence rasterio's own word on files without georeference: this package has said it, once per file.

    The warnings module's filters belong to the whole process, so only the main thread touches them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def gdal_settings() -> rasterio.Env:
    """A context with the GDAL settings of this package."""
    return rasterio.Env(**{key: value for key, value in _SETTINGS.items() if key not in os.environ})


def first_cause(error: BaseException, path: str | Path) -> str:
    """The text of the error at the start of a chain, without the file's own name, in at most 200 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error) or type(error).__name__
    for name in (str(Path(path).absolute()), str(path), Path(path).name):
        text = text.replace(f"{name}: ", "").replace(f"{name}, ", "")
    return " ".join(text.split())[:200].rstrip(".")


class _Handles(threading.local):
    """Open datasets of one thread, by process."""

    def __init__(self) -> None:
        self._by_process: dict[int, OrderedDict[tuple[object, ...], rasterio.DatasetReader]] = {}

    def of_this_process(self) -> OrderedDict[tuple[object, ...], rasterio.DatasetReader]:
        # What a parent opened stays referenced: closing it in the child would lock mutexes copied while held.
        return self._by_process.setdefault(os.getpid(), OrderedDict())


_handles = _Handles()
_warned: set[str] = set()


def _identity(path: str | Path) -> tuple[int, ...]:
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return ()
    return state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size


@lru_cache(maxsize=4096)
def _check_file_once(path: Path, driver: str, changed: int, size: int, inode: int) -> None:
    check_sidecars(path)
    check_structure(path, driver)


def _open(name: str, driver: str) -> rasterio.DatasetReader:
    try:
        with raster_faults(name, f"cannot be opened as {driver}"), without_rasterio_warning():
            return rasterio.open(name, driver=driver)
    except RasterError as error:
        fix = "check the address" if is_remote(name) else f"give an intact {FORMAT_NAMES}"
        raise RasterError(error.what, where=name, fix=fix) from None


def _checked(dataset: rasterio.DatasetReader, path: str | Path, size: int | None) -> rasterio.DatasetReader:
    """The dataset, closed if it would take far more memory than its `size` in bytes says, where that is known."""
    try:
        with raster_faults(path, "has a header that makes no sense"):
            _check_sizes(dataset, path, size)
    except RasterError:
        dataset.close()
        raise
    return dataset


def _check_sizes(dataset: rasterio.DatasetReader, path: str | Path, size: int | None) -> None:
    height, width = dataset.block_shapes[0]
    item = max(np.dtype(name).itemsize for name in dataset.dtypes)
    interleaved = dataset.count if dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL" else 1
    block, image = height * width * item * interleaved, dataset.height * dataset.width * item * dataset.count
    if block > _MOST_BLOCK_BYTES:
        raise RasterError(
            f"is stored in blocks of {width} × {height} pixels, {block / 2**20:.0f} MiB each",
            where=path,
            fix="rewrite it in tiles, e.g. gdal_translate -co TILED=YES",
        )
    if size is None:
        if dataset.driver != "GTiff" and image > _MOST_DECODED_BYTES:
            raise RasterError(f"is read whole, {image / 2**20:.0f} MiB", where=path, fix="download it first")
        return
    if dataset.driver == "ENVI":
        held = size - int(dataset.tags(ns="ENVI").get("header_offset", 0))
        if held < image:
            raise RasterError(
                f"is truncated: its header promises {image} bytes of pixels and it has {held}",
                where=path,
                fix="copy or download it again",
            )
    if dataset.driver in ("PNG", "JPEG", "JP2OpenJPEG", "BMP") and image > max(
        _MOST_DECODED_BYTES, _MOST_INFLATION * size
    ):
        raise RasterError(
            f"would inflate {image / size:.0f} times, to {image / 2**20:.0f} MiB",
            where=path,
            fix="if you trust it, convert it to a tiled GeoTIFF",
        )


def _grid_of(dataset: rasterio.DatasetReader, path: str | Path) -> Grid:
    transform, wkt = dataset.transform, dataset.crs.to_wkt() if dataset.crs else ""
    if not np.isfinite(transform[:6]).all() or transform.determinant == 0:
        raise RasterError("has a transform that maps its pixels onto a line", where=path, fix="georeference it again")
    if wkt.upper().startswith(("LOCAL_CS", "ENGCRS", "ENGINEERINGCRS")):
        wkt = ""  # a drawing's own axes: no place on Earth
    if not wkt and transform.is_identity:
        _warn_once(path, bool(dataset.gcps[0]) or dataset.rpcs is not None)
    try:
        return make_grid((dataset.height, dataset.width), transform, wkt or None)
    except GridError as error:
        raise RasterError(error.what, where=path, fix=error.fix) from None


def _warn_once(path: str | Path, has_points: bool) -> None:
    full = str(Path(path).absolute())
    if full in _warned or multiprocessing.parent_process() is not None:
        return
    _warned.add(full)
    points = " (its ground control points or RPCs are not used: warp it first)" if has_points else ""
    warnings.warn(f"{path}: has no georeference; it is used in pixel units{points}", NotGeoreferenced, stacklevel=2)
