"""Prepared sites: places whose images and labels lie on one grid, ready to be read window by window."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from mapmend.core.durable import replace_json
from mapmend.core.errors import JobError
from mapmend.core.grid import Grid, grid_from_dict, grid_to_dict, ground_pixel_size
from mapmend.core.legend import Legend, load_legend
from mapmend.core.sensor import Sensor
from mapmend.raster.reading import ImageSource

CHANGE = load_legend("change")
"""What changed: its indices and ids are 0, unchanged, and 1, changed."""
_FILES = ("label", "label_rows", "reference")


@dataclass(frozen=True)
class BandStatistics:
    """Moments of the valid pixels of an image, one entry a band, in stored units."""

    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    valid_share: float

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, after JSON."""
        mean, std, low, high = (tuple(plain[name]) for name in ("mean", "std", "low", "high"))
        return cls(plain["count"], mean, std, low, high, plain["valid_share"])


@dataclass(frozen=True)
class PreparedImage:
    """One sensor's image of one date on its site's grid; `modality` is the sensor's name in the project."""

    modality: str
    source: ImageSource
    statistics: BandStatistics


@dataclass(frozen=True)
class PreparedSite:
    """All images of a site at one date, and the label, on the site's grid.

    Attributes:
        label: class raster in the project's legend on `grid`, or None.
        label_gsd: the label's own pixel size in metres, where it is known to differ from the grid's.
        label_counts: labelled pixels per class, in the legend's order.
        label_grid: the label's own grid, where its pixels are larger and its file shows them.
        label_rows: raster of places in `label_shares`, where the label's product has a table of mixtures.
        label_shares: what each of the product's codes holds of each class.
        label_files: what the label was made from.
        label_confidence: raster of how sure the label is, round(200·p), 255 where nobody knows; or None.
        reference: class raster for scoring alone, or None.
        change: what changed between the site's first and last date, 0 or 1 on `grid`, where a row of this date says it.
    """

    name: str
    date: str
    grid: Grid
    images: tuple[PreparedImage, ...]
    label: str | None = None
    label_gsd: float | None = None
    label_counts: tuple[int, ...] = ()
    label_grid: Grid | None = None
    label_rows: str | None = None
    label_shares: tuple[tuple[float, ...], ...] = ()
    label_files: tuple[str, ...] = ()
    label_confidence: str | None = None
    trust: str = "noisy"
    split: str = ""
    reference: str | None = None
    change: str | None = None

    @property
    def sources(self) -> tuple[ImageSource, ...]:
        """The images' sources, one a modality."""
        return tuple(image.source for image in self.images)

    @property
    def label_ratio(self) -> float | None:
        """The label's own pixel in pixels of the image; None where nobody knows it."""
        side = math.prod(ground_pixel_size(self.grid)) ** 0.5
        if self.label_grid is not None:
            return math.prod(ground_pixel_size(self.label_grid)) ** 0.5 / side
        return None if self.label_gsd is None else self.label_gsd / side


@dataclass(frozen=True)
class Prepared:
    """What `prepare` leaves behind for every later step."""

    sites: tuple[PreparedSite, ...]
    legend: Legend

    @property
    def labelled(self) -> tuple[PreparedSite, ...]:
        """Sites that may be trained or validated on."""
        return tuple(site for site in self.sites if site.label is not None and site.split != "test")

    def of_dates(self, which: str) -> tuple[PreparedSite, ...]:
        """Each site at its `latest` date, or at `all` of them."""
        if which == "all":
            return self.sites
        last = {site.name: site for site in sorted(self.sites, key=lambda site: site.date)}
        return tuple(last[name] for name in dict.fromkeys(site.name for site in self.sites))


