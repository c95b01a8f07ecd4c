"""Windows of images: pixels in their stored type, and which of them are valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from rasterio.windows import Window as RasterioWindow

from mapmend.core.errors import GridError
from mapmend.core.grid import Grid, Window, finest, full_window, windows
from mapmend.core.sensor import QARule, Sensor, check_fit
from mapmend.raster.aligning import Array, Bool, read_onto
from mapmend.raster.bands import (
    ImageSource,
    alpha_band,
    alpha_fault,
    is_plain_mask,
    match_bands,
    resolve_bands,
    taken_for_alpha,
)
from mapmend.raster.labels import LabelReader
from mapmend.raster.opening import RasterInfo, handle, raster_faults, raster_info
from mapmend.raster.placement import Placement, overlap, place
from mapmend.raster.radar import Backscatter
from mapmend.raster.sparse import never_written

__all__ = ["ImageSource", "LabelReader", "Reader", "overlap", "refuse_alpha", "resolve_bands"]

_KEPT = ("uint8", "uint16", "int16", "float32")
_RESAMPLINGS = ("nearest", "bilinear", "average")
_PROBED, _PROBES = 256, 16  # side and number of the windows in which a band's nature is looked for


class Reader:
    """Reads windows of an image whose bands may lie in several files, CRSs and resolutions.

    Small, picklable, and safe to use in forked workers and threads: it holds no open file.

    Args:
        source: the files and the bands wanted.
        grid: the grid to read on; None: that of the finest file.
        resampling: for files on other grids: nearest, bilinear (average where it shrinks) or average.

    Attributes:
        grid: the grid that windows refer to.
        count: number of bands.
        dtype: uint8, uint16, int16 or float32; what fits none of these is read as float32. Radar is read as decibels.
        stored_dtype: of the numbers in the files, of `raw`.

    Raises:
        RasterError: a file cannot be opened.
        SensorError: the files do not have the bands or the number type of the sensor card.
        GridError: a file does not overlap the grid, or lacks a CRS where one is needed.

    Warns:
        NotGeoreferenced: once per file without a place on Earth.
    """

    def __init__(self, source: ImageSource, grid: Grid | None = None, resampling: str = "bilinear") -> None:
        if resampling not in _RESAMPLINGS:
            raise GridError(f"images are not resampled by '{resampling}'", fix=f"use {', '.join(_RESAMPLINGS)}")
        self.source, self._resampling = source, resampling
        infos = {file: raster_info(file) for file in source.files}
        places, quality = match_bands(source, list(infos.values()))
        used = {file: [index for path, index in places if path == file] for file, _ in places}
        for file in used:
            check_fit(source.sensor, where=file, dtype=infos[file].dtype)
        self._backscatter = Backscatter.of(source.sensor)
        self.stored_dtype = _stored_dtype([infos[file].dtype for file in used])
        self.dtype = self.stored_dtype if self._backscatter is None else np.dtype(np.float32)
        self.count = len(places)
        self.grid = grid if grid is not None else finest([infos[file].grid for file in used])
        masks = _masks(source, infos, quality)
        self._masks = tuple((mask, place(mask.grid, self.grid, where=mask.path)) for mask in masks)
        self._layers = tuple(
            _layer(infos[file], bands, [slot for slot, (path, _) in enumerate(places) if path == file], self, masks)
            for file, bands in used.items()
        )

    @property
    def converts(self) -> bool:
        """Whether `read` gives other numbers than the files hold."""
        return self._backscatter is not None

    def read(self, window: Window) -> tuple[Array, Bool]:
        """Pixels and validity of a window, as `raw`; of radar in decibels, filtered, invalid where nothing came back.

        Raises:
            RasterError: a file cannot be read.
        """
        if self._backscatter is None:
            return self.raw(window)
        reach = self._backscatter.reach
        pixels, valid = self._backscatter.decibels(*self.raw(window.pad(reach)))
        inside = slice(reach, reach + window.height), slice(reach, reach + window.width)
        return pixels[:, *inside], valid[inside]

    def raw(self, window: Window) -> tuple[Array, Bool]:
        """Stored numbers and validity of a window, which may reach outside the grid: what is outside is invalid.

        Returns:
            Pixels C×H×W in `stored_dtype`, 0 where invalid, and validity H×W, common to all bands.

        Raises:
            RasterError: a file cannot be read.
        """
        shape = (window.height, window.width)
        valid = np.ones(shape, bool)
        pixels: Array | None = None
        for layer in self._layers:
            values, good = read_onto(
                partial(_read_layer, layer),
                layer.placement,
                window,
                self._resampling,
                len(layer.bands),
                self.stored_dtype,
            )
            valid &= good
            if len(self._layers) == 1 and layer.slots == tuple(range(self.count)):
                pixels = values
                break
            if pixels is None:
                pixels = np.empty((self.count, *shape), self.stored_dtype)
            pixels[list(layer.slots)] = values
        for mask, placement in self._masks:
            valid &= read_onto(partial(_read_mask, mask), placement, window, "nearest", 1, np.uint8)[1]
        assert pixels is not None
        np.copyto(pixels, 0, where=~valid)
        return pixels, valid

    def empty(self, window: Window) -> bool:
        """Whether nothing in a window is valid because nothing was written there; False where that is not certain.

        Raises:
            RasterError: a file cannot be read.
        """
        return any(_is_empty(layer, window) for layer in self._layers)


def refuse_alpha(source: ImageSource) -> None:
    """Refuse an image in which an alpha band would be taken for a band of the sensor.

    The mark alone says little, for many writers put it on the near infrared of any four-band file; the pixels of
    windows spread over the image do: alpha is 0 or the highest number.

    Raises:
        SensorError: there is such a band.
        RasterError: the file cannot be read.
    """
    slots = taken_for_alpha(source)
    if not slots:
        return
    reader = Reader(source)
    if reader.dtype.kind != "u":
        return
    every = list(windows(reader.grid, _PROBED))
    chosen = {round(at) for at in np.linspace(0, len(every) - 1, _PROBES)}
    top, seen = int(np.iinfo(reader.dtype.name).max), [reader.read(every[at]) for at in sorted(chosen)]
    for slot in slots:
        values = np.unique(np.concatenate([pixels[slot][valid] for pixels, valid in seen]))
        if top in values and np.isin(values, (0, top)).all():
            raise alpha_fault(source, slot, top)


@dataclass(frozen=True)
class _Mask:
    """A validity raster or quality band: 0 = invalid, or as the rule says."""

    path: str
    band: int
    nodata: float | None
    rule: QARule | None
    grid: Grid


@dataclass(frozen=True)
class _Layer:
    """The bands that one file gives, and what in it says which pixels are valid."""

    path: str
    bands: tuple[int, ...]
    slots: tuple[int, ...]
    nodata: tuple[tuple[float, ...], ...]
    alpha: int | None
    masked: bool
    dtype: str
    placement: Placement
    masks: tuple[tuple[_Mask, Placement], ...]
    blank: bool  # what was never written is invalid


def _layer(
    info: RasterInfo, bands: Sequence[int], slots: Sequence[int], reader: Reader, masks: Sequence[_Mask]
) -> _Layer:
    sensor = reader.source.sensor
    placement = place(info.grid, reader.grid, where=info.path)
    # Where the layer is warped, what its own grid's mask rules out must not enter a kernel.
    own = [(mask, at) for mask in masks if placement.shift is None and (at := _coinciding(mask, info.grid))]
    return _Layer(
        path=info.path,
        bands=tuple(bands),
        slots=tuple(slots),
        nodata=tuple(_missing(info.nodata[band - 1], sensor) for band in bands),
        alpha=alpha_band(info, bands, sensor),
        masked=info.masked,
        dtype=reader.stored_dtype.name,
        placement=placement,
        masks=tuple(own),
        blank=all(_is_blank(info.nodata[band - 1], sensor) for band in bands),
    )


def _read_layer(layer: _Layer, window: Window) -> tuple[Array, Bool]:
    """A window inside a file, in the file's own pixels."""
    indexes = [*layer.bands, *([layer.alpha] if layer.alpha else [])]
    with raster_faults(layer.path):
        dataset = handle(layer.path)
        area = _rasterio_window(window)
        data = dataset.read(indexes, window=area)
        own_mask = dataset.read_masks(1, window=area) if layer.masked else None
    values, valid = data[: len(layer.bands)], np.ones((window.height, window.width), bool)
    if layer.alpha:
        valid &= data[-1] > 0
    if own_mask is not None:
        valid &= own_mask > 0
    if values.dtype.kind == "f":
        for band in values:
            valid &= np.isfinite(band)
    valid &= ~_is_nodata(values, layer.nodata)
    for mask, placement in layer.masks:
        valid &= read_onto(partial(_read_mask, mask), placement, window, "nearest", 1, np.uint8)[1]
    if values.dtype != layer.dtype:
        with np.errstate(over="ignore", invalid="ignore"):
            values = values.astype(layer.dtype)
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(axis=0)
    return values, valid


