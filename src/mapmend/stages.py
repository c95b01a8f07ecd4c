"""Where the steps of a row leave what they make, and what each training learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mapmend.core.errors import ManifestError
from mapmend.core.provenance import file_hash
from mapmend.data.sites import Prepared, PreparedSite
from mapmend.project import Project
from mapmend.pseudo.job import CONFIDENCE, LABEL, labelled_keys
from mapmend.pseudo.places import place_key
from mapmend.row import PREDICT, TRAIN, Row, Step
from mapmend.step_settings import DataSettings

MODEL, TRAINING = "model", "training"
_STEPS, _PSEUDO = "steps", "pseudo"


def training_folders(row: Row, step: Step, out: Path) -> tuple[Path, Path]:
    """Folders of a training and of its model."""
    folder = out / _STEPS / step.name if step in row.earlier else out
    return folder / TRAINING, folder / MODEL


def labels_folder(step: Step, out: Path) -> Path:
    """Folder of a step `pseudo`."""
    return out / _PSEUDO / (step.name or "labels")


def models_of(row: Row, step: Step, out: Path) -> tuple[Path, ...]:
    """Folders of the models that a step goes on from; of the last training before it where it names none."""
    trainings = [one for one in (*row.earlier, *row.last.values()) if one.verb == TRAIN]
    if step.source:
        by_name = {one.name: one for one in trainings}
        return tuple(training_folders(row, by_name[name], out)[1] for name in step.source)
    if step in row.earlier:
        before = [one for one in row.earlier[: row.earlier.index(step)] if one.verb == TRAIN]
        return (training_folders(row, before[-1], out)[1],)
    return (out / MODEL,)


def predicting_models(project: Project, out: Path) -> tuple[Path, ...]:
    """Folders of the models that map the project."""
    step = project.row.last.get(PREDICT)
    return models_of(project.row, step, out) if step is not None else (out / MODEL,)


def learned_sites(prepared: Prepared, data: DataSettings, out: Path) -> Prepared:
    """The sites as a training sees them: those with its sensors, with the labels that it learns from.

    Raises:
        ManifestError: no site has all of its sensors.
        JobError: the labels are not made yet.
    """
    sites = tuple(prepared.sites)
    if data.sensors:
        sites = tuple(_with_sensors(sites, data.sensors))
        if not sites:
            raise ManifestError(f"no site has images of {' and '.join(data.sensors)}", fix="check `sensors` of `train`")
    if data.labels:
        folder = out / _PSEUDO / data.labels
        keys = labelled_keys(folder)
        sites = tuple(_with_label(site, folder) if _key(site) in keys else site for site in sites)
    return replace(prepared, sites=sites)


def learned_identity(data: DataSettings, out: Path) -> dict[str, object]:
    """What the labels that a training learns from are made of; empty where they are the manifest's."""
    if not data.labels:
        return {}
    folder = out / _PSEUDO / data.labels
    return {"labels": [file_hash(folder / key / LABEL) for key in labelled_keys(folder)]}


def _with_sensors(sites: tuple[PreparedSite, ...], names: tuple[str, ...]) -> Iterator[PreparedSite]:
    for site in sites:
        images = {image.modality: image for image in site.images}
        if set(names) <= set(images):
            yield replace(site, images=tuple(image for name, image in images.items() if name in names))


def _key(site: PreparedSite) -> str:
    return place_key(site.name, site.date)


def _with_label(site: PreparedSite, folder: Path) -> PreparedSite:
    label = folder / _key(site) / LABEL
    return replace(
        site,
        label=str(label.absolute()),
        label_gsd=None,
        label_counts=(),
        label_grid=None,
        label_rows=None,
        label_shares=(),
        label_files=(str(label.absolute()),),
        label_confidence=str(label.with_name(CONFIDENCE).absolute()),
        trust="pseudo",
    )
