"""A project: every site, label and reference that it names, the splits, and what it will need."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mapmend.beforehand import check_label_pixels
from mapmend.core.errors import MapmendError
from mapmend.core.grid import Grid, finest, ground_pixel_size
from mapmend.core.legend import Legend, load_crosswalk
from mapmend.core.manifest import Row, two_dates
from mapmend.core.thinning import evenly
from mapmend.data.scenes import read_scenes, with_sensor
from mapmend.data.torchgeo_opening import TORCHGEO
from mapmend.doctor import files, machine, sites, splits
from mapmend.doctor.finding import Finding, from_fault
from mapmend.doctor.labels import Codes, drawn_codes, raster_codes, unheld, vector_codes
from mapmend.doctor.misplaced import look, misplaced, radius_for
from mapmend.doctor.units import values
from mapmend.raster.opening import RasterInfo, raster_info
from mapmend.raster.reading import ImageSource
from mapmend.raster.vector import is_vector

if TYPE_CHECKING:
    from mapmend.project import Project

T = TypeVar("T")
Track = Callable[[Sequence[Any], str], Iterable[Any]]
"""Goes through items and shows how far it is."""

_MOST_SITES = 200  # whose images are looked at
_MOST_LABELS = 2000  # files that are counted
_DATA_SET = "data set"  # the check of findings about what is not looked at
_MOST_SHIFTS = 16  # sites whose labels are compared with their images


@dataclass
class _Chart:
    """What is known of a project so far."""

    project: Project
    rows: Sequence[Row]
    references: Sequence[Row]
    found: list[Finding] = field(default_factory=list)
    infos: dict[str, RasterInfo | None] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)

    def info(self, path: str) -> RasterInfo | None:
        """What a raster says about itself; None where it cannot be opened, which is a finding."""
        if path not in self.infos:
            try:
                self.infos[path] = raster_info(path)
            except MapmendError as fault:
                self.found.append(from_fault(fault, "file", path))
                self.infos[path] = None
        return self.infos[path]

    def source(self, row: Row) -> ImageSource:
        """The image of a row whose sensor is known."""
        sensor = self.project.sensors[row.sensor]
        return ImageSource(row.image, sensor.band_names, sensor, row.valid)


def look_at_project(project: Project, out: Path, track: Track) -> tuple[list[Finding], int]:
    """Everything that is wrong with a project, and the number of files that were opened."""
    notes: list[Finding] = []
    try:
        rows = with_sensor(_rows(project, "scenes", project.scenes, notes), list(project.sensors))
        given = project.reference
        references = _rows(project, "reference", given, notes) if given is not None else ()
    except MapmendError as fault:
        return [from_fault(fault, "scenes", str(project.path))], 0
    chart = _Chart(project, rows, references, notes)
    if (
        "change" in project.steps
        and project.listed
        and not notes
        and not two_dates(rows, project.predict_settings().split)
    ):
        fix = "list images of two dates, or `steps` without change"
        chart.found.append(Finding("error", "dates", "no site has two dates to compare", str(project.path), fix))
    if _all_there(chart):
        _look_at_images(chart, track)
        counts = _look_at_labels(chart, track)
        _look_at_shifts(chart, track)
        _look_at_splits(chart, counts)
        _look_at_machine(chart, out)
    return chart.found, len(chart.infos)


def _rows(
    project: Project, name: str, source: str | Sequence[Mapping[str, Any]], notes: list[Finding]
) -> tuple[Row, ...]:
    """Rows of what a project lists under `name`; data sets, whose samples would have to be written, are noted."""
    if isinstance(source, str):
        return read_scenes(source, project.data, name=name)
    files = [entry for entry in source if TORCHGEO not in entry]
    for entry in source:
        if TORCHGEO in entry:
            what = f"names the data set {entry[TORCHGEO]}; its samples are looked at after `mapmend prepare`"
            notes.append(Finding("note", _DATA_SET, what, f"{project.path}: {name}"))
    return read_scenes(files, project.data, name=name) if files or not source else ()


def _all_there(chart: _Chart) -> bool:
    """Whether every file exists and every sensor is known; what is not is found and left out."""
    known, there, judged = chart.project.sensors, [], []
    for row in chart.rows:
        lost = [path for path in (*row.image, row.valid, *row.label_files) if path and not Path(path).exists()]
        for path in lost:
            chart.found.append(
                Finding("error", "files", "does not exist", path, f"correct it in the row of '{row.site}'")
            )
        if row.sensor not in known:
            what = f"sensor '{row.sensor}' is not among the project's"
            chart.found.append(Finding("error", "sensor", what, f"site '{row.site}'", f"use {', '.join(known)}"))
        elif not row.image:
            fix = "labels alone belong into `reference`"
            chart.found.append(Finding("error", "files", "has a row without an image", f"site '{row.site}'", fix))
        elif not lost:
            there.append(row)
    for row in chart.references:
        lost = [path for path in row.label_files if not Path(path).exists()]
        for path in lost:
            chart.found.append(Finding("error", "files", "does not exist", path, f"reference of '{row.site}'"))
        dates = {one.date for one in chart.rows if one.site == row.site}
        if not dates and any(finding.check == _DATA_SET for finding in chart.found):
            continue  # may be one of those that are not looked at
        if not dates or (row.date and row.date not in dates):
            what = f"has a reference {f'of {row.date} ' if dates else ''}and no image{' of it' if dates else ''}"
            chart.found.append(Finding("error", "reference", what, f"site '{row.site}'", "list it among the scenes"))
        elif not lost:
            judged.append(row)
    chart.found += sites.rows_of(chart.rows, chart.references)
    chart.rows, chart.references = there, judged
    return bool(there)


def _look_at_images(chart: _Chart, track: Track) -> None:
    by_site: dict[str, list[Row]] = defaultdict(list)
    for row in chart.rows:
        by_site[row.site].append(row)
    for name, rows in by_site.items():
        infos = [info for row in rows if row.image and (info := chart.info(row.image[0])) is not None]
        if infos:
            chart.grids[name] = finest([info.grid for info in infos])
    chosen = evenly(list(by_site), _MOST_SITES)
    _say_part(chart, len(chosen), len(by_site), "sites' images")
    for name in track(chosen, "images"):
        infos = []
        for row in by_site[name]:
            sensor = chart.project.sensors[row.sensor]
            mine = [info for path in row.image if (info := chart.info(path)) is not None]
            infos += mine
            for info in mine:
                try:
                    chart.found += files.image(info, sensor)
                except MapmendError as fault:
                    chart.found.append(from_fault(fault, "file", info.path))
            if len(mine) == len(row.image):
                chart.found += values(chart.source(row))
        if infos:
            chart.found += sites.layers(name, infos)
    chart.found += sites.unlike(chart.grids)


def _look_at_labels(chart: _Chart, track: Track) -> Mapping[str, Counter[int]]:
    """Codes and place of every label and reference; pixels per class of each split."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    labels = {row.label_files: (row, "label") for row in chart.rows if row.label_files}
    labels |= {row.label_files: (row, "reference") for row in chart.references if row.label_files not in labels}
    chosen = evenly(list(labels), _MOST_LABELS)
    _say_part(chart, len(chosen), len(labels), "labels")
    for key in track(chosen, "labels"):
        row, what = labels[key]
        if row.site in chart.grids:
            chart.found += sites.label_place(row, chart.grids[row.site], what)
        legend = chart.project.score_legend if what == "reference" else chart.project.legend
        codes = _codes(chart, row, legend)
        chart.found += codes.findings
        if what == "label" or legend == chart.project.legend:
            counts["reference" if what == "reference" else row.split or "train"].update(codes.counts)
    try:
        check_label_pixels(chart.project, chart.rows)
    except MapmendError as fault:
        chart.found.append(from_fault(fault, "label size", str(chart.project.path)))
    learned = sum((held for split, held in counts.items() if split in ("train", "val")), Counter())
    chart.found += unheld(learned, chart.project.legend, "scenes")
    return counts


