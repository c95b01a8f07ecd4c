"""Where a bench takes place: images with labels that are right, of a project or generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from mapmend.core.durable import replace_file
from mapmend.core.errors import LabelError
from mapmend.core.grid import grid_to_dict
from mapmend.core.legend import Legend
from mapmend.core.manifest import Row, format_manifest
from mapmend.core.provenance import file_hash
from mapmend.data.landscape import DATES, write_landscape
from mapmend.data.prepare import prepare
from mapmend.data.scenes import check_files, read_scenes, with_sensor
from mapmend.data.sites import PreparedSite
from mapmend.project import Project, load_project
from mapmend.step_settings import DataSettings, NetworkSettings
from mapmend.train.config import LoopConfig

SIZE = 384
"""Side of the generated landscape in pixels of one metre: all of its classes are there."""

_LANDSCAPE = """\
# A generated landscape at two dates, and its true classes.
name: landscape
legend: landscape
sensors: {optical: naip}
scenes: truth.csv
steps:
  - train:
      {weights: lite0, decoder_widths: [64, 48, 32, 24, 16], lr: 0.003, head_lr: 3, ema_decay: 0.97, steps: 200,
       batch: 4, crop: 128, workers: 0}
  - predict: {window: 128, overlap: 32}
"""
_PREDICT = ("window", "overlap", "batch", "precision")


@dataclass(frozen=True)
class Place:
    """A place whose label is right.

    Attributes:
        site: at the latest date that has such a label, on whose grid everything lies.
        truth: class raster of the legend's ids.
        before: the same of an earlier date, where there is one.
    """

    site: PreparedSite
    truth: str
    before: str | None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The manifest's rows of its images, as they were prepared, without a label."""
        return tuple(
            Row(
                self.site.name,
                self.site.date,
                image.modality,
                image=tuple(str(Path(file).absolute()) for file in image.source.files),
                valid=None if image.source.valid is None else str(Path(image.source.valid).absolute()),
                split=self.site.split,
            )
            for image in self.site.images
        )


@dataclass(frozen=True)
class Ground:
    """Places to plant noise in, and the project that they are of.

    Attributes:
        project: whose legend and sensors hold.
        places: at least one.
        train: settings of network, data and loop beneath every preset; of no method.
        predict: settings of prediction.
    """

    project: Project
    places: tuple[Place, ...]
    train: Mapping[str, Any]
    predict: Mapping[str, Any]

    @property
    def legend(self) -> Legend:
        """Of all labels."""
        return self.project.legend

    @cached_property
    def identity(self) -> list[object]:
        """What is mapped, as plain values."""
        sensors = {name: sensor.to_dict() for name, sensor in self.project.sensors.items()}
        places = [
            [place.site.name, place.site.date, grid_to_dict(place.site.grid), file_hash(place.truth)]
            for place in self.places
        ]
        return [self.project.name, self.legend.to_dict(), sensors, places]


def landscape_ground(folder: Path, size: int, seed: int) -> Ground:
    """A generated landscape, drawn below `folder` unless it is there.

    Raises:
        ProjectError: a size or seed out of range.
        RasterError, DiskError: a file cannot be written.
    """
    path = folder / "project.yaml"
    if not path.is_file():
        write_landscape(folder, size, seed)
        rows = [
            Row(
                f"landscape-{seed}",
                date,
                "optical",
                image=(f"optical_{date}.tif",),
                valid=f"valid_{date}.tif",
                label=f"truth_{date}.tif",
                trust="reference",
            )
            for date in DATES
        ]
        replace_file(folder / "truth.csv", format_manifest(rows))
        replace_file(path, _LANDSCAPE)  # last: what has it is complete
    return project_ground(load_project(path), folder)


def project_ground(project: Project, folder: Path, most: int | None = None) -> Ground:
    """The places of a project whose label is right: those of trust `reference`, and those listed under `reference`.

    Sites marked `test` are left out. Their layers are put onto their grids below `folder`, once.

    Args:
        project: its own method and labels of other trusts count nothing.
        folder: for prepared files.
        most: at most this many places, evenly from all; None for all of them.

    Raises:
        LabelError: there is none, or fewer than two classes are in their labels.
        MapmendError: whatever is wrong with a file.
    """
    store, given = folder / "scenes", project.reference
    rows = with_sensor(read_scenes(project.scenes, project.data, store), list(project.sensors))
    references = read_scenes(given, project.data, store, name="reference") if given is not None else ()
    names = _even(_trusted(rows, references), most)
    if not names:
        raise LabelError(
            "no label is said to be right",
            where=project.path,
            fix="mark labels that are right with `trust: reference`, or list them under `reference`",
        )
    chosen, judges = (tuple(row for row in part if row.site in names) for part in (rows, references))
    check_files((*chosen, *judges), project.path)
    prepared = prepare(
        chosen, project.sensors, project.legend, folder / "prepared", references=judges, base=project.folder
    )
    by_name: dict[str, list[PreparedSite]] = {}
    for site in sorted(prepared.sites, key=lambda site: site.date):
        by_name.setdefault(site.name, []).append(site)
    places = tuple(_place(dates) for dates in by_name.values())
    settings = project.steps.get("train", {})
    kept = {field.name for cls in (NetworkSettings, DataSettings, LoopConfig) for field in fields(cls)}
    train = {key: value for key, value in settings.items() if key in kept}
    predict = {key: value for key, value in project.steps.get("predict", {}).items() if key in _PREDICT}
    return Ground(project, places, train, predict)


def _trusted(rows: Sequence[Row], references: Sequence[Row]) -> list[str]:
    """Names of the sites with a label that is right, and that nobody marked for testing."""
    right = {row.site for row in rows if row.label is not None and row.trust == "reference"}
    right |= {row.site for row in references}
    return list(dict.fromkeys(row.site for row in rows if row.site in right and row.split != "test"))


def _even(names: Sequence[str], most: int | None) -> set[str]:
    if most is None or most >= len(names):
        return set(names)
    return {names[index * len(names) // most] for index in range(most)}


def _place(dates: Sequence[PreparedSite]) -> Place:
    """A place of one site's dates, the earliest first, of which at least one has a label that is right."""
    right = [(site, truth) for site in dates if (truth := _truth(site)) is not None]
    (site, truth), earlier = right[-1], right[:-1]
    return Place(site, truth, earlier[-1][1] if earlier else None)


def _truth(site: PreparedSite) -> str | None:
    return site.reference or (site.label if site.trust == "reference" else None)
