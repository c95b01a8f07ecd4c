"""Features of vector files from outside: opened safely, mended, and brought into a grid's pixel coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from mapmend.core.errors import GridError, RasterError, VectorError
from mapmend.core.grid import Grid, Window
from mapmend.raster.safety import local_file

Geometries = npt.NDArray[np.object_]

_FORMATS = "give a GeoPackage, Shapefile or GeoJSON"
_DRIVERS = ("GPKG", "ESRI Shapefile", "GeoJSON")
_MOST_EDGE = 64  # pixels; longer edges are split before reprojection, where straight lines become curves


@dataclass(frozen=True)
class VectorInfo:
    """What a vector file says about itself: path, driver, layer, fields, number of features, geometry type, CRS."""

    path: str
    driver: str
    layer: str
    fields: tuple[str, ...]
    count: int
    geometry: str
    crs: str | None


def is_vector(path: str | Path) -> bool:
    """Whether a file's content is that of a vector format this package reads.

    Raises:
        RasterError: it is missing, no ordinary file, or empty.
    """
    return _driver_of(local_file(path)) is not None


def vector_info(path: str | Path) -> VectorInfo:
    """What a GeoPackage, Shapefile or GeoJSON says about itself; of several layers, the first with geometries.

    Raises:
        VectorError: it cannot be opened, is of another format, or has no geometries.
    """
    full = _local_vector(path)
    with vector_faults(path):
        layers = [str(name) for name, geometry in pyogrio.list_layers(full) if geometry is not None]
        if not layers:
            raise VectorError("has no layer with geometries", where=path, fix=_FORMATS)
        read: dict[str, Any] = pyogrio.read_info(full, layer=layers[0], force_feature_count=True)
    if read["driver"] not in _DRIVERS:
        raise VectorError(f"is {read['driver']}", where=path, fix=_FORMATS)
    fields = tuple(str(name) for name in read["fields"])
    geometry, crs = str(read["geometry_type"]), read["crs"]
    return VectorInfo(str(path), str(read["driver"]), layers[0], fields, int(read["features"]), geometry, crs)


def read_features(
    info: VectorInfo, grid: Grid, field: str | None, window: Window | None, mended: set[int]
) -> tuple[Geometries, list[object]]:
    """Features in the file's order: geometries in the grid's pixel coordinates (column, row), and the field's values.

    Args:
        info: the file.
        grid: the grid.
        field: the attribute to read; None: none.
        window: of the grid; only features that may touch it. None: all.
        mended: numbers of features whose geometry was invalid are added here.

    Raises:
        VectorError: the file cannot be read.
        GridError: the window lies where the file's CRS ends.
    """
    box = None if window is None else _box_in_file(info, grid, window)
    with vector_faults(info.path):
        _, numbers, binary, columns = pyogrio.raw.read(
            Path(info.path).absolute(),
            layer=info.layer,
            columns=[field] if field else [],
            bbox=box,
            force_2d=True,
            return_fids=True,
        )
        geometries = np.asarray(shapely.from_wkb(binary), dtype=object)
        broken = ~shapely.is_valid(geometries) & ~shapely.is_missing(geometries)
        if broken.any():
            geometries[broken] = shapely.make_valid(geometries[broken], method="structure", keep_collapsed=False)
            mended.update(int(number) for number in numbers[broken])
        geometries = _to_pixels(geometries, info, grid)
    usable = ~shapely.is_missing(geometries) & ~shapely.is_empty(geometries)
    usable &= np.isfinite(shapely.bounds(geometries)).all(axis=1)
    values = list(columns[0][usable]) if field else [None] * int(usable.sum())
    return geometries[usable], values


def _to_pixels(geometries: Geometries, info: VectorInfo, grid: Grid) -> Geometries:
    back = ~grid.transform
    transformer = _transformer(info, grid)
    if transformer is not None:
        geometries = shapely.segmentize(geometries, _MOST_EDGE * _pixel_in_file(transformer, grid))

    def convert(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = points[:, 0], points[:, 1]
        if transformer is not None:
            x, y = transformer.transform(x, y)
        return np.column_stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f])

    return np.asarray(shapely.transform(geometries, convert), dtype=object)


def _transformer(info: VectorInfo, grid: Grid) -> Transformer | None:
    """From the file's CRS to the grid's; None where they agree or there is none."""
    if grid.crs is None or info.crs is None:
        return None
    source, target = CRS.from_user_input(info.crs), CRS.from_wkt(grid.crs.to_wkt())
    return (
        None if source.equals(target, ignore_axis_order=True) else Transformer.from_crs(source, target, always_xy=True)
    )


def _pixel_in_file(transformer: Transformer, grid: Grid) -> float:
    """The size of the grid's central pixel in the units of the file."""
    row, col = grid.shape[0] / 2, grid.shape[1] / 2
    here, beside = (grid.transform @ (c, r) for c, r in ((col, row), (col + 1, row)))
    x, y = transformer.transform((here[0], beside[0]), (here[1], beside[1]), direction="INVERSE")
    size = math.hypot(x[1] - x[0], y[1] - y[0])
    return size if math.isfinite(size) and size > 0 else math.inf


