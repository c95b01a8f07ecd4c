"""The map that is assessed: its classes at sample points, and how much of each there is, streamed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.design import SampleDesign
from mapmend.core.classes import NODATA, Legend, LegendClass
from mapmend.core.crosswalk import Crosswalk
from mapmend.core.errors import GridError, LegendError, SampleError
from mapmend.core.grid import Grid, PixelArea, Window, full_window, same_grid
from mapmend.core.provenance import RECORD, file_hash
from mapmend.raster.labels import LabelReader
from mapmend.raster.opening import raster_info
from mapmend.raster.vector import is_vector

Ints = npt.NDArray[np.intp]
Indices = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

FROM_TO = "from_to.tif"
_PAIRS = (("before.tif", "after.tif"), ("class_before.tif", "class.tif"))  # of a change folder, of a map folder
_STRIP_PIXELS = 2**22
_SAME_AREA = 1e-6
_AREA_COLUMNS = 256  # whose areas are computed at a time


@dataclass(frozen=True)
class MapAreas:
    """How much of each class a map has.

    Attributes:
        pixels: K.
        areas: K, in hectares, or in pixels where the map has no place on Earth.
        unit: ha or px.
        changed: pixels whose class differs from that of the earlier date; None where that is unknown.
    """

    pixels: tuple[int, ...]
    areas: tuple[float, ...]
    unit: str
    changed: int | None = None

    @property
    def shares(self) -> tuple[float, ...]:
        """K, shares of the map's area; by pixels where these have one area, as far as that can be computed."""
        means = [area / count for area, count in zip(self.areas, self.pixels, strict=True) if count]
        same = all(math.isclose(mean, means[0], rel_tol=_SAME_AREA) for mean in means)
        sizes = self.pixels if same else self.areas
        return tuple(size / sum(sizes) for size in sizes)


