"""Which maps a project makes: a job per site, of one date or of two; their folders, and the STAC files beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mapmend.change.job import ChangeInputs
from mapmend.core.errors import ManifestError
from mapmend.core.grid import COARSER
from mapmend.core.provenance import RECORD
from mapmend.data.sites import Prepared, PreparedSite, load_prepared
from mapmend.predict.prior import LabelPrior
from mapmend.predict.scene import Scene
from mapmend.project import OLD_IS_BEFORE, Project
from mapmend.raster.reading import ImageSource
from mapmend.raster.stac import ITEM, write_collection, write_item

PREPARED, MAPS, CHANGES = "prepared/prepared.json", "map", "change"


@dataclass(frozen=True)
class MapJob:
    """A map to be made.

    Attributes:
        key: the site's name, with its date where the site is mapped at several dates one by one.
        site: what is mapped.
        folder: of the map.
        before: the same site at the earlier date, where it is mapped together with it.
        change_folder: what `change` makes of such a pair.
    """

    key: str
    site: PreparedSite
    folder: Path
    change_folder: Path
    before: PreparedSite | None = None

    @property
    def mapped(self) -> bool:
        """Whether the map is there."""
        return (self.folder / RECORD).is_file()

    @property
    def compared(self) -> PreparedSite | None:
        """The earlier date, where the finished map has its classes; of a map that is the change itself, None."""
        return self.before if (self.folder / "class_before.tif").is_file() else None

    def scene(self, aoi: Path | None, modalities: Mapping[str, int] | None = None) -> Scene:
        """What the predictor reads.

        Args:
            aoi: area of interest.
            modalities: of the model, with their numbers of bands; of a site that has them all, their images alone.
        """
        wanted = modalities or {}
        there = {image.modality for image in self.site.images}
        lacking = [(place, bands) for place, (name, bands) in enumerate(wanted.items()) if name not in there]
        if len(lacking) == len(wanted):  # other names than the model's
            lacking = []
        read = [name for place, name in enumerate(wanted) if place not in dict(lacking)]
        return Scene(
            self.site.name,
            _chosen(self.site, read),
            self.site.grid,
            self.site.date,
            str(aoi) if aoi is not None else None,
            before=_chosen(self.before, read) if self.before is not None else (),
            date_before=self.before.date if self.before is not None else "",
            absent=tuple(lacking),
        )

    def prior(self, learned: tuple[float, ...], doubt: float) -> LabelPrior | None:
        """What the site's label says of the classes; None where it has none. Arguments as of `LabelPrior`."""
        site = self.site
        if site.label is None:
            return None
        side = site.label_ratio or 1.0
        blur = side / 12**0.5 if side > COARSER else 0.0  # of a place anywhere within the label's pixel
        return LabelPrior(site.label, site.label_rows, site.label_shares, learned, doubt, blur)

    def change_inputs(self, old: str) -> ChangeInputs:
        """What `change` reads of a pair; `old` as in `Project.old_map`."""
        assert self.before is not None
        label = self.before.label
        if label is None and self.site.trust == "outdated":
            label = self.site.label
        return ChangeInputs.of_map(
            self.folder,
            old=None if old == OLD_IS_BEFORE else old or label,
            dates=(self.before.date, self.site.date),
            name=self.site.name,
        )


def _chosen(site: PreparedSite, modalities: Sequence[str]) -> tuple[ImageSource, ...]:
    images = {image.modality: image.source for image in site.images}
    if not modalities or not set(modalities) <= set(images):
        return site.sources
    return tuple(images[name] for name in modalities)


def map_jobs(project: Project, out: Path) -> list[MapJob]:
    """A job for each site that the project maps.

    Raises:
        ManifestError: there is none.
    """
    split = project.predict_settings().split
    prepared = load_prepared(out / PREPARED)
    chosen = Prepared(tuple(site for site in prepared.sites if split in ("", site.split)), prepared.legend)
    if not chosen.sites:
        raise ManifestError(f"no site has split '{split}'", where=project.path, fix="change predict's `split`")
    if project.dates == "all":
        return _of_sites(chosen.sites, out, {})
    first = {site.name: site for site in sorted(chosen.sites, key=lambda site: site.date, reverse=True)}
    latest = chosen.of_dates("latest")
    return _of_sites(latest, out, first if project.dates == "pair" else {})


def _of_sites(sites: Sequence[PreparedSite], out: Path, first: dict[str, PreparedSite]) -> list[MapJob]:
    names = [site.name for site in sites]
    jobs = []
    for site in sites:
        key = f"{site.name}/{site.date}" if names.count(site.name) > 1 else site.name
        before = first.get(site.name)
        before = before if before is not None and before.date != site.date else None
        jobs.append(MapJob(key, site, out / MAPS / key, out / CHANGES / key, before))
    return jobs


def describe_in_stac(project: Project, made: Sequence[tuple[MapJob, Path]], parent: Path) -> None:
    """Write a STAC item into each finished folder, and a collection of them into `parent`.

    A folder whose item is younger than its files keeps it: checksums of large maps take minutes.

    Args:
        project: gives names and legend.
        made: jobs and their folders of maps, or of changes.
        parent: above all of these folders.
    """
    items: list[Path | None] = []
    for job, folder in made:
        item = folder / ITEM
        newest = max(path.stat().st_mtime_ns for path in folder.iterdir() if path != item)
        if item.is_file() and item.stat().st_mtime_ns >= newest:
            items.append(item)
            continue
        date_before = job.before.date if job.before is not None else ""
        names = {"name": job.site.name, "date": job.site.date, "date_before": date_before}
        items.append(write_item(folder, job.site.grid, **names, legend=project.legend))
    write_collection(parent, items, name=f"{project.name}-{parent.name}", title=f"{project.name}: {parent.name}")
