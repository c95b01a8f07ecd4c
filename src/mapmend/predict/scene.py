"""What is to be mapped: the images of one place, of one date or two, on the grid of the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mapmend.core.errors import GridError, ManifestError, SensorError
from mapmend.core.grid import Grid, Window, finest
from mapmend.core.sensor import Sensor, check_fit
from mapmend.predict.prior import LabelPrior
from mapmend.raster.mosaic import MosaicReader, Piece, Placed
from mapmend.raster.reading import ImageSource, Reader, refuse_alpha
from mapmend.raster.remote import stem
from mapmend.raster.vector import load_aoi
from mapmend.raster.zones import Zone

Pixels = npt.NDArray[np.generic]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """The images of one place.

    Attributes:
        name: what the user calls it.
        sources: one per modality, in the model's order.
        grid: of the map; images on another grid are warped to it.
        date: of the sources, or "".
        aoi: vector file outside of which the map has no data, or None.
        before: the same modalities at an earlier date; empty where one date is mapped.
        date_before: of these, or "".
        mosaic: of one modality at one date, all its images, the first that is valid at a pixel first; `sources` then
            holds the first of them. Empty for a single image.
        absent: place and number of bands of each of the model's modalities that there is no image of; `sources` has the
            others.
        partial: whether a pixel is mapped where any modality is valid; else all have to be.
        zone: UTM zone outside of which the map has no data, or None.
        prior: what the place's label says of the classes; None where the image alone counts.
    """

    name: str
    sources: tuple[ImageSource, ...]
    grid: Grid
    date: str = ""
    aoi: str | None = None
    before: tuple[ImageSource, ...] = ()
    date_before: str = ""
    mosaic: tuple[Piece, ...] = ()
    absent: tuple[tuple[int, int], ...] = ()
    partial: bool = False
    zone: Zone | None = None
    prior: LabelPrior | None = None

    @property
    def every(self) -> tuple[ImageSource, ...]:
        """All images, the earlier date's first."""
        return (*self.before, *((piece.source for piece in self.mosaic) if self.mosaic else self.sources))

    @property
    def dates(self) -> int:
        """How many dates are mapped: 1 or 2."""
        return 2 if self.before else 1


class SceneReader:
    """Reads all modalities of all dates of a scene, stacked, the earlier date first; for use in one thread.

    Raises:
        MapmendError: a source or the area of interest cannot be read.
    """

    def __init__(self, scene: Scene) -> None:
        self._readers: list[Reader | MosaicReader]
        if scene.mosaic:
            self._readers = [MosaicReader(scene.mosaic, scene.grid)]
        else:
            self._readers = [Reader(source, scene.grid) for source in (*scene.before, *scene.sources)]
        self._slots: list[Reader | MosaicReader | int] = list(self._readers)  # bands alone, where there is no image
        for place, bands in sorted(scene.absent):
            self._slots.insert(place, bands)
        self.dates, self.partial = scene.dates, scene.partial
        self._areas = [load_aoi(scene.aoi, scene.grid)] if scene.aoi is not None else []
        self._areas += [scene.zone.area(scene.grid)] if scene.zone is not None else []

    @cached_property
    def dtype(self) -> np.dtype[np.generic]:
        """The smallest type that holds every modality's stored numbers."""
        return np.result_type(*(reader.dtype for reader in self._readers))

    @property
    def dtypes(self) -> list[str]:
        """The stored type of every image."""
        return [str(np.dtype(reader.stored_dtype)) for reader in self._readers]

    @property
    def counts(self) -> list[int]:
        """Bands of every modality."""
        return [slot if isinstance(slot, int) else slot.count for slot in self._slots]

    def read(self, window: Window) -> tuple[Pixels, Bool]:
        """Pixels C×H×W in the stored type, all images stacked, and validity M×H×W, one layer per image."""
        pixels = np.zeros((sum(self.counts), window.height, window.width), self.dtype)
        valid = np.zeros((len(self._slots), window.height, window.width), bool)
        start = 0
        for number, (slot, count) in enumerate(zip(self._slots, self.counts, strict=True)):
            if not isinstance(slot, int):
                pixels[start : start + count], valid[number] = slot.read(window)
            start += count
        return pixels, valid

    def empty(self, window: Window) -> bool:
        """Whether at no date anything in a window is valid, as far as that is known without reading it."""
        if self.partial:
            return all(reader.empty(window) for reader in self._readers)
        each = len(self._readers) // self.dates
        return all(
            any(reader.empty(window) for reader in self._readers[date * each : (date + 1) * each])
            for date in range(self.dates)
        )

    def inside(self, window: Window) -> Bool:
        """Where a window lies in the area of interest and the zone, H×W; everywhere if there is neither."""
        result = np.ones((window.height, window.width), bool)
        for area in self._areas:
            result &= area.mask(window)
        return result

    @property
    def bounds(self) -> Window | None:
        """The window that holds the area of interest, or else the zone; None if there is neither."""
        return self._areas[0].bounds if self._areas else None


