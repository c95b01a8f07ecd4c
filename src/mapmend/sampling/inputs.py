"""What a sample is drawn from: a class or from-to raster, its legend, probabilities and an area of interest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window as RasterioWindow

from mapmend.change.codes import FromToLegend
from mapmend.core.classes import NODATA, Legend, LegendClass
from mapmend.core.errors import GridError, LegendError, RasterError
from mapmend.core.grid import Grid, Window, full_window, same_grid, windows
from mapmend.core.legend import load_crosswalk
from mapmend.core.provenance import RECORD
from mapmend.core.stored import STEPS
from mapmend.raster.labels import LabelReader, read_codes
from mapmend.raster.opening import RasterInfo, handle, raster_faults, raster_info
from mapmend.raster.vector import load_aoi

CLASS_MAP, FROM_TO = "class.tif", "from_to.tif"
_SURVEYED = 2048

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SampledMap:
    """A map with what belongs to it.

    Attributes:
        path: of the raster.
        legend: whose ids a class raster holds, and whose indices a from-to raster is made of.
        two_dates: whether it is a from-to raster, of codes i·K + j.
        probability: raster on the map's grid, uint8 round(200·p), nodata 255.
        aoi: vector file; units are drawn inside alone.
    """

    path: Path
    legend: Legend
    two_dates: bool = False
    probability: Path | None = None
    aoi: Path | None = None


def open_map(
    path: Path, legend: Legend | None = None, *, probability: Path | None = None, aoi: Path | None = None
) -> SampledMap:
    """A map by its raster, or by the folder of a finished map or change.

    Args:
        path: a class raster, a folder that holds `class.tif`, or one that holds `from_to.tif`.
        legend: of the classes; None: the one in the record beside the raster, or else the codes that it holds.
        probability: see `SampledMap`.
        aoi: see `SampledMap`.

    Raises:
        RasterError: there is no such map.
        LegendError: the legend is not known.
    """
    if not path.exists():
        raise RasterError("no such file or folder", where=path, fix="correct the path")
    raster = path
    if path.is_dir():
        found = [path / name for name in (FROM_TO, CLASS_MAP) if (path / name).is_file()]
        if not found:
            raise RasterError(
                f"holds neither {CLASS_MAP} nor {FROM_TO}", where=path, fix="give a class raster or a map's folder"
            )
        raster = found[0]
    recorded = _recorded_legend(raster)
    two_dates = raster.name == FROM_TO
    if two_dates and recorded is None:
        raise LegendError(
            "has no record of its classes beside it", where=raster, fix="give the folder that `mapmend change` made"
        )
    legend = recorded if two_dates or legend is None else legend
    if legend is None:
        legend = _codes_as_classes(raster)
    return SampledMap(raster, legend, two_dates, probability, aoi)


class MapReader:
    """Reads windows of a map as codes, and what is known of a class's probability there.

    Holds no open file; threads may share it.

    Attributes:
        path: of the raster.
        grid: of the map.
        dtype: of the codes: uint8, or uint16.
        nodata: the largest number of this type: nothing can be drawn there.
        bounds: window outside of which nothing can be drawn.

    Raises:
        RasterError: a file cannot be opened, or holds no codes or probabilities.
        GridError: the probabilities are on another grid, or the area of interest lies elsewhere.
        VectorError: the area of interest cannot be opened.
    """

    def __init__(self, source: SampledMap) -> None:
        self._source, self.path, self._info = source, str(source.path), raster_info(source.path)
        self.grid: Grid = self._info.grid
        self.dtype: np.dtype[Any] = np.dtype(FromToLegend(source.legend).dtype if source.two_dates else np.uint8)
        self.nodata = int(np.iinfo(self.dtype).max)
        self._plain = _is_plain(self._info, self.dtype)
        if source.two_dates and not self._plain:
            raise RasterError("holds no from-to codes", where=source.path, fix="make it with `mapmend change`")
        self._labels = (
            None if self._plain else LabelReader(str(source.path), self.grid, load_crosswalk(None, source.legend))
        )
        self._blank = self._blank_codes()
        if source.probability is not None:
            _check_probability(str(source.probability), self.grid, self.path)
        self._aoi = load_aoi(source.aoi, self.grid) if source.aoi is not None else None
        self.bounds = self._aoi.bounds if self._aoi is not None else full_window(self.grid)
        if self._aoi is not None:  # its index is built by the first question, which threads must not ask at once
            self._aoi.mask(Window(self.bounds.row, self.bounds.col, 1, 1))

    @property
    def block(self) -> tuple[int, int]:
        """(height, width) of the file's blocks."""
        return self._info.block

    @property
    def known(self) -> frozenset[int]:
        """The codes that stand for classes, or for pairs of them."""
        size = len(self._source.legend)
        return frozenset(range(size**2)) if self._source.two_dates else frozenset(self._source.legend.ids)

    def codes(self, window: Window) -> Codes:
        """Codes H×W of a window inside the grid, `nodata` where nothing can be drawn; unknown codes as they are.

        Raises:
            RasterError: the file cannot be read.
            LegendError: a code that is not in the legend, in a file that is not stored as plain codes.
        """
        inside = self._aoi.mask(window) if self._aoi is not None else None
        if inside is not None and not inside.any():
            return np.full((window.height, window.width), self.nodata, self.dtype)
        if self._labels is not None:
            codes: Codes = self._labels.read(window)
        else:
            codes = _band(self.path, window)
            for code in self._blank:
                codes[codes == code] = self.nodata
        if inside is not None:
            codes[~inside] = self.nodata
        return codes

    def steps(self, window: Window) -> Bytes | None:
        """Probabilities H×W as 200·p, 255 where unknown; None where the map comes without.

        Raises:
            RasterError: the file cannot be read, or holds values above 200.
        """
        if self._source.probability is None:
            return None
        steps: Bytes = _band(str(self._source.probability), window)
        if (steps - np.uint8(STEPS + 1) < NODATA - STEPS - 1).any():  # wraps around: 201 to 254
            raise RasterError(
                f"holds values above {STEPS}",
                where=self._source.probability,
                fix=f"store probabilities as round({STEPS}·p), nodata {NODATA}",
            )
        return steps

    def _blank_codes(self) -> tuple[int, ...]:
        """Codes other than `nodata` that mean there is nothing."""
        declared = [int(value) for value in self._info.nodata[:1] if value is not None and value == value]
        ignored = () if self._source.two_dates else self._source.legend.ignore
        return tuple(code for code in {*declared, *ignored} if 0 <= code < self.nodata)


