"""Polygons, lines and points as labels and as areas of interest, rasterised window by window."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from affine import Affine
from rasterio.features import rasterize

from mapmend.core.crosswalk import Crosswalk
from mapmend.core.errors import GridError, LegendError, VectorError
from mapmend.core.grid import Grid, Window, full_window
from mapmend.core.legend import NODATA
from mapmend.raster.features import (
    Geometries,
    VectorInfo,
    check_crs,
    is_vector,
    read_features,
    touches,
    vector_faults,
    vector_info,
    window_box,
)
from mapmend.raster.opening import without_rasterio_warning

__all__ = ["Aoi", "VectorInfo", "VectorLabels", "is_vector", "load_aoi", "vector_info"]

_WHOLE_BYTES = 2**26  # files up to this size are read once and indexed; larger ones are asked window by window
_PROBE = 1000  # features looked at to find the field with the classes
_MOST_LISTED = 8  # unknown classes in a message
_FIELD_NAMES = ("class", "label", "classname", "class_name", "class_id", "code", "landcover", "land_cover", "lc")


class VectorLabels:
    """A vector label, rasterised window by window: a pixel has the class of the last feature that holds its centre.

    Args:
        path: GeoPackage, Shapefile or GeoJSON.
        grid: the grid to rasterise on.
        crosswalk: from the attribute's codes or names to the legend; None: every feature has the id 1.
        field: the attribute; None: the only one whose values are all codes or names of the crosswalk.

    Attributes:
        mended: features read so far whose geometry was invalid and has been mended.

    Raises:
        VectorError: the file cannot be opened or has no such field.
        GridError: no CRS where one is needed, or no overlap with the grid.
    """

    def __init__(self, path: str | Path, grid: Grid, crosswalk: Crosswalk | None, field: str | None = None) -> None:
        self._info, self._grid, self._crosswalk = vector_info(path), grid, crosswalk
        check_crs(self._info, grid)
        self._field = None if crosswalk is None else _class_field(self._info, crosswalk, field)
        self._mended: set[int] = set()
        self._small = Path(path).stat().st_size <= _WHOLE_BYTES
        self._whole: tuple[Geometries, npt.NDArray[np.uint8], shapely.STRtree] | None = None
        if not touches(self._info, grid):
            raise GridError("does not overlap the image", where=path, fix="check both CRSs, or leave this pair out")

    @property
    def mended(self) -> int:
        """Features read so far whose geometry was invalid and has been mended."""
        return len(self._mended)

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        """Ids H×W, NODATA where no feature lies.

        Raises:
            VectorError: the file cannot be read.
            LegendError: a code or name that the crosswalk does not know.
        """
        inside = window.intersect(full_window(self._grid))
        result = np.full((window.height, window.width), NODATA, np.uint8)
        if inside is None:
            return result
        geometries, ids = self._within(inside)
        rows, cols = inside.shift(-window.row, -window.col).slices
        result[rows, cols] = _burn(geometries, ids, inside, NODATA)
        return result

    def __getstate__(self) -> dict[str, object]:
        """Without the geometries, which are read again where they are needed."""
        return {**self.__dict__, "_whole": None}

    def _within(self, window: Window) -> tuple[Geometries, npt.NDArray[np.uint8]]:
        if not self._small:
            return self._load(window)
        if self._whole is None:
            geometries, ids = self._load(None)
            self._whole = geometries, ids, shapely.STRtree(geometries)
        geometries, ids, tree = self._whole
        found = np.sort(tree.query(window_box(window)))  # in the file's order: later features lie on top
        return geometries[found], ids[found]

    def _load(self, window: Window | None) -> tuple[Geometries, npt.NDArray[np.uint8]]:
        geometries, values = read_features(self._info, self._grid, self._field, window, self._mended)
        if self._crosswalk is None:
            return geometries, np.ones(len(geometries), np.uint8)
        ids = _ids_of(dict(Counter(values)), self._crosswalk, self._info.path)
        return geometries, np.array([ids[value] for value in values], np.uint8)


def _ids_of(counts: Mapping[object, int], crosswalk: Crosswalk, where: str) -> dict[object, int]:
    """The id of each value of the attribute.

    Raises:
        LegendError: some are unknown; all of them are listed with the number of their features.
    """
    ids, unknown, fix = {}, [], ""
    for value, count in counts.items():
        try:
            ids[value] = NODATA if _is_missing(value) else crosswalk.id_of(_plain(value), where=where)
        except (LegendError, ValueError) as fault:
            unknown.append((count, value))
            fix = fix or getattr(fault, "fix", None) or "name the field with the classes"
    if not unknown:
        return ids
    unknown.sort(key=lambda one: (-one[0], str(one[1])))
    listed = ", ".join(
        f"'{_shown(value)}' ({count} feature{'s' * (count > 1)})" for count, value in unknown[:_MOST_LISTED]
    )
    more = f" and {len(unknown) - _MOST_LISTED} more" if len(unknown) > _MOST_LISTED else ""
    plural = "classes" if len(unknown) > 1 else "class"
    raise LegendError(f"{plural} {listed}{more} not in '{crosswalk.source}'", where=where, fix=fix)


class Aoi:
    """An area of interest on a grid.

    Attributes:
        bounds: the smallest window of the grid that holds it.
    """

    def __init__(self, geometries: Geometries, bounds: Window) -> None:
        self._geometries, self._tree, self.bounds = geometries, shapely.STRtree(geometries), bounds

    def mask(self, window: Window) -> npt.NDArray[np.bool_]:
        """H×W, True where a pixel's centre lies inside the area; False outside the grid."""
        result = np.zeros((window.height, window.width), bool)
        inside = window.intersect(self.bounds)
        if inside is not None:
            found = self._geometries[np.sort(self._tree.query(window_box(inside)))]
            rows, cols = inside.shift(-window.row, -window.col).slices
            result[rows, cols] = _burn(found, np.ones(len(found), np.uint8), inside, 0) == 1
        return result


