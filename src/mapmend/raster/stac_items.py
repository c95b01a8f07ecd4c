"""Images that STAC items, collections and searches name: which of an item's assets hold a sensor's bands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from mapmend.core.errors import RasterError
from mapmend.core.sensor import Band, Sensor
from mapmend.raster.bands import ImageSource
from mapmend.raster.remote import fetch, is_remote

_IMAGES = ("image/tiff", "image/jp2", "image/png", "image/jpeg")
_DATE = len("2024-05-17")


@dataclass(frozen=True)
class StacImage:
    """An item's image.

    Attributes:
        source: the files with the bands of a sensor card, and with its quality band where the item has that.
        date: YYYY-MM-DD, or "" where the item has none.
        clouds: percent of the image, or None where the item does not say it.
    """

    source: ImageSource
    date: str
    clouds: float | None


def stac_images(path: str | Path, card: Sensor) -> list[StacImage]:
    """The images of an item, of a FeatureCollection of items (a search's answer), or of a collection's items.

    Args:
        path: a JSON file, here or elsewhere; its links and assets are followed from where it lies.
        card: the sensor; an asset is taken where its name, or a band that it lists, is one of the card's bands, or
            where it is the item's only image.

    Raises:
        RasterError: it is no STAC, cannot be read, names no item, or an item lacks bands of the card.
    """
    return [StacImage(_source(item, where, card), _date(item), _clouds(item)) for item, where in _items(path)]


def _items(path: str | Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every item, and where it lies."""
    plain, where = _read(path), _address(path)
    kind = plain.get("type")
    if kind == "Feature":
        yield plain, where
        return
    if kind == "FeatureCollection":
        each: Iterator[tuple[Mapping[str, Any], str]] = ((item, where) for item in plain.get("features", ()))
    elif kind in ("Collection", "Catalog"):
        links = [link["href"] for link in plain.get("links", ()) if link.get("rel") == "item" and "href" in link]
        each = ((_read(href), href) for href in (_joined(where, link) for link in links))
    else:
        raise RasterError(
            "is no STAC item, collection or search", where=path, fix="give an item's JSON file, or images"
        )
    found = list(each)
    if not found:
        raise RasterError("names no item", where=path, fix="give an item's JSON file, or images")
    yield from found


def _source(item: Mapping[str, Any], where: str, card: Sensor) -> ImageSource:
    assets = {
        key: asset
        for key, asset in item.get("assets", {}).items()
        if "href" in asset and str(asset.get("type", "image/tiff")).split(";")[0].strip() in _IMAGES
    }
    name = f"{where} ({item.get('id', 'item')})"
    quality = _quality(assets, card)
    images = {k: asset for k, asset in assets.items() if k not in quality and "data" in asset.get("roles", ["data"])}
    chosen: dict[str, None] = {}
    for band in card.bands:
        keys = [key for key, asset in images.items() if _holds(key, asset, band)]
        if keys:
            chosen.setdefault(keys[0])
        elif len(images) != 1:
            has = ", ".join(list(images)[:12]) or "no image"
            raise RasterError(
                f"has no band '{band.name}' (its assets: {has})", where=name, fix="give the files by name"
            )
    files = [_joined(where, assets[key]["href"]) for key in (*(chosen or images), *quality)]
    return ImageSource(tuple(files), card.band_names, card)


def _quality(assets: Mapping[str, Any], card: Sensor) -> list[str]:
    """The asset of the card's quality band alone; none where an image holds that too, or nothing does."""
    if card.qa is None:
        return []
    rule = Band(card.qa.band)
    held = [key for key, asset in assets.items() if _holds(key, asset, rule)]
    return [key for key in held if not any(_holds(key, assets[key], band) for band in card.bands)][:1]


def _holds(key: str, asset: Mapping[str, Any], band: Band) -> bool:
    """Whether an asset is, or lists, a band; by its key, its bands' names and common names (STAC 1.0 and 1.1)."""
    listed: Sequence[Mapping[str, Any]] = [*asset.get("bands", ()), *asset.get("eo:bands", ())]
    words = [one.get(name, "") for one in listed for name in ("name", "common_name", "eo:common_name")]
    return any(word and band.answers_to(str(word)) for word in (words if listed else [key]))


def _date(item: Mapping[str, Any]) -> str:
    told = item.get("properties", {})
    return str(told.get("datetime") or told.get("start_datetime") or "")[:_DATE]


def _clouds(item: Mapping[str, Any]) -> float | None:
    told = item.get("properties", {}).get("eo:cloud_cover")
    return float(told) if isinstance(told, int | float) else None


def _read(path: str | Path) -> Mapping[str, Any]:
    try:
        plain = json.loads(fetch(path))
    except ValueError:
        plain = None
    if not isinstance(plain, dict):
        raise RasterError("is no JSON object", where=path, fix="give a STAC item's JSON file, or images")
    return plain


def _address(path: str | Path) -> str:
    return str(path) if is_remote(path) else str(Path(path).absolute())


def _joined(where: str, href: str) -> str:
    """A link as it is meant at the place where it stands."""
    if is_remote(href) or Path(href).is_absolute():
        return href
    if is_remote(where):
        return urljoin(where, href)
    return str(Path(where).parent / href)