def _is_empty(layer: _Layer, window: Window) -> bool:
    if layer.placement.shift is None or layer.placement.zoom != (1, 1) or not layer.blank:
        return False
    own = window.shift(*layer.placement.shift).intersect(full_window(layer.placement.layer))
    return own is None or never_written(layer.path, own, layer.bands)


def _is_nodata(values: Array, nodata: Sequence[tuple[float, ...]]) -> Bool:
    """Where a pixel is missing: one band at its nodata value is enough, but not in 8 bits.

    In 8-bit colour the nodata value (0 or 255 mostly) is also an ordinary value of single bands, so there all bands
    must have it, as in GDAL's own mask of a dataset.
    """
    hits = []
    for band, numbers in zip(values, nodata, strict=True):
        hit = np.zeros(band.shape, bool)
        for number in numbers:
            if band.dtype.kind == "f":
                hit |= band == band.dtype.type(number)
            elif float(number).is_integer() and np.iinfo(band.dtype).min <= number <= np.iinfo(band.dtype).max:
                hit |= band == int(number)
        hits.append(hit)
    combine = np.logical_and if values.dtype == np.uint8 else np.logical_or
    result: Bool = combine.reduce(hits)
    return result


def _read_mask(mask: _Mask, window: Window) -> tuple[Array, Bool]:
    with raster_faults(mask.path):
        codes = handle(mask.path).read(mask.band, window=_rasterio_window(window))
    valid = mask.rule.valid(codes) if mask.rule is not None else (codes != 0) & np.isfinite(codes)
    if mask.nodata is not None:
        valid &= codes != mask.nodata
    return valid[None].astype(np.uint8), valid


