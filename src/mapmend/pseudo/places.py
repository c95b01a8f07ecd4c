"""What pseudo-labels are made of: scenes by name, of a manifest or of a project's prepared sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mapmend.core.errors import LabelError, ManifestError
from mapmend.core.grid import finest
from mapmend.core.legend import Legend
from mapmend.core.manifest import Row
from mapmend.core.provenance import file_stamp
from mapmend.core.sensor import Sensor
from mapmend.data.label_layers import prepare_label
from mapmend.data.sites import PreparedSite
from mapmend.predict.scene import Scene
from mapmend.raster.reading import ImageSource, Reader


@dataclass(frozen=True)
class Place:
    """A scene that gets a label.

    Attributes:
        key: names its folder: the site, and its date where it has one.
        scene: the images that the models read.
        rows: of the manifest, which will point to the label.
        given: the place's own label, ids of the models' legend on the scene's grid, where it has one.
        given_files: what that was made from.
    """

    key: str
    scene: Scene
    rows: tuple[Row, ...]
    given: str | None = None
    given_files: tuple[str, ...] = ()


def image_stamps(places: Sequence[Place]) -> list[list[object]]:
    """What says whether places' images are still the same: of each, its key and the stamps of its files."""
    return [
        [place.key, *(file_stamp(file) for source in place.scene.sources for file in source.files)] for place in places
    ]


def places_of_sites(sites: Sequence[PreparedSite], modalities: Sequence[str]) -> tuple[Place, ...]:
    """Prepared sites that have the images of these modalities; the others are left out.

    Raises:
        ManifestError: none has.
    """
    places = []
    for site in sites:
        images = {image.modality: image.source for image in site.images}
        if not set(modalities) <= set(images):
            continue
        scene = Scene(site.name, tuple(images[name] for name in modalities), site.grid, site.date)
        rows = tuple(
            Row(site.name, site.date, name, source.files, source.valid, split=site.split)
            for name, source in images.items()
        )
        places.append(Place(place_key(site.name, site.date), scene, rows, site.label, site.label_files))
    if not places:
        raise ManifestError(f"no place to be labelled has {' and '.join(modalities)}", fix="check splits and sensors")
    return tuple(places)


def places_of_rows(
    rows: Sequence[Row], cards: Mapping[str, Sensor], legend: Legend, work: Path, *, labels: bool
) -> tuple[Place, ...]:
    """Places of a manifest.

    Args:
        rows: of any sensors; places that lack one of the models' are left out.
        cards: the models' sensor cards by modality.
        legend: the models'.
        work: folder for labels that have to be brought onto a scene's grid.
        labels: whether each place's own label is wanted.

    Raises:
        ManifestError: no place has the images that the models want.
        LabelError: a label is wanted, and a place has none.
        MapmendError: an image or a label cannot be read.
    """
    places = []
    for (site, date), group in groupby(sorted(rows, key=_place), key=_place):
        of_place = tuple(group)
        by_sensor = {row.sensor or next(iter(cards)): row for row in of_place if row.image}
        if not set(cards) <= set(by_sensor):
            continue
        chosen = {name: by_sensor[name] for name in cards}
        sources = tuple(
            ImageSource(row.image, cards[name].band_names, cards[name], row.valid) for name, row in chosen.items()
        )
        grid = finest([Reader(source).grid for source in sources])
        given: str | None = None
        files: tuple[str, ...] = ()
        if labels:
            told = next((row for row in of_place if row.label is not None), None)
            if told is None:
                raise LabelError(f"site '{site}' has no label to agree with", fix="give it a `label`, or leave it out")
            file = work / f"{site}_{date or 'undated'}_label.tif"
            given = str(prepare_label(told, sources[0].files[0], grid, legend, file, None).path)
            files = told.label_files
        places.append(Place(place_key(site, date), Scene(site, sources, grid, date), of_place, given, files))
    if not places:
        there = sorted({row.sensor for row in rows if row.sensor})
        raise ManifestError(
            f"no place has images of {' and '.join(cards)}, which the models read",
            fix=f"its sensors are {', '.join(there) or 'not named'}; name them as in the model's project",
        )
    return tuple(places)


def place_key(site: str, date: str) -> str:
    """The folder of a place below that of the labels."""
    return f"{site}/{date}" if date else site


def _place(row: Row) -> tuple[str, str]:
    return row.site, row.date
