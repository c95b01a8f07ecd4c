"""Which files the judged labels come from, and what their codes mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mapmend.audit.record import LabelFile
from mapmend.core.crosswalk import Crosswalk
from mapmend.core.grid import grid_to_dict
from mapmend.core.legend import NODATA, Legend, load_crosswalk
from mapmend.core.manifest import Row
from mapmend.core.provenance import file_hash
from mapmend.data.scenes import read_scenes
from mapmend.data.sites import PreparedSite
from mapmend.project import Project
from mapmend.raster.vector import is_vector


def label_files(project: Project, out: Path, sites: Sequence[PreparedSite]) -> tuple[LabelFile, ...]:
    """The label file of each site, as the project's list of scenes names it.

    Raises:
        MapmendError: the list, or a file, cannot be read.
    """
    rows = {(row.site, row.date): row for row in read_scenes(project.scenes, project.data, out / "scenes") if row.label}
    return tuple(label_file(rows[site.name, site.date], site, project.legend, project.folder) for site in sites)


def label_file(row: Row, site: PreparedSite, legend: Legend, base: Path) -> LabelFile:
    """What is to be known of a row's label to write a corrected copy of it."""
    path, fault = row.label_files[0], ""
    codes: tuple[tuple[int, int], ...] = ()
    if row.masks:
        fault = "its label is told by masks, one a class"
    elif is_vector(path):
        fault = "its label is polygons, not a raster"
    else:
        codes = codes_of(load_crosswalk(row.label_legend, legend, base))
    return LabelFile(site.name, site.date, path, file_hash(path), codes, grid_to_dict(site.grid), fault)


def codes_of(crosswalk: Crosswalk) -> tuple[tuple[int, int], ...]:
    """(code, legend id) of each code that means a class."""
    return tuple((code, id_) for code, id_ in sorted(crosswalk.table.items()) if id_ != NODATA)