def load_aoi(path: str | Path, grid: Grid) -> Aoi:
    """The polygons of a vector file as an area of interest on a grid.

    Raises:
        VectorError: it cannot be opened or holds no polygons.
        GridError: no CRS where one is needed, or no pixel of the grid lies inside.
    """
    info = vector_info(path)
    check_crs(info, grid)
    geometries, _ = read_features(info, grid, None, None, set())
    geometries = geometries[np.isin(shapely.get_type_id(geometries), (3, 6))]
    if not len(geometries):
        raise VectorError("holds no polygons", where=path, fix="draw the area of interest as polygons")
    bounds = bounding_window(tuple(shapely.total_bounds(geometries))).intersect(full_window(grid))
    if bounds is None:
        raise GridError("lies outside the image", where=path, fix="check both CRSs, or draw another area")
    return Aoi(geometries, bounds)


def bounding_window(bounds: Sequence[float]) -> Window:
    """The window of whole pixels that holds left, top, right and bottom."""
    left, top, right, bottom = bounds
    row, col = math.floor(top), math.floor(left)
    return Window(row, col, math.ceil(bottom) - row, math.ceil(right) - col)


def _burn(geometries: Geometries, ids: npt.NDArray[np.uint8], window: Window, fill: int) -> npt.NDArray[np.uint8]:
    shape = (window.height, window.width)
    if not len(geometries):
        return np.full(shape, fill, np.uint8)
    with without_rasterio_warning():
        burnt: npt.NDArray[np.uint8] = rasterize(
            zip(geometries, ids.tolist(), strict=True),
            out_shape=shape,
            fill=fill,
            transform=Affine.translation(window.col, window.row),
            dtype=np.uint8,
        )
    return burnt


def _class_field(info: VectorInfo, crosswalk: Crosswalk, field: str | None) -> str:
    listed = ", ".join(info.fields) or "none"
    if field is not None:
        if field not in info.fields:
            raise VectorError(f"has no field '{field}'", where=info.path, fix=f"its fields: {listed}")
        return field
    with vector_faults(info.path):
        _, _, _, columns = pyogrio.raw.read(
            Path(info.path).absolute(), layer=info.layer, read_geometry=False, max_features=_PROBE
        )
    fitting = []
    for name, values in zip(info.fields, columns, strict=True):
        known = {value for value in values if not _is_missing(value)}
        try:
            if known and all(crosswalk.id_of(_plain(value), where=info.path) is not None for value in known):
                fitting.append(name)
        except (LegendError, ValueError):
            continue
    named = [name for name in fitting if name.lower() in _FIELD_NAMES]
    if not fitting:
        likely = [name for name in info.fields if name.lower() in _FIELD_NAMES]
        if len(likely) == 1:
            return likely[0]  # reading it says which of its classes are unknown
    choice = named if len(named) == 1 else fitting
    if len(choice) != 1:
        found = f"fields {', '.join(choice)} could all" if choice else f"no field (of {listed}) seems to"
        raise VectorError(f"{found} hold the classes", where=info.path, fix="name the field with the classes")
    return choice[0]


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == ""


def _plain(value: object) -> str | float:
    return value if isinstance(value, str | float) else float(str(value))
