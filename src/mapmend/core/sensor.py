"""Sensor cards: what the bands of an image are, and which values in it are to be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from mapmend.core.errors import SensorError
from mapmend.core.plain import given_file, parse, read_yaml, shipped, suggestion

_STRICT = ConfigDict(extra="forbid")
_MEANING = ("kind", "unit", "scale", "offset", "clip", "speckle", "looks")  # of stored numbers
RADAR_UNITS = ("dB", "power", "amplitude")
_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@dataclass(frozen=True)
class Band:
    """A band: the product's name for it, its central wavelength, and the name it shares with other sensors' bands."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    wavelength_nm: float | None = None
    common_name: str = ""

    def answers_to(self, name: str) -> bool:
        """Whether `name` means this band: its own or common name, whatever the case; B2 means B02."""
        return _normal(name) in (_normal(self.name), _normal(self.common_name or self.name))


@dataclass(frozen=True)
class QARule:
    """Which pixels a quality band rules out.

    Attributes:
        kind: `classes`: the listed codes are invalid (Sentinel-2 SCL); `bits`: any listed bit, counted from 0, that
            is set makes a pixel invalid (Landsat QA_PIXEL).
        band: name of the quality band.
        invalid: the codes or the bits.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    kind: Literal["classes", "bits"]
    band: str
    invalid: tuple[int, ...]

    def __post_init__(self) -> None:
        highest = 62 if self.kind == "bits" else math.inf
        if not self.invalid or not all(0 <= number <= highest for number in self.invalid):
            raise SensorError(f"qa lists {self.invalid} as invalid {self.kind}", fix="list what is invalid, from 0 on")

    def valid(self, codes: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
        """Where the codes, of any shape and any integer or floating type, leave a pixel valid; NaN does not."""
        finite = np.isfinite(codes)
        whole = np.where(finite, codes, 0).astype(np.int64)
        if self.kind == "bits":
            bad = (whole & sum(1 << bit for bit in set(self.invalid))) != 0
        else:
            bad = np.isin(whole, self.invalid)
        result: npt.NDArray[np.bool_] = finite & ~bad
        return result


@dataclass(frozen=True)
class Sensor:
    """What a model and a reader must know of an image.

    Attributes:
        name: short name.
        bands: in the order of a file that holds them all.
        title: what a reader calls it.
        kind: optical, radar or generic; the bands of a generic card may be named at will.
        unit: of the value that scale and offset give; of radar dB, power or amplitude, which are read as decibels.
        scale: value = stored number · scale + offset.
        offset: see scale.
        valid_range: lowest and highest stored number that can be data.
        gsd: pixel size in metres of the finest band.
        nodata: stored number that marks missing data, also where a file does not say so.
        qa: rule for the product's quality band.
        dtypes: stored number types that fit; empty: all.
        clip: of radar, least and largest decibels that are told apart; None for limits wider than any terrain.
        speckle: of radar, the filter that its images go through when they are read: none, lee or refined_lee.
        looks: of radar, the equivalent number of looks, by which such a filter knows how strong speckle is.
        licence: licence of the images and the attribution it asks for.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    bands: tuple[Band, ...]
    title: str = ""
    kind: Literal["optical", "radar", "generic"] = "generic"
    unit: str = "DN"
    scale: float = 1.0
    offset: float = 0.0
    valid_range: tuple[float, float] | None = None
    gsd: float | None = None
    nodata: float | None = None
    qa: QARule | None = None
    dtypes: tuple[str, ...] = ()
    clip: tuple[float, float] | None = None
    speckle: Literal["none", "lee", "refined_lee"] = "none"
    looks: float = 4.0
    licence: str = ""

    def __post_init__(self) -> None:
        where = f"sensor '{self.name}'"
        names = [_normal(band.name) for band in self.bands]
        if not names:
            raise SensorError("has no bands", where=where, fix="list their names in `bands`")
        for band in self.bands:
            if names.count(_normal(band.name)) > 1:
                raise SensorError(f"band '{band.name}' is given twice", where=where, fix="name each band once")
        for dtype in self.dtypes:
            if dtype not in _DTYPES:
                raise SensorError(f"dtype '{dtype}' is unknown", where=where, fix=suggestion(dtype, _DTYPES))
        self._check_radar(where)
        if self.valid_range is not None and not self.valid_range[0] < self.valid_range[1]:
            raise SensorError("valid_range is empty", where=where, fix="give [lowest, highest]")
        if not self.scale or not math.isfinite(self.scale) or not math.isfinite(self.offset):
            raise SensorError("scale and offset give no values", where=where, fix="scale must not be 0")
        if self.nodata is not None and math.isnan(self.nodata):
            object.__setattr__(self, "nodata", None)  # NaN is never data, and would make equal cards differ

    def _check_radar(self, where: str) -> None:
        if self.kind != "radar":
            if self.clip is not None or self.speckle != "none":
                raise SensorError(
                    "clip and speckle are of radar", where=where, fix="write kind: radar, or leave them out"
                )
            return
        if self.unit not in RADAR_UNITS:
            raise SensorError(
                f"is radar, and its unit '{self.unit}' does not say what the numbers are",
                where=where,
                fix="write unit: dB, power or amplitude (what 8-bit images mostly hold)",
            )
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise SensorError("clip is empty", where=where, fix="give [least, largest] decibels")
        if not self.looks > 0:
            raise SensorError("looks must be above 0", where=where, fix="a Sentinel-1 GRD image has about 4")

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in their order."""
        return tuple(band.name for band in self.bands)

    def select(self, names: Sequence[str]) -> Sensor:
        """The card with these bands, in this order; `answers_to` says what a name may be.

        Raises:
            SensorError: a name that no band answers to (the nearest is named).
        """
        return replace(self, bands=tuple(self._band(name) for name in names))

    def differs_in(self, other: Sensor) -> str | None:
        """In what stored numbers mean, the first thing that the cards disagree about; None where they agree."""
        return next((name for name in _MEANING if getattr(self, name) != getattr(other, name)), None)

    def to_dict(self) -> dict[str, object]:
        """Plain values, as in the YAML file; what is of radar alone is left out where it has its default."""
        left_out = (("clip", None), ("speckle", "none"), ("looks", 4.0))
        return {name: value for name, value in asdict(self).items() if (name, value) not in left_out}

    @classmethod
    def from_dict(cls, plain: Mapping[str, object], *, where: str | Path | None = None) -> Self:
        """The inverse of `to_dict`; a band may also be given by its name alone.

        Raises:
            SensorError: a key or a value that does not fit.
        """
        bands = plain.get("bands")
        if isinstance(bands, list | tuple):
            plain = {**plain, "bands": [{"name": band} if isinstance(band, str) else band for band in bands]}
        known = dict.fromkeys(field.name for kind in (cls, Band, QARule) for field in fields(kind))
        return parse(cls, dict(plain), known, where=where, error=SensorError)

    def _band(self, name: str) -> Band:
        for band in self.bands:
            if band.answers_to(name):
                return band
        known = [each for band in self.bands for each in (band.name, band.common_name) if each]
        raise SensorError(
            f"has no band '{name}'", where=f"sensor '{self.name}'", fix=suggestion(name, dict.fromkeys(known))
        )


def load_sensor(spec: str | Path | Mapping[str, object], base: Path | None = None) -> Sensor:
    """A sensor card by its shipped name, from a YAML file, or as written in a project.

    In a project: `{card: NAME OR FILE, bands: [...], ...}`, where `bands` renames the bands of a generic card (any
    number of them) and selects those of the others, and other keys replace the card's; or all keys of a card.

    Raises:
        SensorError: an unknown card, band or key (the nearest is named), or a value that does not fit.
    """
    if isinstance(spec, Mapping):
        return _adapted(spec, base)
    path = given_file(spec, base)
    if path is not None:
        plain = read_yaml(path, SensorError)
        return _adapted({"name": path.stem, **plain}, path.parent, where=path)
    cards = shipped("sensors")
    if str(spec) not in cards:
        raise SensorError(f"sensor '{spec}' is unknown", fix=f"{suggestion(str(spec), cards)} (or give a YAML file)")
    plain = read_yaml(cards[str(spec)], SensorError)
    return Sensor.from_dict({"name": str(spec), **plain}, where=f"sensor '{spec}'")


def shipped_sensors() -> list[str]:
    """Names of the sensor cards that come with the package."""
    return list(shipped("sensors"))


def check_fit(
    sensor: Sensor,
    *,
    where: str | Path,
    count: int | None = None,
    dtype: str | None = None,
    low: float | None = None,
    high: float | None = None,
) -> None:
    """Refuse an image that is not what the card describes; what is not given is not checked.

    Args:
        sensor: the card.
        where: named in errors.
        count: bands of the image.
        dtype: its stored number type.
        low: lowest valid stored number.
        high: highest valid stored number.

    Raises:
        SensorError: it does not fit.
    """
    card = f"sensor card '{sensor.name}'"
    if count is not None and count != len(sensor.bands):
        raise SensorError(
            f"has {count} bands, {card} wants {len(sensor.bands)} ({', '.join(sensor.band_names)})",
            where=where,
            fix="name the bands it has in the project's `sensors`, with `bands:`",
        )
    if dtype is not None and sensor.dtypes and dtype not in sensor.dtypes:
        raise SensorError(
            f"holds {dtype}, {card} wants {' or '.join(sensor.dtypes)}",
            where=where,
            fix="use the product as delivered, or override `dtypes`, `scale` and `offset` of the card",
        )
    if sensor.unit == "dB" and low is not None and high is not None and 0 <= low < high:
        raise SensorError(
            f"has values {low:g} to {high:g}, none below 0: linear backscatter, not the dB of {card}",
            where=where,
            fix="convert it with 10·log10, or override `unit` and `valid_range` of the card",
        )
    lowest, highest = sensor.valid_range or (-math.inf, math.inf)
    if (low is not None and low < lowest) or (high is not None and high > highest):
        found = " to ".join("?" if value is None else f"{value:g}" for value in (low, high))
        raise SensorError(
            f"has values {found}, outside the {lowest:g} to {highest:g} of {card}",
            where=where,
            fix="declare the image's nodata value, or override `valid_range` of the card",
        )


def _adapted(plain: Mapping[str, object], base: Path | None, *, where: str | Path = "sensors") -> Sensor:
    card_name, changes = plain.get("card"), {key: value for key, value in plain.items() if key != "card"}
    if card_name is None:
        return Sensor.from_dict(changes, where=where)
    if not isinstance(card_name, str | Path):
        raise SensorError("'card' is not a name", where=where, fix=suggestion("", shipped_sensors()))
    card, bands = load_sensor(card_name, base), changes.pop("bands", None)
    if bands is not None:
        if not isinstance(bands, list | tuple) or not bands:
            raise SensorError("'bands' is not a list of names", where=where, fix="write bands: [red, green, blue]")
        if card.kind == "generic":
            changes["bands"] = bands
        elif all(isinstance(name, str) for name in bands):
            card = card.select(bands)
        else:
            raise SensorError("'bands' must be names", where=where, fix=suggestion("", card.band_names))
    return Sensor.from_dict({**card.to_dict(), **changes}, where=where)


def _normal(name: str) -> str:
    text = name.strip().casefold()
    letters = text.rstrip("0123456789")
    return letters + str(int(text[len(letters) :])) if letters != text else text
