"""Sums over the pixels of an image, and the statistics and faults that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mapmend.core.errors import RasterError
from mapmend.core.grid import Window, windows
from mapmend.core.sensor import Sensor, check_fit
from mapmend.core.thinning import evenly
from mapmend.data.sites import BandStatistics
from mapmend.raster.bands import ImageSource, alpha_fault, taken_for_alpha
from mapmend.raster.reading import Reader

_SURVEYED = 256  # side of the windows that are looked at where not all are
_STRAY = 0.01  # share of pixels that may lie outside the sensor's range: glints, saturated roofs
_OPAQUE = 0.0005  # of a band whose values are all 0 or the highest, the mean of v · (top - v) lies below this · top²


@dataclass(frozen=True)
class BandSums:
    """Sums from which `BandStatistics` follow; they add up over windows."""

    count: int
    pixels: int
    outside: int
    total: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray


def survey(reader: Reader, most: int = 64) -> BandSums:
    """Statistics from at most `most` windows, evenly spread over the grid."""
    every = list(windows(reader.grid, _SURVEYED))
    chosen = evenly(every, most)
    return add([sums_at(reader, window, *reader.raw(window)) for window in chosen])


def sums_at(reader: Reader, window: Window, stored: np.ndarray, valid: np.ndarray) -> BandSums:
    """Sums of a window: of what networks read, with the stored numbers' extremes, by which an image fits its card.

    Args:
        reader: of the image.
        window: of its grid.
        stored: what `reader.raw` gives there, C×H×W.
        valid: and its validity, H×W.
    """
    if not reader.converts:
        return sums_of(stored, valid, reader.source.sensor)
    pixels, valid = reader.read(window)
    sums = sums_of(pixels, valid, reader.source.sensor)
    return replace(sums_of(stored, valid, reader.source.sensor), total=sums.total, squares=sums.squares)


def sums_of(pixels: np.ndarray, valid: np.ndarray, sensor: Sensor) -> BandSums:
    """Sums of pixels C×H×W over where they are valid, H×W."""
    values = pixels[:, valid].astype(np.float64)
    if not values.size:
        nothing = np.zeros(len(pixels))
        return BandSums(0, valid.size, 0, nothing, nothing, nothing + np.inf, nothing - np.inf)
    lowest, highest = sensor.valid_range or (-np.inf, np.inf)
    outside = int(((values < lowest) | (values > highest)).any(0).sum())
    moments = values.sum(1), (values**2).sum(1), values.min(1), values.max(1)
    return BandSums(values.shape[1], valid.size, outside, *moments)


def add(parts: Sequence[BandSums]) -> BandSums:
    """The sums over all windows from those over each."""
    return BandSums(
        sum(part.count for part in parts),
        sum(part.pixels for part in parts),
        sum(part.outside for part in parts),
        np.sum([part.total for part in parts], axis=0),
        np.sum([part.squares for part in parts], axis=0),
        np.min([part.low for part in parts], axis=0),
        np.max([part.high for part in parts], axis=0),
    )


def finish(sums: BandSums, source: ImageSource, dtype: np.dtype[Any]) -> BandStatistics:
    """Statistics from sums.

    Args:
        sums: over the whole image, or over windows spread over it.
        source: the image.
        dtype: type of its pixels.

    Raises:
        RasterError: nothing in it is valid.
        SensorError: its values do not fit the sensor card, or a band is no measurement but an alpha band.
    """
    if sums.count == 0:
        raise RasterError("has no valid pixel", where=source.files[0], fix="check nodata, mask and quality band")
    if sums.outside > _STRAY * sums.count:
        check_fit(source.sensor, where=source.files[0], low=float(sums.low.min()), high=float(sums.high.max()))
    if dtype.kind == "u":
        _refuse_alpha(sums, source, int(np.iinfo(dtype).max))
    mean = sums.total / sums.count
    std = np.sqrt(np.maximum(sums.squares / sums.count - mean**2, 0))
    return BandStatistics(
        sums.count,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        low=tuple(sums.low.tolist()),
        high=tuple(sums.high.tolist()),
        valid_share=sums.count / sums.pixels,
    )


def _refuse_alpha(sums: BandSums, source: ImageSource, top: int) -> None:
    """Refuse a wanted band that its file marks as alpha and that holds 0 and the highest value alone.

    The mark alone says little: many writers put it on the near infrared of any four-band file.
    """
    for slot in taken_for_alpha(source):
        if top * sums.total[slot] - sums.squares[slot] <= _OPAQUE * top**2 * sums.count:
            raise alpha_fault(source, slot, top)
