"""Which band of which file is which band of the sensor card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mapmend.core.errors import SensorError
from mapmend.core.sensor import Band, Sensor
from mapmend.raster.opening import RasterInfo, raster_info
from mapmend.raster.remote import stem

_COLOURS = ("red", "green", "blue", "nir")
_PLAIN_MASK = "valid"  # a validity raster so named is a mask even where the sensor has a rule for a quality band


@dataclass(frozen=True)
class ImageSource:
    """The files of one image and what is wanted from them.

    Attributes:
        files: one file with all bands, or several that hold them between them.
        bands: names of the bands wanted, in order.
        sensor: the sensor card.
        valid: a validity raster (0 = invalid) or the sensor's quality band, or None.
    """

    files: tuple[str, ...]
    bands: tuple[str, ...]
    sensor: Sensor
    valid: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(str(file) for file in self.files))
        object.__setattr__(self, "bands", tuple(self.bands))
        if not self.files or not self.bands:
            raise SensorError("an image needs at least one file and one band", fix="name them in the manifest")


@dataclass(frozen=True)
class _Held:
    """A band that a file holds: file, index from 1, description, the words in the file's name, colour."""

    file: str
    index: int
    name: str
    words: tuple[str, ...]
    colour: str

    def means(self, band: Band) -> bool:
        if self.name:
            return band.answers_to(self.name)
        return any(band.answers_to(word) for word in self.words) or band.answers_to(self.colour)


def resolve_bands(source: ImageSource) -> tuple[tuple[str, int], ...]:
    """(file, band index from 1) of every wanted band.

    By the bands' descriptions, by their colours, by the names of single-band files; where nothing is named, by order:
    all bands of the card, or all wanted ones.

    Raises:
        SensorError: the files do not have these bands; the message says what they have and what the card wants.
        RasterError: a file cannot be opened.
    """
    return match_bands(source, [raster_info(file) for file in source.files])[0]


def match_bands(
    source: ImageSource, infos: Sequence[RasterInfo]
) -> tuple[tuple[tuple[str, int], ...], tuple[str, int] | None]:
    """As `resolve_bands`, with the band of the files that the card's quality rule is for, if there is one.

    Raises:
        SensorError: as `resolve_bands`.
    """
    wanted = source.sensor.select(source.bands).bands
    # the names of a generic card are given in the files' order, so colours must not reorder them
    held = _held(infos, () if source.sensor.kind == "generic" else _COLOURS)
    rule = source.sensor.qa
    quality = next((one for one in held if rule and one.means(Band(rule.band))), None)
    held = [one for one in held if one is not quality]
    opaque = [one for one in held if one.colour != "alpha"]
    found = [[one for one in opaque if one.means(band)] for band in wanted]
    for band, ones in zip(wanted, found, strict=True):
        if len(ones) > 1:
            raise SensorError(
                f"band '{band.name}' is in {_listed(ones)}", where=source.files[0], fix="give the file with one of them"
            )
    chosen = [one for ones in found for one in ones]
    if len(chosen) < len(wanted):
        chosen = _by_order(source, wanted, held, opaque)
    place = (quality.file, quality.index) if quality else None
    return tuple((one.file, one.index) for one in chosen), place


def taken_for_alpha(source: ImageSource) -> tuple[int, ...]:
    """Places, among the wanted bands, of those that their file marks as alpha."""
    infos = {file: raster_info(file) for file in source.files}
    places, _ = match_bands(source, list(infos.values()))
    return tuple(slot for slot, (file, index) in enumerate(places) if _is_alpha(infos[file], index))


def alpha_fault(source: ImageSource, slot: int, top: int) -> SensorError:
    """What is wrong where a wanted band is an alpha band, of a file whose highest number is `top`."""
    return SensorError(
        f"an alpha band (0 and {top} alone) would be taken for '{source.bands[slot]}' of sensor card "
        f"'{source.sensor.name}'",
        where=source.files[0],
        fix=f"use a card of {len(source.bands) - 1} bands: alpha then says what is valid",
    )


def alpha_band(info: RasterInfo, used: Sequence[int], sensor: Sensor) -> int | None:
    """The index of a file's alpha band if that says what is valid; None where it is a band of the sensor.

    Many writers mark the fourth band of any four-band file as alpha, near infrared included.
    """
    marked = [index for index in range(1, info.count + 1) if _is_alpha(info, index)]
    return None if not marked or marked[0] in used or info.count == len(sensor.bands) else marked[0]


def _is_alpha(info: RasterInfo, index: int) -> bool:
    """Whether a band is marked as alpha and its description does not say otherwise."""
    return info.colorinterp[index - 1] == "alpha" and info.band_names[index - 1].lower() in ("", "alpha")


def is_plain_mask(info: RasterInfo) -> bool:
    """Whether a validity raster says by its name that 0 is invalid and all else valid."""
    return _PLAIN_MASK in (info.band_names[0].lower(), *(word.lower() for word in _words(info.path)))


def _by_order(
    source: ImageSource, wanted: Sequence[Band], held: Sequence[_Held], opaque: Sequence[_Held]
) -> list[_Held]:
    card = source.sensor.bands
    named = any(one.means(band) for one in opaque for band in card if one.name or one.words)
    for bands in (card, wanted):
        for ones in (opaque, held):
            if len(ones) == len(bands) and not named:
                return [ones[bands.index(band)] for band in wanted]
    more = f" and {len(source.files) - 1} more" if len(source.files) > 1 else ""
    raise SensorError(
        f"has {len(opaque)} bands ({_listed(opaque)}), "
        f"sensor card '{source.sensor.name}' wants {', '.join(band.name for band in wanted)}",
        where=f"{source.files[0]}{more}",
        fix="give the missing bands, or name the ones it has in the project's `sensors`, with `bands:`",
    )


def _held(infos: Sequence[RasterInfo], colours: Sequence[str]) -> list[_Held]:
    held = []
    for info in infos:
        kinds = [
            "alpha" if _is_alpha(info, index) else colour if colour in colours else ""
            for index, colour in enumerate(info.colorinterp, 1)
        ]
        single = len(infos) > 1 and len(kinds) - kinds.count("alpha") == 1
        for index, (name, kind) in enumerate(zip(info.band_names, kinds, strict=True), 1):
            words = _words(info.path) if single and kind != "alpha" else ()
            held.append(_Held(info.path, index, name, words, kind))
    return held


def _words(path: str) -> tuple[str, ...]:
    """The words of a file's name, and runs of two: `..._SR_B4.TIF` holds SR, B4 and SR_B4."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", stem(path)) if word]
    return (*words, *(f"{a}_{b}" for a, b in zip(words, words[1:], strict=False)))


def _listed(held: Sequence[_Held]) -> str:
    texts = [one.name or (f"{Path(one.file).name}" if one.words else one.colour or f"#{one.index}") for one in held]
    return ", ".join(texts[:8]) + (" …" if len(texts) > 8 else "")