def _codes(chart: _Chart, row: Row, legend: Legend) -> Codes:
    base = chart.project.folder
    for path in row.label_files:
        chart.infos.setdefault(path, None)
    try:
        vectors = [path for path in row.label_files if is_vector(path)]
        crosswalk = load_crosswalk(row.label_legend, legend, base)
    except MapmendError as fault:
        return Codes({}, (from_fault(fault, "label", row.label_files[0]),))
    if not vectors and not row.masks:
        return raster_codes(row.label_files[0], crosswalk, row.label_band)
    field = None if row.masks else row.label_field
    told = [finding for path in vectors for finding in vector_codes(path, crosswalk, field).findings]
    if row.site not in chart.grids or any(finding.level == "error" for finding in told):
        return Codes({}, tuple(told))
    drawn = drawn_codes(row, chart.grids[row.site], legend, base)
    return Codes(drawn.counts, (*told, *drawn.findings))


def _look_at_shifts(chart: _Chart, track: Track) -> None:
    """Labels of one kind together: those of few pixels say too little alone."""
    of_kind: dict[tuple[str | None, str], dict[str, Row]] = defaultdict(dict)
    for row in chart.rows:
        if row.label_files and row.site in chart.grids:
            of_kind[row.label_legend, row.trust].setdefault(row.site, row)
    for (source, _), by_site in of_kind.items():
        radius, seen = None, {}
        for name in track(evenly(list(by_site), _MOST_SHIFTS), "shifts"):
            row = by_site[name]
            try:
                radius = radius or _radius(chart, row)
                seen[row.label_files[0]] = look(
                    row, chart.source(row), chart.project.legend, chart.project.folder, radius
                )
            except MapmendError:
                continue  # is a finding already
        chart.found += misplaced(seen, f"labels of {len(seen)} sites" + (f" ({source})" if source else ""))


