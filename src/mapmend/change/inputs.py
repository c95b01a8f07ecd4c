"""The maps of two dates and what belongs to them, read strip by strip on one grid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from rasterio.windows import Window as RasterioWindow

from mapmend.change.decide import Bytes
from mapmend.core.classes import NODATA, Legend
from mapmend.core.errors import GridError, JobError, LegendError, ManifestError, RasterError
from mapmend.core.grid import Grid, Window, full_window, same_grid
from mapmend.core.legend import load_crosswalk
from mapmend.core.manifest import check_pair
from mapmend.core.provenance import RECORD
from mapmend.core.stored import STEPS
from mapmend.raster.labels import LabelReader
from mapmend.raster.opening import handle, raster_faults, raster_info

_STRIP_PIXELS = 2**23  # what a strip's arrays are bounded by: about half a gigabyte in all
_OF_LEGEND = "name the legend that all of the maps are in, and declare nodata in the file"
_TILE = 512  # rows of tiles are decoded once where a strip is a multiple of them


@dataclass(frozen=True)
class ChangeInputs:
    """The files of one place at two dates.

    Attributes:
        before: class raster of the earlier date, legend ids.
        after: class raster of the later date, on the same grid.
        probability: of change, uint8 round(200·p), nodata 255.
        confidence_before: of the earlier date's class, stored alike.
        confidence_after: of the later date's class.
        old: the map that changes are put into, as legend ids; None: `before`.
        date_before: ISO date, or empty.
        date_after: ISO date, or empty.
        name: of the place.
    """

    before: str
    after: str
    probability: str | None = None
    confidence_before: str | None = None
    confidence_after: str | None = None
    old: str | None = None
    date_before: str = ""
    date_after: str = ""
    name: str = ""

    @property
    def files(self) -> dict[str, str]:
        """The files there are, by their role."""
        roles = ("before", "after", "probability", "confidence_before", "confidence_after", "old")
        return {role: path for role in roles if (path := getattr(self, role)) is not None}

    @classmethod
    def of_map(cls, folder: Path, *, old: str | None, dates: tuple[str, str], name: str) -> Self:
        """What lies in the folder of a map of two dates."""
        return cls(
            before=str(folder / "class_before.tif"),
            after=str(folder / "class.tif"),
            probability=str(folder / "change.tif"),
            confidence_before=str(folder / "confidence_before.tif"),
            confidence_after=str(folder / "confidence.tif"),
            old=old,
            date_before=dates[0],
            date_after=dates[1],
            name=name,
        )


@dataclass(frozen=True)
class PairStrip:
    """Rows of a pair: legend indices of both dates, and how sure they are where that is known."""

    before: Bytes
    after: Bytes
    confidences: tuple[Bytes, Bytes] | None
    probability: Bytes | None


class PairReader:
    """Reads the rows of a pair of maps.

    Attributes:
        grid: that of both maps.

    Raises:
        ManifestError: the dates, or the files of both, are equal, or the dates are in the wrong order.
        GridError: the files are on different grids.
        RasterError: a file cannot be opened, or holds no probabilities.
    """

    def __init__(self, inputs: ChangeInputs, legend: Legend) -> None:
        check_pair(inputs.date_before, inputs.date_after, f"site '{inputs.name}'")
        if Path(inputs.before).absolute() == Path(inputs.after).absolute():
            raise ManifestError("is given for both dates", where=inputs.after, fix="give a map of each date")
        self._inputs, self._legend, crosswalk = inputs, legend, load_crosswalk(None, legend)
        self.grid = raster_info(inputs.before).grid
        self._check_grid(inputs.after)
        self._maps = tuple(LabelReader(path, self.grid, crosswalk) for path in (inputs.before, inputs.after))
        self._old = LabelReader(inputs.old, self.grid, crosswalk) if inputs.old is not None else None
        for path in (inputs.probability, inputs.confidence_before, inputs.confidence_after):
            if path is not None:
                self._check_grid(path)
                _check_probabilities(path)

    def strips(self) -> Iterator[Window]:
        """Windows of whole rows that cover the grid from the top; they bound the memory of a job."""
        whole = full_window(self.grid)
        rows = max(1, _STRIP_PIXELS // whole.width)
        rows = rows // _TILE * _TILE or rows
        for row in range(0, whole.height, rows):
            yield Window(row, 0, min(rows, whole.height - row), whole.width)

    def read(self, window: Window) -> PairStrip:
        """A strip of both maps.

        Raises:
            LegendError: a code that is not in the legend.
            RasterError: a file cannot be read.
        """
        before, after = (self._legend.lut[_ids(reader, window)] for reader in self._maps)
        inputs, confidences = self._inputs, None
        if inputs.confidence_before is not None and inputs.confidence_after is not None:
            confidences = _steps(inputs.confidence_before, window), _steps(inputs.confidence_after, window)
        probability = _steps(inputs.probability, window) if inputs.probability is not None else None
        return PairStrip(before, after, confidences, probability)

    def read_old(self, window: Window, before: Bytes) -> Bytes:
        """A strip of the old map as legend ids; the earlier date's, of these indices, where there is no other.

        Raises:
            LegendError: a code that is not in the legend.
            RasterError: a file cannot be read.
        """
        return self._legend.id_lut[before] if self._old is None else _ids(self._old, window)

    def _check_grid(self, path: str) -> None:
        grid = raster_info(path).grid
        if not same_grid(grid, self.grid):
            raise GridError(
                f"is {_described(grid)}, and {self._inputs.before} is {_described(self.grid)}: not the same grid",
                where=path,
                fix="map both dates on one grid",
            )


def read_map(folder: Path, old: str | None = None) -> tuple[ChangeInputs, Legend]:
    """The files in the folder of a finished map of two dates, and its legend.

    Raises:
        JobError: the folder holds no such map.
    """
    record = folder / RECORD
    try:
        config = json.loads(record.read_text())["config"]
        dates, name = (str(config["date_before"]), str(config["date"])), str(config["scene"])
        legend = Legend.from_dict(config["legend"], where=record)
    except (OSError, ValueError, KeyError, TypeError):
        raise JobError(
            "holds no finished map of two dates", where=folder, fix="make one with `mapmend predict --before`"
        ) from None
    return ChangeInputs.of_map(folder, old=old, dates=dates, name=name), legend


def _ids(reader: LabelReader, window: Window) -> Bytes:
    try:
        return reader.read(window)
    except LegendError as fault:
        about_manifests = "label_legend" in (fault.fix or "")
        raise LegendError(fault.what, where=fault.where, fix=_OF_LEGEND if about_manifests else fault.fix) from None


def _check_probabilities(path: str) -> None:
    info = raster_info(path)
    if info.count != 1 or info.dtype != "uint8":
        raise RasterError(
            f"holds {info.count} bands of {info.dtype}, not probabilities",
            where=path,
            fix=f"give one band of uint8 with round({STEPS}·p), nodata {NODATA}",
        )


def _steps(path: str, window: Window) -> Bytes:
    with raster_faults(path):
        steps = handle(path).read(1, window=RasterioWindow(window.col, window.row, window.width, window.height))
    if (steps - np.uint8(STEPS + 1) < NODATA - STEPS - 1).any():  # wraps around: STEPS + 1 to NODATA - 1
        raise RasterError(
            f"holds values above {STEPS}", where=path, fix=f"store probabilities as round({STEPS}·p), nodata {NODATA}"
        )
    result: Bytes = np.asarray(steps)
    return result


def _described(grid: Grid) -> str:
    height, width = (int(n) for n in grid.shape)
    if grid.crs is None:
        return f"{width} × {height} px without CRS"
    epsg = grid.crs.to_epsg()
    x, y = grid.transform.c, grid.transform.f
    return f"{width} × {height} px from {x:.10g}, {y:.10g} in {f'EPSG:{epsg}' if epsg else 'another CRS'}"
