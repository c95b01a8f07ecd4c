"""The examination: of a project, a folder, or one file."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from rasterio.errors import NotGeoreferencedWarning
from rich.console import Console
from rich.progress import track

from mapmend.core.errors import MapmendError, ProjectError
from mapmend.core.legend import load_legend
from mapmend.core.sensor import load_sensor
from mapmend.core.thinning import evenly
from mapmend.doctor.files import RASTERS, VECTORS, kinds, look_at_file
from mapmend.doctor.finding import Diagnosis, Finding, from_fault, ordered
from mapmend.doctor.projects import look_at_project
from mapmend.raster.opening import NotGeoreferenced

T = TypeVar("T")

_MOST_FILES = 500  # of a folder that are opened


def doctor(
    target: Path,
    *,
    sensor: str | None = None,
    legend: str | None = None,
    data: Path | None = None,
    out: Path | None = None,
) -> Diagnosis:
    """Say what is wrong with a project, a folder of rasters and vectors, or one file, and how to mend it.

    Nothing is written, and rasters are sampled, not read whole. A broken file is a finding.

    Args:
        target: a project file (.yaml), a folder, or a raster or vector file.
        sensor: card that the images of a folder or file should fit.
        legend: legend that the labels of a folder or file should be in.
        data: for a project, folder that its scenes' relative paths start from.
        out: for a project, where its results would go; a folder of its name where empty.

    Raises:
        ProjectError: the target does not exist.
        SensorError, LegendError: the card or legend asked for is unknown.
    """
    target = Path(target)
    if not target.exists():
        raise ProjectError("does not exist", where=target, fix="give a project file, a folder or a raster")
    card, classes = load_sensor(sensor) if sensor else None, load_legend(legend) if legend else None
    with warnings.catch_warnings():
        for kind in (NotGeoreferenced, NotGeoreferencedWarning):  # a finding of its own here
            warnings.simplefilter("ignore", kind)
        if target.is_file() and target.suffix.lower() in (".yaml", ".yml"):
            return _project(target, data, out)
        every = [target] if target.is_file() else _files(target)
        chosen = evenly(every, _MOST_FILES)
        seen = [look_at_file(path, card, classes, one_of_many=target.is_dir()) for path in _tracked(chosen, "files")]
    found = [finding for findings, _ in seen for finding in findings]
    if target.is_dir():
        found += kinds([info for _, info in seen if info is not None])
    if not every:
        found.append(Finding("error", "files", "holds no raster and no vector file", str(target), "check the folder"))
    if len(chosen) < len(every):
        what = f"{len(chosen)} of {len(every)} files were looked at, evenly chosen"
        found.append(Finding("note", "sample", what, str(target), "name a subfolder to see all of it"))
    return Diagnosis(str(target), ordered(found), len(chosen))


def _project(path: Path, data: Path | None, out: Path | None) -> Diagnosis:
    from mapmend.project import load_project  # brings torch, which files and folders do without

    try:
        project = load_project(path, data)
    except MapmendError as fault:
        return Diagnosis(str(path), (from_fault(fault, "project", str(path)),), 0)
    found, files = look_at_project(project, out if out is not None else Path(project.name), _tracked)
    return Diagnosis(str(path), ordered(found), files)


def _files(folder: Path) -> list[Path]:
    """Rasters and vectors below a folder; those without an ending have an ENVI header beside them."""
    every = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    headed = {path.with_suffix("") for path in every if path.suffix.lower() == ".hdr"}
    return sorted(path for path in every if path.suffix.lower() in RASTERS | VECTORS or path in headed)


def _tracked(items: Sequence[T], what: str) -> Iterable[T]:
    """A bar on a terminal, for what takes a while."""
    return track(items, what, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
