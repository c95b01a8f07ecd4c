"""The images of `predict`: files here and elsewhere, what STAC items name, and of a mosaic the rows of a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mapmend.core.errors import ManifestError, SensorError
from mapmend.core.manifest import parse_manifest

if TYPE_CHECKING:
    from mapmend.cli.options import Rule
    from mapmend.core.sensor import Sensor
    from mapmend.raster.mosaic import Placed
    from mapmend.raster.stac_items import StacImage


def images_of(inputs: Sequence[Path], cards: Sequence[Sensor]) -> tuple[list[str], str]:
    """The files of a scene, and its date where a STAC item says it.

    Args:
        inputs: image files, or one STAC item (JSON).
        cards: the model's sensor cards.

    Raises:
        SensorError: an item, and the model wants several sensors.
        ManifestError: it names several images, or not it alone is given.
        RasterError: it cannot be read.
    """
    from mapmend.raster.remote import with_slashes

    items = [path for path in inputs if path.suffix.lower() == ".json"]
    if not items:
        return [with_slashes(path) for path in inputs], ""
    if len(cards) != 1:
        raise SensorError(
            f"an item's images are of one sensor, the model wants {len(cards)}", where=items[0], fix="give image files"
        )
    images = _named(items, cards[0])
    if len(images) != 1 or len(inputs) != 1:
        raise ManifestError(f"name {len(images)} images of one sensor", where=items[0], fix="map them with --mosaic")
    return list(images[0].source.files), images[0].date


def in_order(files: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Files in the order of the model's sensors, and the places of the sensors that none is given of.

    Args:
        files: all of them as they are, in order, or all as NAME=FILE.
        names: of the model's sensors.

    Raises:
        SensorError: some are named and others not, or several are of one sensor.
    """
    split = [file.partition("=") for file in files]
    given = [name for name, mark, _ in split if mark and name in names]
    if not given:
        return list(files), []
    if len(given) != len(files):
        raise SensorError(
            "some images are given as NAME=FILE, others not", where=" ".join(files), fix="name the sensor of each"
        )
    again = next((name for name in given if given.count(name) > 1), None)
    if again is not None and len(names) > 1:
        raise SensorError(f"several images of sensor '{again}'", where=" ".join(files), fix="give one")
    there = sorted(split, key=lambda one: names.index(one[0]))
    return [file for _, _, file in there], [place for place, name in enumerate(names) if name not in given]


def placed_images(
    inputs: Sequence[Path], cards: Sequence[Sensor], rule: Rule, like: Path | None, crs: str, gsd: float | None
) -> Placed:
    """The images, and the grid that they go onto.

    Args:
        inputs: image files, or one manifest (CSV) whose `image`, `valid` and `date` count, or STAC items, collections
            or searches (JSON).
        cards: the model's sensor cards; one.
        rule: first (in the order given), newest (by dates of a manifest or of items) or clearest (by the clouds that
            items tell of); the order decides between equal ones.
        like: raster whose grid is taken.
        crs: of a grid of its own.
        gsd: side of its pixels.

    Raises:
        ManifestError: the manifest is wrong, or dates or shares of clouds are missing.
        SensorError: the model wants several sensors.
        RasterError: the raster cannot be opened, or a STAC file cannot be read.
    """
    from mapmend.raster.bands import ImageSource
    from mapmend.raster.mosaic import Placed
    from mapmend.raster.opening import raster_info
    from mapmend.raster.remote import with_slashes

    if len(cards) != 1:
        raise SensorError(f"a mosaic is of one sensor, the model wants {len(cards)}", fix="map one place at a time")
    grid = raster_info(like).grid if like is not None else None
    items = all(path.suffix.lower() == ".json" for path in inputs)
    if rule == "clearest" and not items:
        where, fix = "--mosaic clearest", "sort them by quality, and use --mosaic first"
        raise ManifestError("only STAC items tell of their clouds", where=where, fix=fix)
    what = fix = ""
    if inputs[0].suffix.lower() == ".csv":
        if not inputs[0].is_file():
            raise ManifestError("no such manifest", where=inputs[0], fix="correct the path")
        rows = parse_manifest(inputs[0].read_text(), where=inputs[0], folder=inputs[0].parent)
        dated = [(row.date, ImageSource(row.image, cards[0].band_names, cards[0], row.valid)) for row in rows]
        what, fix = "an image", "date all, or --mosaic first"
    elif items:
        images = _named(inputs, cards[0])
        if rule == "clearest":
            images = _clearest(images, inputs[0])
        dated = [(image.date, image.source) for image in images]
        what, fix = "an item", "use --mosaic first"
    elif rule == "newest":
        raise ManifestError("files have no dates", where="--mosaic newest", fix="list them in a CSV: site,date,image")
    else:
        dated = [("", ImageSource((with_slashes(path),), cards[0].band_names, cards[0])) for path in inputs]
    if rule == "newest":
        if not all(date for date, _ in dated):
            raise ManifestError(f"has {what} without a date", where=inputs[0], fix=fix)
        dated.sort(key=lambda one: one[0], reverse=True)
    sources = [source for _, source in dated]
    return Placed(tuple(sources), grid, crs, gsd)


def _clearest(images: Sequence[StacImage], where: Path) -> list[StacImage]:
    """Images by how few clouds they have."""
    if any(image.clouds is None for image in images):
        raise ManifestError("has an item without 'eo:cloud_cover'", where=where, fix="use --mosaic first")
    return sorted(images, key=lambda image: image.clouds or 0)


def _named(paths: Sequence[Path], card: Sensor) -> list[StacImage]:
    """What STAC files name, file by file."""
    from mapmend.raster.remote import with_slashes
    from mapmend.raster.stac_items import stac_images

    return [image for path in paths for image in stac_images(with_slashes(path), card)]
