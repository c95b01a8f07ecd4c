"""Values outside what the sensor card allows, and which unit they are likely in."""

from __future__ import annotations

import numpy as np

from mapmend.core.errors import MapmendError
from mapmend.core.sensor import Sensor
from mapmend.doctor.finding import Finding, from_fault
from mapmend.doctor.sampling import spread
from mapmend.raster.reading import ImageSource, Reader, refuse_alpha

_STRAY = 0.01  # `prepare` refuses from here on
_CHANGES = {
    "reflectance of 0 to 1": "{{card: {card}, scale: 1, offset: 0, valid_range: [0, 2], dtypes: [float32]}}",
    "decibels": "{{card: {card}, unit: dB, valid_range: [-100, 60], dtypes: [float32]}}",
    "linear backscatter": "convert it with 10·log10, or {{card: {card}, unit: power, valid_range: [0, 1000]}}",
    "8-bit numbers": "use the product as delivered, or a card for 8 bits, e.g. `rgb` or `png`",
    "reflectance times 10 000": "{{card: {card}, scale: 0.0001, offset: 0, valid_range: [0, 20000]}}",
    "kelvin": "{{card: {card}, unit: K, valid_range: [150, 400]}}",
}


def values(source: ImageSource) -> list[Finding]:
    """Whether an image has the card's bands, none of them an alpha band, its number type, and values in its range."""
    where, sensor = source.files[0], source.sensor
    try:
        reader = Reader(source)
        refuse_alpha(source)
        windows = [reader.read(window) for window in spread(reader.grid)]
    except MapmendError as fault:
        return [from_fault(fault, "sensor card", where)]
    inside = np.concatenate([pixels[:, valid] for pixels, valid in windows], axis=1)
    if not inside.shape[1]:
        return [Finding("error", "empty", "has no valid pixel in a sample of it", where, "check nodata and masks")]
    return out_of_range(inside, sensor, where)


def out_of_range(pixels: np.ndarray, sensor: Sensor, where: str) -> list[Finding]:
    """Findings about valid pixels C×N of the card's bands."""
    low, high = float(pixels.min()), float(pixels.max())
    lowest, highest = sensor.valid_range or (-np.inf, np.inf)
    share = float(((pixels < lowest) | (pixels > highest)).any(0).mean())
    unit = likely_unit(pixels, sensor.kind)
    not_db = sensor.unit == "dB" and 0 <= low < high
    tiny = sensor.scale == 0.0001 and unit == "reflectance of 0 to 1"
    if not share and not not_db and not tiny:
        return []
    told = f"{share:.1%} of its pixels are" if share else "its pixels are not"
    place = (
        f"outside {lowest:g} to {highest:g} of card '{sensor.name}'"
        if share
        else f"in the unit of card '{sensor.name}'"
    )
    guess = f"; they look like {unit}" if unit else ""
    what = f"{told} {place}: values {low:.4g} to {high:.4g}{guess}"
    change = _CHANGES.get(unit, "declare the image's nodata value, or override `valid_range` of the card")
    grave = share > _STRAY or not_db or tiny
    return [
        Finding("error" if grave else "note", "units", what, where, change.format(card=sensor.name) if grave else "")
    ]


def likely_unit(pixels: np.ndarray, kind: str) -> str:
    """The unit that values of any shape are most likely in; "" where there is no telling."""
    low, middle, high = np.percentile(pixels.astype(np.float64), (1, 50, 99))
    if pixels.dtype == np.uint8:
        return "8-bit numbers"
    if low < 0 and low > -60 and high < 30 and (kind == "radar" or middle < -1):
        return "decibels"
    if kind == "radar" and low >= 0 and middle < 5:
        return "linear backscatter"
    if pixels.dtype.kind == "f" and low > -0.2 and high <= 1.6:
        return "reflectance of 0 to 1"
    if low > 180 and high < 350 and pixels.dtype.kind == "f":
        return "kelvin"
    whole = bool((pixels == np.rint(pixels)).all())
    if whole and low >= 0 and high <= 255 and pixels.max() <= 255:
        return "8-bit numbers"
    return "reflectance times 10 000" if whole and low >= 0 and 300 < high <= 20_000 else ""