def _is_plain(info: RasterInfo, dtype: np.dtype[Any]) -> bool:
    """Whether a file holds one band of codes and no mask but its nodata value."""
    return info.count == 1 and info.dtype == dtype.name and not info.masked and info.colorinterp != ("alpha",)


def _band(path: str, window: Window) -> npt.NDArray[Any]:
    with raster_faults(path):
        area = RasterioWindow(window.col, window.row, window.width, window.height)
        return np.asarray(handle(path).read(1, window=area))


def _check_probability(path: str, grid: Grid, of: str) -> None:
    info = raster_info(path)
    if info.count != 1 or info.dtype != "uint8":
        raise RasterError(
            f"holds {info.count} bands of {info.dtype}, not probabilities",
            where=path,
            fix=f"give one band of uint8 with round({STEPS}·p), nodata {NODATA}",
        )
    if not same_grid(info.grid, grid):
        raise GridError(f"is not on the grid of {of}", where=path, fix="give probabilities on the map's own grid")


def probability_beside(raster: Path, legend: Legend, name: str) -> Path | None:
    """The raster of a class's probability in a map's own folder, where the map was made with one."""
    try:
        index = legend.index_of(name)
        plain = json.loads((raster.parent / RECORD).read_text())
        files = [file for file in plain["files"] if file.startswith("probability_")]
        of_class = dict(zip(map(legend.index_of, plain["config"]["probabilities"]), files, strict=True))
    except (OSError, ValueError, KeyError, TypeError, LegendError):
        return None
    return raster.parent / of_class[index] if index in of_class else None


def _codes_as_classes(raster: Path) -> Legend:
    """A legend of the codes that an 8-bit raster holds, each named by its number; streamed."""
    info = raster_info(raster)
    if info.dtype != "uint8" or info.count - info.colorinterp.count("alpha") != 1:
        raise LegendError("says nothing of its classes", where=raster, fix="name its legend with --legend")
    counts = np.zeros(256, np.int64)
    for window in windows(info.grid, _SURVEYED):
        codes, valid = read_codes(info, window)
        counts += np.bincount(codes[0][valid], minlength=256)
    found = np.flatnonzero(counts[:NODATA]).tolist()
    if not found:
        raise RasterError("has no valid pixel", where=raster, fix="check its nodata value")
    return Legend("codes", tuple(LegendClass(code, str(code), "#000000") for code in found))


def _recorded_legend(raster: Path) -> Legend | None:
    """The legend in the record beside a raster that is one of the folder's own."""
    record = raster.parent / RECORD
    try:
        plain = json.loads(record.read_text())
        if raster.name not in plain["files"]:
            return None
        return Legend.from_dict(plain["config"]["legend"], where=record)
    except (OSError, ValueError, KeyError, TypeError):
        return None
