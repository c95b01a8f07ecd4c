"""From stored pixels to colours on a screen."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mapmend.core.sensor import Band

_EMPTY = 225  # light grey, as paper
_ENOUGH = 1_000_000  # pixels from which percentiles are taken
_RGB_NM = (660.0, 560.0, 490.0)
_NEAR_NM = 50.0


def display_bands(bands: Sequence[Band]) -> tuple[int, ...]:
    """Which bands to show: red, green and blue by wavelength or by name, else the first three, else the first alone."""
    by_name = [
        next((i for i, band in enumerate(bands) if band.name == name), None) for name in ("red", "green", "blue")
    ]
    by_wavelength = [_nearest(bands, wanted) for wanted in _RGB_NM]
    for found in (by_wavelength, by_name):
        indices = [index for index in found if index is not None]
        if len(set(indices)) == 3:
            return tuple(indices)
    return (0, 1, 2) if len(bands) >= 3 else (0,)


def stretch(
    pixels: npt.NDArray[np.generic],
    valid: npt.NDArray[np.bool_],
    bands: Sequence[int] = (0, 1, 2),
    *,
    percentiles: tuple[float, float] = (2.0, 98.0),
) -> npt.NDArray[np.uint8]:
    """Colours for an image, each band from its 2nd to its 98th percentile over the valid pixels.

    Args:
        pixels: C×H×W, as stored.
        valid: H×W; the other pixels become light grey.
        bands: three indices into C for red, green and blue, or one for grey; with fewer than three bands, the first.
        percentiles: shown as black and as white.

    Returns:
        H×W×3 uint8.
    """
    return stretch_alike([(pixels, valid)], bands, percentiles=percentiles)[0]


def stretch_alike(
    images: Sequence[tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]],
    bands: Sequence[int] = (0, 1, 2),
    *,
    percentiles: tuple[float, float] = (2.0, 98.0),
) -> list[npt.NDArray[np.uint8]]:
    """Colours for images of one sensor which compare: the percentiles are those of all their valid pixels together.

    Args:
        images: pixels C×H×W and validity H×W of each; see `stretch`, also for the other arguments.
        bands: as of `stretch`.
        percentiles: as of `stretch`.
    """
    shown = [index for index in bands if index < len(images[0][0])]
    shown = shown if len(shown) == 3 else shown[:1] or [0]
    chosen = [pixels[shown].astype(np.float32) for pixels, _ in images]
    goods = [valid & np.isfinite(part).all(0) for part, (_, valid) in zip(chosen, images, strict=True)]
    colours = [np.full((*good.shape, 3), _EMPTY, np.uint8) for good in goods]
    if not any(good.any() for good in goods):
        return colours
    for channel in range(3):
        parts = [part[channel % len(shown)][good] for part, good in zip(chosen, goods, strict=True)]
        known = np.concatenate(parts)
        low, high = np.percentile(known[:: 1 + known.size // _ENOUGH], percentiles)
        for part, good, picture in zip(parts, goods, colours, strict=True):
            # a constant band has no contrast to show: middle grey
            scaled = (part - low) / (high - low) if high > low else np.full_like(part, 0.5)
            picture[good, channel] = np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return colours


def _nearest(bands: Sequence[Band], wanted: float) -> int | None:
    distances = [
        (abs(band.wavelength_nm - wanted), index) for index, band in enumerate(bands) if band.wavelength_nm is not None
    ]
    distance, index = min(distances, default=(np.inf, 0))
    return index if distance <= _NEAR_NM else None