def _box_in_file(info: VectorInfo, grid: Grid, window: Window) -> tuple[float, float, float, float]:
    """Bounds of a window in the file's CRS, a pixel wider on each side."""
    wide = window.pad(1)
    ring = shapely.get_coordinates(shapely.segmentize(window_box(wide), max(wide.height, wide.width) / 16))
    t = grid.transform
    x, y = t.a * ring[:, 0] + t.b * ring[:, 1] + t.c, t.d * ring[:, 0] + t.e * ring[:, 1] + t.f
    transformer = _transformer(info, grid)
    if transformer is not None:
        x, y = transformer.transform(x, y, direction="INVERSE")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise GridError("cannot be brought onto the grid here", where=info.path, fix="reproject it to the image's CRS")
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def total_bounds(info: VectorInfo) -> tuple[float, float, float, float] | None:
    """Left, bottom, right and top of all features in the file's CRS; None without features."""
    with vector_faults(info.path):
        read = pyogrio.read_info(Path(info.path).absolute(), layer=info.layer, force_total_bounds=True)
    bounds = read["total_bounds"]
    if bounds is None or info.count == 0:
        return None
    left, bottom, right, top = (float(number) for number in bounds)
    return left, bottom, right, top


def touches(info: VectorInfo, grid: Grid) -> bool:
    """Whether the bounds of a file's features overlap a grid."""
    bounds = total_bounds(info)
    if bounds is None:
        return False
    outline = np.array([shapely.segmentize(shapely.box(*bounds), max(1e-9, np.ptp(bounds[::2]) / 16))], dtype=object)
    points = shapely.get_coordinates(_to_pixels(outline, info, grid))
    if not np.isfinite(points).all():
        return True  # the file reaches beyond what the grid's CRS can show; windows will tell
    height, width = (int(n) for n in grid.shape)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return bool(right > 0 and bottom > 0 and left < width and top < height)


def _local_vector(path: str | Path) -> Path:
    try:
        full = local_file(path)
    except RasterError as error:
        raise VectorError(error.what, where=error.where, fix=error.fix) from None
    if _driver_of(full) is None:
        raise VectorError("is not a vector file this package reads", where=path, fix=_FORMATS)
    return full


def _driver_of(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"SQLite format 3\0") and head[68:72] in (b"GPKG", b"GP10", b"GP11"):
        return "GPKG"
    if head.startswith(b"\0\0\x27\x0a"):
        return "ESRI Shapefile"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return "GeoJSON"
    return None


@contextmanager
def vector_faults(path: str | Path) -> Iterator[None]:
    """Turn whatever GDAL, GEOS or PROJ raise inside into a VectorError that names the file.

    Raises:
        VectorError: instead of theirs.
    """
    try:
        yield
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
        pyogrio.errors.FieldError,
        pyogrio.errors.GeometryError,
        pyogrio.errors.CRSError,
        shapely.errors.ShapelyError,
        ProjError,
        OSError,
        ValueError,
        RuntimeError,
        MemoryError,
    ) as error:
        text = " ".join(str(error).replace(f"'{Path(path).absolute()}'", "it").partition("; It might")[0].split())[:200]
        raise VectorError(f"cannot be read ({text})", where=path, fix="check or replace the file") from None


def window_box(window: Window) -> shapely.Polygon:
    """A window's outline in pixel coordinates."""
    return shapely.box(window.col, window.row, window.col_end, window.row_end)


def check_crs(info: VectorInfo, grid: Grid) -> None:
    """Refuse a file without a CRS on a grid that has one, and the other way round.

    Raises:
        GridError: one of the two has no CRS.
    """
    if (info.crs is None) != (grid.crs is None):
        lacking = "has no CRS" if info.crs is None else f"has CRS {info.crs[:40]}, and the image has none"
        raise GridError(lacking, where=info.path, fix="assign the missing CRS, e.g. with ogr2ogr -a_srs or gdal_edit")