def _radius(chart: _Chart, row: Row) -> int:
    path = row.label_files[0]
    info = None if is_vector(path) else chart.info(path)
    own = None if info is None or info.grid.crs is None else max(ground_pixel_size(info.grid))
    return radius_for(row.label_gsd or own, chart.grids[row.site])


def _look_at_splits(chart: _Chart, counts: Mapping[str, Counter[int]]) -> None:
    data = chart.project.train_settings().data
    try:
        chart.found += splits.leaking(chart.rows, chart.references, chart.grids)
    except MapmendError as fault:
        chart.found.append(from_fault(fault, "leak"))
    chart.found += splits.balance(counts, chart.project.legend, "splits")
    chart.found += splits.validating(chart.rows, chart.grids, block=data.crop, share=data.validation_share)


def _look_at_machine(chart: _Chart, out: Path) -> None:
    settings = chart.project.train_settings()
    data, loop = settings.data, settings.loop
    prepared = 0
    for row in chart.rows:
        infos = [info for path in row.image if (info := chart.infos.get(path)) is not None]
        pixels = prod(map(int, chart.grids[row.site].shape)) if row.site in chart.grids else 0
        width = max((np.dtype(info.dtype).itemsize for info in infos), default=0)
        prepared += pixels * (width * len(chart.project.sensors[row.sensor].bands) + 1 + (row.label is not None))
    maps = sum(prod(map(int, grid.shape)) * _bytes_of_maps(chart, name) for name, grid in chart.grids.items())
    need = machine.Need(prepared, maps, loop.batch * data.crop**2, loop.workers)
    here = machine.this_machine()
    chart.found += [*machine.disk(need, out), *machine.memory(need, here), *machine.processors(here)]


def _bytes_of_maps(chart: _Chart, name: str) -> int:
    """Bytes per pixel of a site's maps, and of the comparison of two."""
    dates = {row.date for row in chart.rows if row.site == name}
    if chart.project.dates == "pair" and len(dates) > 1:
        return machine.PAIR_BYTES + (machine.CHANGE_BYTES if "change" in chart.project.steps else 0)
    return machine.MAP_BYTES * (len(dates) if chart.project.dates == "all" else 1)


def _say_part(chart: _Chart, part: int, whole: int, what: str) -> None:
    if part < whole:
        told = f"{part} of {whole} {what} were looked at, evenly chosen"
        chart.found.append(Finding("note", "sample", told, str(chart.project.path)))