def _masks(source: ImageSource, infos: dict[str, RasterInfo], quality: tuple[str, int] | None) -> list[_Mask]:
    masks = []
    if quality is not None:
        info = infos[quality[0]]
        masks.append(_Mask(*quality, info.nodata[quality[1] - 1], source.sensor.qa, info.grid))
    if source.valid is not None:
        info = raster_info(source.valid)
        rule = None if is_plain_mask(info) else source.sensor.qa
        masks.append(_Mask(source.valid, 1, info.nodata[0], rule, info.grid))
    return masks


def _coinciding(mask: _Mask, grid: Grid) -> Placement | None:
    placement = place(mask.grid, grid, where=mask.path) if mask.grid.crs is not None else None
    return placement if placement is not None and placement.shift is not None else None


def _missing(nodata: float | None, sensor: Sensor) -> tuple[float, ...]:
    numbers = [number for number in (nodata, sensor.nodata) if number is not None and not np.isnan(number)]
    return tuple(dict.fromkeys(float(number) for number in numbers))


def _is_blank(nodata: float | None, sensor: Sensor) -> bool:
    """Whether what GDAL gives for a block that was never written is nodata."""
    given = nodata if nodata is not None else 0.0
    return bool(np.isnan(given)) or given in _missing(nodata, sensor)


def _stored_dtype(names: Sequence[str]) -> np.dtype[np.generic]:
    common = np.result_type(*names)
    if common == np.int8:
        return np.dtype(np.int16)
    return common if common.name in _KEPT else np.dtype(np.float32)


def _rasterio_window(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)
