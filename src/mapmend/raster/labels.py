"""Windows of labels: class rasters, colour-coded rasters and polygons as ids of one legend."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window as RasterioWindow

from mapmend.core.crosswalk import Crosswalk
from mapmend.core.errors import GridError, LabelError
from mapmend.core.grid import Grid, Window
from mapmend.core.legend import NODATA
from mapmend.raster.aligning import Array, Bool, read_onto
from mapmend.raster.opening import RasterInfo, handle, raster_faults, raster_info
from mapmend.raster.placement import place
from mapmend.raster.vector import VectorLabels, is_vector

_RESAMPLINGS = ("nearest", "mode")
_COLOURS = ("red", "green", "blue")


class LabelReader:
    """Reads windows of a label as ids of the crosswalk's target legend.

    Small and picklable; holds no open file.

    Args:
        path: a raster of codes, a raster of colours (red, green, blue) of the source legend, or a GeoPackage,
            Shapefile or GeoJSON.
        grid: the grid to read on.
        crosswalk: from the label's codes to the legend.
        resampling: for rasters on other grids: nearest or mode; codes cannot be averaged.
        field: for vectors, the attribute with the class's code or name; None: the only one that has such.
        band: for rasters of several bands, the one with the codes, from 1; None where there is one, or colours.

    Attributes:
        grid: the grid that windows refer to.

    Raises:
        GridError: another resampling, no overlap with the grid, or no CRS where one is needed.
        RasterError: the raster cannot be opened.
        VectorError: the vector file cannot be opened, or has no such field.
        LabelError: a raster with several bands that are no colours, or without the band.
    """

    def __init__(
        self,
        path: str,
        grid: Grid,
        crosswalk: Crosswalk,
        *,
        resampling: str = "nearest",
        field: str | None = None,
        band: int | None = None,
    ) -> None:
        if resampling not in _RESAMPLINGS:
            raise GridError(
                f"labels cannot be resampled by '{resampling}': it invents classes",
                where=path,
                fix="use nearest or mode",
            )
        self.path, self.grid, self.crosswalk, self._resampling = str(path), grid, crosswalk, resampling
        self.band = band
        self._vector = VectorLabels(self.path, grid, crosswalk, field) if is_vector(self.path) else None
        if self._vector is None:
            self._info = raster_info(self.path)
            self._colours = band is None and _is_colour_coded(self._info)
            if band is not None and band > self._info.count:
                raise LabelError(f"has {self._info.count} bands, and not band {band}", where=self.path)
            self._placement = place(self._info.grid, grid, where=self.path, zoomable=True)

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        """Ids H×W of a window, which may reach outside the grid; NODATA where there is no label.

        Raises:
            LegendError: a code, colour or name that the crosswalk does not know.
            RasterError: the file cannot be read.
        """
        if self._vector is not None:
            return self._vector.read(window)
        read = partial(_read_ids, self._info, self._colours, self.crosswalk, self.band or 1)
        ids, labelled = read_onto(read, self._placement, window, self._resampling, 1, np.uint8)
        return np.where(labelled, ids[0], np.uint8(NODATA))

    @property
    def mended(self) -> int:
        """Geometries read so far that were invalid and have been mended."""
        return self._vector.mended if self._vector is not None else 0


def _is_colour_coded(info: RasterInfo) -> bool:
    opaque = [colour for colour in info.colorinterp if colour != "alpha"]
    if len(opaque) == 1:
        return False
    if tuple(opaque) == _COLOURS and info.dtype == "uint8":
        return True
    raise LabelError(
        f"has {len(opaque)} bands and they are no 8-bit colours", where=info.path, fix="give one band of class codes"
    )


def _read_ids(info: RasterInfo, colours: bool, crosswalk: Crosswalk, band: int, window: Window) -> tuple[Array, Bool]:
    """Ids 1×H×W of a window inside the file, and where there is a label."""
    data, valid = read_codes(info, window)
    if colours:
        opacity = np.where(valid, 255, 0)[..., None].astype(np.uint8)
        codes = crosswalk.from_colors(np.concatenate([np.moveaxis(data, 0, -1), opacity], axis=-1), where=info.path)
    else:
        codes = data[band - 1]
    ids = crosswalk.apply(codes, valid, where=info.path)
    return ids[None], ids != NODATA


def read_codes(info: RasterInfo, window: Window) -> tuple[Array, Bool]:
    """Stored numbers C×H×W of a window inside a label's file, alpha left out, and where there is a label, H×W."""
    alpha = info.colorinterp.index("alpha") + 1 if "alpha" in info.colorinterp else None
    data_bands = [index for index in range(1, info.count + 1) if index != alpha]
    area = RasterioWindow(window.col, window.row, window.width, window.height)
    with raster_faults(info.path):
        dataset = handle(info.path)
        data = dataset.read(data_bands, window=area)
        valid = np.ones((window.height, window.width), bool)
        if alpha is not None:
            valid &= dataset.read(alpha, window=area) > 0
        if info.masked:
            valid &= dataset.read_masks(1, window=area) > 0
    missing = np.ones_like(valid)
    for band, index in zip(data, data_bands, strict=True):
        nodata = info.nodata[index - 1]
        missing &= (band == nodata) if nodata is not None else False
    return data, valid & ~missing


def read_values(info: RasterInfo, window: Window) -> Array:
    """Stored numbers H×W of a window inside a raster of one band, whatever they mean."""
    area = RasterioWindow(window.col, window.row, window.width, window.height)
    with raster_faults(info.path):
        values: Array = handle(info.path).read(1, window=area)
    return values
