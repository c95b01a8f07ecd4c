"""Cloud-optimised GeoTIFFs assembled from the block files of a map, streamed by GDAL's COG driver."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as Xml

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError

from mapmend.core.errors import GridError, RasterError
from mapmend.core.grid import Grid, Window, full_window
from mapmend.raster.atomic import check_disk, staged, write_fault
from mapmend.raster.opening import first_cause, gdal_settings, open_raster, raster_faults, without_rasterio_warning
from mapmend.raster.placement import gdal_crs
from mapmend.raster.structure import is_complete
from mapmend.raster.style import Coded, Column, write_category_names

_TYPES = {
    "uint8": "Byte",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}
_OVERVIEWS = {"class": "MODE", "from_to": "MODE", "confidence": "AVERAGE", "image": "AVERAGE"}
_CONFIDENCE_SCALE = "0.005"  # stored = round(200 · p)
_LEVELS = {"ZSTD": "3", "DEFLATE": "6"}  # GDAL's own for zstd, 9, takes twice the time and saves a few per cent
_MOST_THREADS = 4  # compression gains little beyond, and machines are shared
_SPACE = 1.7  # times the blocks' bytes: the COG with its overviews, and the overviews once more while it is made


def write_cog(
    sources: Sequence[tuple[str | Path, Window]],
    grid: Grid,
    path: str | Path,
    *,
    kind: Literal["class", "from_to", "confidence", "image"],
    dtype: npt.DTypeLike,
    nodata: float | None,
    legend: Coded | None = None,
    compress: str = "zstd",
    band_names: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    attributes: Sequence[Column] = (),
) -> None:
    """Assemble block files into one COG; appears whole or not at all, in memory that does not grow with the grid.

    Args:
        sources: block files of this package's own making, and the windows of the grid they fill; what none fills
            becomes `nodata`.
        grid: the grid of the whole.
        path: the file; one that exists is replaced at the end.
        kind: class or from_to (overviews by mode, colour table and names of the legend), confidence (overviews by
            average, scale 0.005, statistics), or image (overviews by average).
        dtype: number type.
        nodata: value that marks missing data.
        legend: of a class raster, or the codes of a from-to raster.
        compress: zstd or deflate.
        band_names: description of each band; by default the kind, for one band.
        tags: metadata of the file.
        attributes: table of the codes, beside the names.

    Raises:
        GridError: a block file does not have the size of its window, or its window lies outside.
        RasterError: a block file cannot be read, or the COG cannot be written.
        DiskError: the disk is full.
    """
    path = Path(path)
    count = _check_sources(sources, grid)
    names = tuple(band_names) or ((kind,) if count == 1 else ())
    mosaic = _mosaic(sources, grid, count, np.dtype(dtype), nodata, tags or {}, names, kind, legend)
    predictor = "NO" if np.dtype(dtype).itemsize == 1 else "YES"
    options = {
        "COMPRESS": compress.upper(),
        "LEVEL": _LEVELS[compress.upper()],
        "PREDICTOR": predictor,
        "BLOCKSIZE": "512",
        "OVERVIEW_RESAMPLING": _OVERVIEWS[kind],
        "OVERVIEW_COMPRESS": compress.upper(),
        "OVERVIEW_PREDICTOR": predictor,
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": str(_threads()),
    }
    check_disk(path, int(_SPACE * sum(Path(file).stat().st_size for file, _ in sources)))
    with staged(path) as part:
        with write_faults(path), rasterio.open(mosaic, driver="VRT") as whole:
            rasterio.shutil.copy(whole, str(part), driver="COG", **options)
        check_written(part, path)
        if legend is not None:
            write_category_names(path, legend, attributes)


def _threads() -> int:
    """Threads for compression; one in a child process, where GDAL would wait for a pool that a fork does not copy."""
    if multiprocessing.parent_process() is not None:
        return 1
    return min(_MOST_THREADS, os.cpu_count() or 1)


@contextmanager
def write_faults(path: Path) -> Iterator[None]:
    """Turn whatever GDAL raises while writing into a DiskError or RasterError that names the file.

    Raises:
        DiskError: the disk is full.
        RasterError: the file cannot be written for another reason.
    """
    try:
        with gdal_settings(), without_rasterio_warning():
            yield
    except (RasterioError, rasterio._err.CPLE_BaseError, OSError) as error:
        raise write_fault(path, first_cause(error, path)) from None


def check_written(part: Path, path: Path) -> None:
    """Look at a GeoTIFF just written, because GDAL loses errors that occur while it closes a file.

    Raises:
        DiskError: the file lacks bytes and the disk is full.
        RasterError: the file lacks bytes.
    """
    try:
        complete = is_complete(part)
    except (RasterError, OSError):
        complete = False
    if not complete:
        raise write_fault(path, "the file came out incomplete")


def _check_sources(sources: Sequence[tuple[str | Path, Window]], grid: Grid) -> int:
    if not sources:
        raise GridError("a mosaic needs at least one block")
    counts = set()
    for file, window in sources:
        with open_raster(file) as block:
            counts.add(int(block.count))
            shape = block.shape
        if shape != (window.height, window.width):
            raise GridError(f"has {shape} pixels and is to fill {window}", where=str(file))
        if window.intersect(full_window(grid)) != window:
            raise GridError(f"{window} lies outside the grid {tuple(grid.shape)}", where=str(file))
    if len(counts) > 1:
        raise GridError(f"blocks have {sorted(counts)} bands", where=str(sources[0][0]))
    return counts.pop()


def _mosaic(
    sources: Sequence[tuple[str | Path, Window]],
    grid: Grid,
    count: int,
    dtype: np.dtype[np.generic],
    nodata: float | None,
    tags: Mapping[str, str],
    names: Sequence[str],
    kind: str,
    legend: Coded | None,
) -> str:
    """A VRT that lays the block files out on the grid."""
    root = Xml.Element("VRTDataset", rasterXSize=str(int(grid.shape[1])), rasterYSize=str(int(grid.shape[0])))
    if grid.crs is not None:
        Xml.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2").text = gdal_crs(grid).to_wkt()
    if not grid.transform.is_identity:
        Xml.SubElement(root, "GeoTransform").text = ", ".join(repr(float(n)) for n in grid.transform.to_gdal())
    metadata = Xml.SubElement(root, "Metadata")
    for key, value in tags.items():
        Xml.SubElement(metadata, "MDI", key=key).text = value
    for index in range(1, count + 1):
        band = Xml.SubElement(root, "VRTRasterBand", dataType=_TYPES[dtype.name], band=str(index))
        if index <= len(names):
            Xml.SubElement(band, "Description").text = names[index - 1]
        if nodata is not None:
            Xml.SubElement(band, "NoDataValue").text = repr(nodata)
        if legend is not None:
            Xml.SubElement(band, "ColorInterp").text = "Palette"
            _colours(Xml.SubElement(band, "ColorTable"), legend)
        if kind == "confidence":
            Xml.SubElement(band, "Scale").text = _CONFIDENCE_SCALE
            numbers = Xml.SubElement(band, "Metadata")
            for key, number in _statistics([file for file, _ in sources], index, nodata).items():
                Xml.SubElement(numbers, "MDI", key=f"STATISTICS_{key}").text = f"{number:.15g}"
        for file, window in sources:
            source = Xml.SubElement(band, "SimpleSource")
            Xml.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(Path(file).absolute())
            Xml.SubElement(source, "SourceBand").text = str(index)
            across, down = str(window.width), str(window.height)
            Xml.SubElement(
                source, "SourceProperties", RasterXSize=across, RasterYSize=down, DataType=_TYPES[dtype.name]
            )
            Xml.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=across, ySize=down)
            Xml.SubElement(source, "DstRect", xOff=str(window.col), yOff=str(window.row), xSize=across, ySize=down)
    return Xml.tostring(root, encoding="unicode")


def _statistics(files: Sequence[str | Path], band: int, nodata: float | None) -> dict[str, float]:
    """GDAL's statistics of 8-bit stored values, from counts, so that the cut into blocks does not show in a digit."""
    counts = np.zeros(256, np.int64)
    for file in files:
        with open_raster(file) as block, raster_faults(file):
            for _, window in block.block_windows(band):
                counts += np.bincount(block.read(band, window=window).ravel(), minlength=256)
    total = int(counts.sum())
    if nodata is not None:
        counts[int(nodata)] = 0
    seen, values = int(counts.sum()), np.arange(256)
    if seen == 0:
        return {}
    mean = int((counts * values).sum()) / seen
    return {
        "MINIMUM": int(values[counts > 0].min()),
        "MAXIMUM": int(values[counts > 0].max()),
        "MEAN": mean,
        "STDDEV": float(np.sqrt((counts * (values - mean) ** 2).sum() / seen)),
        "VALID_PERCENT": round(100 * seen / total, 4),
    }


def _colours(table: Xml.Element, legend: Coded) -> None:
    colours = legend.colormap()
    for code in range(max(256, 1 + max(colours))):
        red, green, blue, opacity = colours.get(code, (0, 0, 0, 0))
        Xml.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4=str(opacity))