def channel_statistics(sites: Sequence[PreparedSite]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, stored units, pooled over all valid pixels of the sites."""
    means: list[float] = []
    stds: list[float] = []
    for images in zip(*(site.images for site in sites), strict=True):
        parts = [image.statistics for image in images]
        count = sum(part.count for part in parts)
        for band in range(len(parts[0].mean)):
            mean = sum(p.count * p.mean[band] for p in parts) / count
            square = sum(p.count * (p.std[band] ** 2 + p.mean[band] ** 2) for p in parts) / count
            means.append(mean)
            stds.append(math.sqrt(max(square - mean**2, 0.0)) or 1.0)
    return tuple(means), tuple(stds)


def save_prepared(prepared: Prepared, path: Path) -> None:
    """Write the description of prepared sites as JSON, atomically; paths below the file's folder become relative."""
    folder = path.parent
    plain = {
        "legend": prepared.legend.to_dict(),
        "sites": [_site_to_dict(site, folder) for site in prepared.sites],
    }
    replace_json(path, plain)


def load_prepared(path: Path) -> Prepared:
    """The inverse of `save_prepared`.

    Raises:
        JobError: the file is missing or was not written by `prepare`.
    """
    if not path.is_file():
        raise JobError("nothing is prepared here", where=path.parent, fix="run `mapmend prepare` first")
    try:
        plain = json.loads(path.read_text())
        sites = tuple(_site_from_dict(site, path.parent) for site in plain["sites"])
        return Prepared(sites, Legend.from_dict(plain["legend"], where=path))
    except (ValueError, KeyError, TypeError) as error:
        raise JobError(
            f"cannot be read ({error!r})", where=path, fix="delete it and run `mapmend prepare` again"
        ) from None


def _site_to_dict(site: PreparedSite, folder: Path) -> dict[str, object]:
    plain = {name: getattr(site, name) for name in ("name", "date", "label_gsd", "label_counts", "trust", "split")}
    images = [
        {
            "modality": image.modality,
            "files": [_relative(file, folder) for file in image.source.files],
            "bands": image.source.bands,
            "sensor": image.source.sensor.to_dict(),
            "valid": _relative(image.source.valid, folder),
            "statistics": asdict(image.statistics),
        }
        for image in site.images
    ]
    files: dict[str, object] = {name: _relative(getattr(site, name), folder) for name in _FILES}
    files["label_files"] = [_relative(file, folder) for file in site.label_files]
    if site.label_confidence is not None:
        files["label_confidence"] = _relative(site.label_confidence, folder)
    if site.change is not None:
        files["change"] = _relative(site.change, folder)
    if site.label_shares:
        files["label_shares"] = site.label_shares
    if site.label_grid is not None:
        files["label_grid"] = grid_to_dict(site.label_grid)
    return {**plain, **files, "grid": grid_to_dict(site.grid), "images": images}


def _site_from_dict(plain: Mapping[str, Any], folder: Path) -> PreparedSite:
    images = tuple(
        PreparedImage(
            image["modality"],
            ImageSource(
                tuple(str(folder.absolute() / file) for file in image["files"]),
                tuple(image["bands"]),
                Sensor.from_dict(image["sensor"]),
                _absolute(image["valid"], folder),
            ),
            BandStatistics.from_dict(image["statistics"]),
        )
        for image in plain["images"]
    )
    return PreparedSite(
        plain["name"],
        plain["date"],
        grid_from_dict(plain["grid"]),
        images,
        label=_absolute(plain["label"], folder),
        label_grid=grid_from_dict(plain["label_grid"]) if "label_grid" in plain else None,
        label_rows=_absolute(plain["label_rows"], folder),
        label_shares=tuple(tuple(row) for row in plain.get("label_shares", ())),
        label_files=tuple(str(folder.absolute() / file) for file in plain.get("label_files", ())),
        label_confidence=_absolute(plain.get("label_confidence"), folder),
        label_gsd=plain["label_gsd"],
        label_counts=tuple(plain["label_counts"]),
        trust=plain["trust"],
        split=plain["split"],
        reference=_absolute(plain["reference"], folder),
        change=_absolute(plain.get("change"), folder),
    )


def _relative(path: str | None, folder: Path) -> str | None:
    if path is None:
        return None
    absolute = Path(path).absolute()
    inside = absolute.is_relative_to(folder.absolute())
    return str(absolute.relative_to(folder.absolute()) if inside else absolute)


def _absolute(path: str | None, folder: Path) -> str | None:
    return None if path is None else str(folder.absolute() / path)
