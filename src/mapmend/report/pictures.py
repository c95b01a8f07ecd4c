"""The sites a page shows: their pictures as text, at the largest size at which all of them together stay small."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from mapmend.core.legend import Legend
from mapmend.report.change_layers import all_layers
from mapmend.report.data import SitePanel
from mapmend.report.figures import KINDS, Layer

MOST_SITES = 6
_PICTURE_BYTES = 1_700_000  # of all pictures together; written as text they take a third more
_LARGEST, _PROBE, _LEAST = 720, 240, 160  # pixels of a picture's long side
_JPEG_QUALITY = 84


@dataclass(frozen=True)
class ScaleBar:
    """A bar of `share` of a picture's width that stands for `text` on the ground."""

    share: float
    text: str


@dataclass(frozen=True, eq=False)
class Picture:
    """A layer and the address (data URI) of its picture; without an address it is what this date lacks."""

    layer: Layer
    uri: str


@dataclass(frozen=True, eq=False)
class PictureGroup:
    """Pictures that belong together: all of a site of one date; else those of a date, or of the change.

    `pictures` has None where the other date has a layer that this one lacks, so that both stand in the same order.
    """

    name: str
    title: str
    pictures: tuple[Picture | None, ...]


@dataclass(frozen=True, eq=False)
class ShownSite:
    """A site as the page shows it."""

    site: SitePanel
    groups: tuple[PictureGroup, ...]
    scale: ScaleBar | None

    @property
    def ids(self) -> frozenset[int]:
        """Legend ids of the classes that its pictures show."""
        layers = (picture.layer for group in self.groups for picture in group.pictures if picture is not None)
        return frozenset(key for layer in layers for key in layer.ids)


def shown_sites(sites: Sequence[SitePanel], legend: Legend, room: int = _PICTURE_BYTES) -> list[ShownSite]:
    """The first few sites, their pictures together of at most `room` bytes as far as they can be read then."""
    chosen = sites[:MOST_SITES]
    return [_shown_site(site, legend, min(room, _PICTURE_BYTES) // len(chosen)) for site in chosen]


def scale_bar(width: int, pixel_size: float | None) -> ScaleBar | None:
    """The longest round length that takes at most 30 % of a picture of so many pixels of so many metres."""
    if not pixel_size or not math.isfinite(pixel_size) or pixel_size <= 0:
        return None
    ground = width * pixel_size
    power = 10.0 ** math.floor(math.log10(0.3 * ground))
    length = max(step * power for step in (1, 2, 5) if step * power <= 0.3 * ground)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return ScaleBar(length / ground, text)


def _shown_site(site: SitePanel, legend: Legend, budget: int) -> ShownSite:
    """The site at the largest size at which its pictures fit the budget."""
    layers = all_layers(site, legend)
    # a small try first, for to press noise is slow; at best, bytes go with the side
    tried = sum(len(_encode(layer.draw(_PROBE))[1]) for layer in layers)
    side = max(_LEAST, min(_LARGEST, _PROBE * budget // max(tried, 1)))
    while True:
        encoded = [_encode(layer.draw(side)) for layer in layers]
        size = sum(len(content) for _, content in encoded)
        if size <= budget or side == _LEAST:
            break
        # at worst they go with the area, a little less than in proportion
        side = max(_LEAST, int(0.95 * side * math.sqrt(budget / size)))
    pictures = [
        Picture(layer, f"data:image/{kind};base64,{base64.b64encode(content).decode()}")
        for layer, (kind, content) in zip(layers, encoded, strict=True)
    ]
    return ShownSite(site, _groups(pictures), scale_bar(site.valid.shape[1], site.pixel_size))


def _groups(pictures: Sequence[Picture]) -> tuple[PictureGroup, ...]:
    by_group = {name: [p for p in pictures if p.layer.group == name] for name in ("", "before", "after", "change")}
    if by_group[""] or not pictures:
        return (PictureGroup("", "", tuple(pictures)),)
    of_dates = {
        name: {picture.layer.kind.removesuffix("_before"): picture for picture in by_group[name]}
        for name in ("before", "after")
    }
    kinds = [kind for kind in KINDS if any(kind in found for found in of_dates.values())]
    groups = [
        PictureGroup(
            name,
            next((f"{name.capitalize()}: {p.layer.date}" for p in found.values()), name.capitalize()),
            tuple(found.get(kind) for kind in kinds),
        )
        for name, found in of_dates.items()
    ]
    return (*groups, PictureGroup("change", "Change", tuple(by_group["change"])))


def _encode(picture: Image.Image) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    if picture.mode == "P":
        picture.save(buffer, "PNG", compress_level=8)
        return "png", buffer.getvalue()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "jpeg", buffer.getvalue()
