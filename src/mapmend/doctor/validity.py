"""Which pixels of a raster are data: nodata, alpha, and fills that nobody declared."""

from __future__ import annotations

import numpy as np

from mapmend.doctor.finding import Finding
from mapmend.doctor.sampling import corners, missing
from mapmend.raster.opening import RasterInfo

_COLLAR = 0.005  # share of the sampled pixels from which on a fill is told
_SHOWN = 0.001


def collar(info: RasterInfo, pixels: np.ndarray, expected: float | None = None) -> list[Finding]:
    """A constant fill from a corner inwards that no nodata value, mask or alpha band declares.

    Args:
        info: the raster.
        pixels: C×N, a sample of it.
        expected: what the sensor card takes for nodata in any case.
    """
    if info.masked or "alpha" in info.colorinterp:
        return []
    lowest = np.iinfo(pixels.dtype).min if pixels.dtype.kind in "iu" else -9999
    highest = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else -32768
    for value in dict.fromkeys((0, 255 if pixels.dtype == np.uint8 else highest, lowest, -9999)):
        declared = value == expected or all(nodata == value for nodata in info.nodata)
        share = float((pixels == value).all(0).mean())
        if declared or not _COLLAR <= share < 1:
            continue
        if any((corner == value).all() for corner in corners(info)):
            what = f"{share:.1%} of its pixels are {value} in all bands, from a corner inwards: a fill taken for data"
            fix = f"gdal_edit -a_nodata {value} {info.path}"
            return [Finding("warning", "missing nodata", what, info.path, fix)]
    return []


def legal_nodata(info: RasterInfo, pixels: np.ndarray) -> list[Finding]:
    """A nodata value that measurements have too, as 0 and 255 have in 8 bits."""
    declared = [nodata for nodata in info.nodata if nodata is not None]
    if info.dtype != "uint8" or not declared:
        return []
    if info.count == 1:
        what = (
            f"declares {declared[0]:g} as nodata, which an 8-bit band may well measure: those pixels count as missing"
        )
        return [Finding("note", "8-bit nodata", what, info.path, "use a mask band if the value is real")]
    single = ((pixels == declared[0]).any(0) & ~missing(info, pixels)).mean()
    if single < _SHOWN:
        return []
    what = (
        f"declares {declared[0]:g} as nodata, and {single:.1%} of its pixels have it in some bands: they count as data"
    )
    return [Finding("note", "8-bit nodata", what, info.path, "nothing to do: only all bands at once are missing")]


def alpha(info: RasterInfo, pixels: np.ndarray) -> list[Finding]:
    """A band that is marked as alpha, or looks like one and is not marked."""
    if "alpha" in info.colorinterp:
        band = info.colorinterp.index("alpha") + 1
        varied = len(np.unique(pixels[band - 1])) > 8
        if varied:
            what = (
                f"marks band {band} as alpha, and it holds measurements: it is taken for data where the card wants it"
            )
            return [Finding("note", "alpha", what, info.path, f"gdal_edit -colorinterp_{band} undefined {info.path}")]
        return [Finding("note", "alpha", f"band {band} is alpha: it says which pixels are valid", info.path)]
    if info.count not in (2, 4) or info.band_names[-1]:
        return []
    top = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    last = pixels[-1]
    others_vary = any(len(np.unique(band)) > 2 for band in pixels[:-1])
    if others_vary and np.isin(last, (0, top)).all() and (last == top).mean() > 0.5:
        held = f"{top:g} alone" if (last == top).all() else f"0 and {top:g}"
        what = f"band {info.count} holds {held}: an alpha band taken for data"
        fix = f"gdal_edit -colorinterp_{info.count} alpha {info.path}, and use a card of {info.count - 1} bands"
        return [Finding("warning", "alpha", what, info.path, fix)]
    return []


def nothing_there(info: RasterInfo, pixels: np.ndarray) -> list[Finding]:
    """Files, or bands of them, without a value that differs."""
    present = pixels[:, ~missing(info, pixels)]
    if not present.shape[1]:
        return [
            Finding("error", "empty", "has no valid pixel in a sample of it", info.path, "check nodata and content")
        ]
    bands = [str(number) for number, band in enumerate(present, 1) if (band == band[0]).all()]
    if len(bands) == len(present) == 1 or not bands:
        return [] if not bands else [_constant(f"is {present[0, 0]:g} everywhere it was sampled", info.path)]
    return [_constant(f"band {', '.join(bands)} is constant where it was sampled", info.path)]


def _constant(what: str, path: str) -> Finding:
    return Finding("warning", "constant", what, path, "check how the file was made")
