"""Tiled GeoTIFFs written window by window, and the COGs that a map is delivered as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

from mapmend.core.errors import DiskError, GridError, RasterError
from mapmend.core.grid import Grid, Window, full_window
from mapmend.core.legend import Legend
from mapmend.raster.atomic import check_disk, staged
from mapmend.raster.cog import check_written, write_cog, write_faults
from mapmend.raster.placement import gdal_crs
from mapmend.raster.style import write_category_names, write_qml

__all__ = ["TiledWriter", "check_disk", "write_category_names", "write_cog", "write_qml"]

_TILE = 512


class TiledWriter:
    """Writes a tiled GeoTIFF window by window; a context manager.

    The file appears at `path`, whole and synced, when the context ends without an error, and not at all otherwise.

    Args:
        path: the file; one that exists is replaced at the end.
        grid: its grid.
        count: number of bands.
        dtype: number type.
        nodata: value that marks missing data; windows never written hold it too.
        compress: zstd, deflate, lzw or none.
        band_names: description of each band.
        tags: metadata of the file.
        legend: for a class raster: its colour table, and its names in `<path>.aux.xml`.
        quick: with zstd: compress with the least effort, for a file that will not stay.

    Raises:
        DiskError: the disk is full.
        RasterError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        count: int,
        dtype: npt.DTypeLike,
        nodata: float | None = None,
        compress: str = "zstd",
        band_names: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        legend: Legend | None = None,
        *,
        quick: bool = False,
    ) -> None:
        self.path, self.grid, self.count, self.dtype = Path(path), grid, count, np.dtype(dtype)
        self._legend, self._names, self._tags = legend, tuple(band_names), dict(tags or {})
        self._profile = {
            "driver": "GTiff",
            "height": int(grid.shape[0]),
            "width": int(grid.shape[1]),
            "count": count,
            "dtype": self.dtype.name,
            "nodata": nodata,
            "crs": gdal_crs(grid) if grid.crs is not None else None,
            "transform": grid.transform,
            "tiled": True,
            "blockxsize": _TILE,
            "blockysize": _TILE,
            "bigtiff": "IF_SAFER",
            "interleave": "pixel",
            **_compression(compress, self.dtype),
            **({"zstd_level": 1} if quick else {}),
        }
        self._dataset: Any = None
        self._leave = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            part = stack.enter_context(staged(self.path))
            stack.enter_context(self._opened(part))
            self._leave = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.__exit__(kind, error, trace)

    def write(self, window: Window, pixels: npt.NDArray[Any]) -> None:
        """Write C×H×W pixels, or H×W for a single band; the window must lie inside the grid.

        Raises:
            GridError: the window reaches outside, or the pixels have another shape.
            DiskError: the disk is full.
            RasterError: the file cannot be written.
        """
        pixels = pixels[None] if pixels.ndim == 2 else pixels
        if window.intersect(full_window(self.grid)) != window:
            raise GridError(f"window {window} lies outside the grid {tuple(self.grid.shape)}", where=self.path)
        if pixels.shape != (self.count, window.height, window.width):
            raise GridError(f"pixels of shape {pixels.shape} do not fill {window}", where=self.path)
        check_disk(self.path, pixels.nbytes)  # GDAL keeps blocks back, and would lose them when it closes the file
        with write_faults(self.path):
            area = RasterioWindow(window.col, window.row, window.width, window.height)
            self._dataset.write(pixels.astype(self.dtype, copy=False), window=area)

    @contextmanager
    def _opened(self, part: Path) -> Iterator[None]:
        with write_faults(self.path):
            self._dataset = rasterio.open(part, "w", **self._profile)
        try:
            with write_faults(self.path):
                self._describe()
            yield
        except BaseException:
            with suppress(RasterError, DiskError):
                self._close()
            raise
        self._close()
        check_written(part, self.path)
        if self._legend is not None:
            write_category_names(self.path, self._legend)

    def _close(self) -> None:
        with write_faults(self.path):
            self._dataset.close()

    def _describe(self) -> None:
        for index, name in enumerate(self._names, 1):
            self._dataset.set_band_description(index, name)
        if self._tags:
            self._dataset.update_tags(**self._tags)
        if self._legend is not None:
            self._dataset.write_colormap(1, self._legend.colormap())
            self._dataset.colorinterp = (ColorInterp.palette, *self._dataset.colorinterp[1:])
        else:
            # what is fourth is no alpha, whatever GDAL makes of it
            self._dataset.colorinterp = (ColorInterp.gray, *[ColorInterp.undefined] * (self.count - 1))


def _compression(name: str, dtype: np.dtype[Any]) -> dict[str, object]:
    if name == "none":
        return {}
    predictor = 3 if dtype.kind == "f" else 2 if dtype.itemsize > 1 else 1
    return {"compress": name, "predictor": predictor}