def check_sensors(scene: Scene, cards: Sequence[Sensor]) -> None:
    """Refuse a scene that the model was not made for.

    Args:
        scene: what is to be mapped.
        cards: the model's sensor cards, one per modality in its order.

    Raises:
        SensorError: another number of images, other bands, stored numbers of another meaning or type, or alpha.
    """
    absent = [place for place, _ in scene.absent] if scene.partial else []
    cards = [card for place, card in enumerate(cards) if place not in absent]
    for sources in (scene.before, scene.sources) if scene.before else (scene.sources,):
        if len(sources) != len(cards):
            raise SensorError(
                f"has {len(sources)} images, the model wants {len(cards)} ({', '.join(card.name for card in cards)})",
                where=f"scene '{scene.name}'",
                fix="give one image per sensor of the model",
            )
    for piece in scene.mosaic[1:]:
        check_sensors(replace(scene, sources=(piece.source,), mosaic=()), cards)
    every = (*scene.before, *scene.sources)
    for source, card, dtype in zip(every, (*cards,) * scene.dates, SceneReader(scene).dtypes, strict=True):
        where = source.files[0]
        if tuple(source.bands) != card.band_names:
            raise SensorError(
                f"has bands {', '.join(source.bands)}; the model wants {', '.join(card.band_names)} in this order",
                where=where,
                fix="map with a model trained on these bands, or select the model's bands",
            )
        name = source.sensor.differs_in(card)
        if name is not None:
            theirs, ours = getattr(source.sensor, name), getattr(card, name)
            raise SensorError(
                f"its sensor card '{source.sensor.name}' has {name} {theirs}, the model's '{card.name}' has {ours}",
                where=where,
                fix="use the card the model was trained with",
            )
        check_fit(card, where=where, dtype=dtype)
        refuse_alpha(source)


def scene_of_files(
    files: Sequence[str],
    cards: Sequence[Sensor],
    aoi: str | None = None,
    before: Sequence[str] = (),
    *,
    absent: Sequence[int] = (),
) -> Scene:
    """A scene from image files: one per card, or, for a single card, all files that hold its bands.

    The map's grid is that of the finest image; the scene is named after the first file.

    Args:
        files: of the date that is mapped.
        cards: the model's sensor cards.
        aoi: vector file outside of which the map has no data.
        before: files of an earlier date, to be mapped together with it.
        absent: places of the cards that there is no file of.

    Raises:
        SensorError: another number of files than cards, or files without the cards' bands.
        ManifestError: a file is given for both dates.
        GridError: the dates do not overlap.
    """
    again = {Path(file).absolute() for file in files} & {Path(file).absolute() for file in before}
    if again:
        raise ManifestError("is given for both dates", where=min(again), fix="give an image of each date")
    lacking = tuple((place, len(cards[place].band_names)) for place in absent)
    cards = [card for place, card in enumerate(cards) if place not in absent]
    after_sources, before_sources = _sources(files, cards), _sources(before, cards) if before else ()
    grid = finest([Reader(source).grid for source in (*after_sources, *before_sources)])
    return Scene(stem(files[0]), after_sources, grid, aoi=aoi, before=before_sources, absent=lacking)


def mosaic_of_files(
    files: Sequence[str], cards: Sequence[Sensor], aoi: str | None = None, *, placed: Placed | None = None
) -> Scene:
    """A scene of many images of one sensor.

    Args:
        files: of which the first that is valid at a pixel counts there; with `placed`, only for the name.
        cards: the model's sensor cards; one.
        aoi: vector file outside of which the map has no data.
        placed: the images, and the grid they go onto; by default the files on the first one's grid.

    Raises:
        SensorError: the model wants several sensors, or an image does not fit.
        GridError: an image has no CRS, or none touches the grid.
    """
    if len(cards) != 1:
        raise SensorError(f"a mosaic is of one sensor, the model wants {len(cards)}", fix="map one place at a time")
    if placed is None:
        placed = Placed(tuple(ImageSource((file,), cards[0].band_names, cards[0]) for file in files))
    pieces = placed.pieces()
    name = stem(files[0]) if placed.zone is None else f"{stem(files[0])}_{placed.zone.name}"
    return Scene(name, (pieces[0].source,), placed.grid, aoi=aoi, mosaic=pieces, zone=placed.zone)


def scenes_of_zones(files: Sequence[str], cards: Sequence[Sensor], aoi: str | None, placed: Placed) -> list[Scene]:
    """A mosaic's scene for each UTM zone that its images lie in, and the area of interest if there is one.

    Arguments and errors as of `mosaic_of_files`.
    """
    scenes, outside = [], None
    for of_zone in placed.by_zone():
        try:
            scene = mosaic_of_files(files, cards, aoi, placed=of_zone)
            SceneReader(scene)
        except GridError as fault:  # its images touch the zone with a corner alone, or the area lies in another one
            outside = fault
        else:
            scenes.append(scene)
    if not scenes and outside is not None:
        raise outside
    return scenes


def _sources(files: Sequence[str], cards: Sequence[Sensor]) -> tuple[ImageSource, ...]:
    if len(cards) > 1 and len(files) != len(cards):
        raise SensorError(
            f"{len(files)} image files, the model wants {len(cards)} ({', '.join(card.name for card in cards)})",
            fix="give one per sensor of the model, in this order",
        )
    groups = [(file,) for file in files] if len(cards) > 1 else [tuple(files)]
    return tuple(ImageSource(group, card.band_names, card) for group, card in zip(groups, cards, strict=True))