class MappedClasses:
    """Reads a class raster, or the folder of a map or of a change.

    Args:
        path: the raster; or a folder with `class.tif`, or `before.tif` and `after.tif`.
        design: its classes and their ids.

    Attributes:
        grid: of the map.
        sampled: whether it is the very file that the design was made on.

    Raises:
        SampleError: no such map, or its legend gives other names to the design's ids.
        RasterError: it cannot be opened.
        GridError: the dates are on different grids.
    """

    def __init__(self, path: Path, design: SampleDesign) -> None:
        self.path = path
        before, after = _files_of(path, design)
        sources = {after, path if path.is_file() else path / FROM_TO}
        wanted = design.map.get("sha256")
        self.sampled = bool(wanted) and any(file_hash(one) == wanted for one in sources if one.is_file())
        before = before if design.two_dates else None
        if is_vector(after):
            raise SampleError("is a vector file", where=path, fix="give the map as a raster")
        self.grid: Grid = raster_info(after).grid
        crosswalk = _crosswalk_of(design, self.sampled)
        self._after, self._before = LabelReader(str(after), self.grid, crosswalk), None
        if before is not None:
            if not same_grid(raster_info(before).grid, self.grid):
                raise GridError("is on another grid than the later date's map", where=before, fix="map both on one")
            self._before = LabelReader(str(before), self.grid, crosswalk)
        self._index = np.full(256, -1, np.int16)  # a strip of them is in memory
        self._index[list(design.class_ids)] = np.arange(len(design.class_ids))
        self._classes = len(design.classes)

    @property
    def two_dates(self) -> bool:
        """Whether there is a map of an earlier date."""
        return self._before is not None

    @cached_property
    def pixel_area(self) -> PixelArea:
        """Areas of the grid's pixels."""
        return PixelArea(self.grid)

    def at(self, rows: Ints, cols: Ints) -> tuple[Ints, Ints | None]:
        """Class indices at pixels, of the later date and of the earlier; -1 where either date has none.

        Raises:
            SampleError: a code that is no class of the design.
            RasterError: the map cannot be read.
        """
        after, before = (np.full(rows.size, -1, np.intp) for _ in range(2))
        for at in np.lexsort((cols // 512, rows // 512)):  # block by block, for the sake of the cache
            window = Window(int(rows[at]), int(cols[at]), 1, 1)
            after[at] = self._read(self._after, window)[0, 0]
            if self._before is not None:
                before[at] = self._read(self._before, window)[0, 0]
        if self._before is None:
            return after, None
        known = (after >= 0) & (before >= 0)
        return np.where(known, after, -1), np.where(known, before, -1)

    def areas_at(self, rows: Ints, cols: Ints) -> Floats:
        """Areas of single pixels."""
        pairs = zip(rows.tolist(), cols.tolist(), strict=True)
        return np.array([self.pixel_area.of(Window(row, col, 1, 1))[0, 0] for row, col in pairs])

    def areas(self) -> MapAreas:
        """Pixels and areas of the classes (of the later date, where both dates have one), streamed.

        Raises:
            SampleError: a code that is no class of the design.
            RasterError: the map cannot be read.
        """
        pixels, areas = np.zeros(self._classes + 1, np.int64), np.zeros(self._classes + 1)
        changed = 0
        for index, earlier, area, _ in self._parts():
            pixels += np.bincount(index.ravel() + 1, minlength=self._classes + 1)
            areas += np.bincount(index.ravel() + 1, area.ravel(), minlength=self._classes + 1)
            if earlier is not None:
                changed += int(((index >= 0) & (index != earlier)).sum())
        return MapAreas(
            tuple(pixels[1:].tolist()),
            tuple(areas[1:].tolist()),
            self.pixel_area.unit,
            None if self._before is None else changed,
        )

    def parts(self) -> Iterator[tuple[Window, Floats, Bool]]:
        """Windows that cover the map, with the areas of their pixels, and which of them have a class."""
        for index, _, area, window in self._parts():
            yield window, area, index >= 0

    def _parts(self) -> Iterator[tuple[Indices, Indices | None, Floats, Window]]:
        """Class indices of both dates and areas, in pieces of strips."""
        for strip in self._strips():
            index, earlier = self._read(self._after, strip), None
            if self._before is not None:
                earlier = self._read(self._before, strip)
                index = np.where(earlier >= 0, index, np.int16(-1))
            for col in range(0, strip.width, _AREA_COLUMNS):
                width = min(_AREA_COLUMNS, strip.width - col)
                window, here = Window(strip.row, col, strip.height, width), slice(col, col + width)
                part = None if earlier is None else earlier[:, here]
                yield index[:, here], part, self.pixel_area.of(window), window

    def _strips(self) -> Iterator[Window]:
        whole = full_window(self.grid)
        rows = max(1, _STRIP_PIXELS // whole.width)
        for row in range(0, whole.height, rows):
            yield Window(row, 0, min(rows, whole.height - row), whole.width)

    def _read(self, reader: LabelReader, window: Window) -> Indices:
        try:
            return self._index[reader.read(window)]
        except LegendError as fault:
            raise SampleError(
                f"has classes that the design lacks: {fault.what}",
                where=fault.where,
                fix="give a map in the legend of the sample's classes, with its nodata declared",
            ) from None


def _files_of(path: Path, design: SampleDesign) -> tuple[Path | None, Path]:
    folder = path.parent if path.name == FROM_TO else path  # the maps of both dates lie beside it
    if not folder.is_dir():
        return None, path
    for before, after in _PAIRS:
        if (folder / after).is_file():
            _check_names(folder, design)
            return (folder / before if (folder / before).is_file() else None), folder / after
    raise SampleError("holds no map", where=path, fix="give a class raster, or the folder of `predict` or `change`")


def _check_names(folder: Path, design: SampleDesign) -> None:
    """Refuse a map whose record calls the design's ids by other names."""
    try:
        plain = json.loads((folder / RECORD).read_text())["config"]["legend"]
        legend = Legend.from_dict(plain, where=folder / RECORD)
    except (OSError, ValueError, KeyError, TypeError, LegendError):
        return  # without a record ids alone say what a class is
    for id_, name in zip(design.class_ids, design.classes, strict=True):
        if id_ in legend.ids and not name.isdigit():
            own = legend.names[legend.ids.index(id_)]
            if own.casefold() != name.casefold():
                raise SampleError(
                    f"calls class {id_} '{own}', and the sample's design '{name}'",
                    where=folder,
                    fix="assess a map in the design's legend",
                )


def _crosswalk_of(design: SampleDesign, sampled: bool) -> Crosswalk:
    """The design's ids as they are; of the map that was sampled, all other codes are known to be no classes."""
    classes = zip(design.class_ids, design.classes, strict=True)
    try:
        legend = Legend("design", tuple(LegendClass(id_, name, "#000000") for id_, name in classes))
    except LegendError as fault:
        raise SampleError(f"the design's classes: {fault.what}", fix=fault.fix) from None
    others = dict.fromkeys(range(NODATA) if sampled else (), NODATA)
    return Crosswalk("design", legend, others | {id_: id_ for id_ in design.class_ids})


def pixels_of(x: Floats, y: Floats, grid: Grid) -> tuple[Ints, Ints]:
    """Rows and columns of places in a grid's CRS; outside of the grid they are so too."""
    back = ~grid.transform
    cols, rows = back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f
    most = float(2**31)
    return tuple(np.floor(np.clip(each, -most, most)).astype(np.intp) for each in (rows, cols))


def inside(rows: Ints, cols: Ints, grid: Grid) -> Bool:
    """Which pixels lie on a grid."""
    height, width = (int(n) for n in grid.shape)
    found: Bool = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    return found


def covers(areas: MapAreas, design: SampleDesign) -> bool:
    """Whether a map and a design are of the same population, as far as their size tells."""
    drawn = sum(one.pixels for one in design.strata)
    if areas.unit == "px" or math.isclose(sum(areas.pixels), drawn, rel_tol=5e-3):
        return math.isclose(sum(areas.pixels), drawn, rel_tol=5e-3)
    return math.isclose(sum(areas.areas), design.total_ha, rel_tol=5e-3)
