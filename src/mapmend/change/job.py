"""A change job: from the maps of two dates to a from-to map, an updated map, polygons and a table."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mapmend.change.codes import FromToLegend
from mapmend.change.crossing import CrossingPatches, Crossings
from mapmend.change.decide import Decision, certainty, decide
from mapmend.change.inputs import ChangeInputs, PairReader
from mapmend.change.patches import Floats, StripPatches, find_patches
from mapmend.change.polygons import LAYER, ChangeLayer, PatchTracer, change_fields
from mapmend.change.rasters import put_together, strip_writer
from mapmend.change.record import FILES, ChangeResult, FromTo, read_change, read_record
from mapmend.change.settings import ChangeSettings
from mapmend.core.durable import replace_file, replace_json, typed_faults
from mapmend.core.errors import JobError, RasterError
from mapmend.core.grid import PixelArea, Window, full_window, grid_to_dict
from mapmend.core.legend import Legend
from mapmend.core.provenance import RECORD, file_hash, file_stamp, provenance
from mapmend.raster.atomic import check_disk
from mapmend.raster.progress import StagedProgress
from mapmend.raster.style import polygon_style
from mapmend.raster.vector_writing import geopackage_writer, geoparquet_writer

__all__ = ["ChangeInputs", "ChangeSettings", "change_maps"]

TOTAL = "total"  # of a row or column of `from_to.csv`
_WORK = ".work"  # strips, until they are put together
_PASSES = 2  # over the maps: to measure the patches, and to write them
_RASTERS = 4  # each put together in about half a pass
_BYTES_PER_PIXEL = 3  # compressed strips and COGs at the same time
_COUNTED = 2**18  # pixels put into the table at a time
_AREA_COLUMNS = 256  # of a strip, whose areas are computed at a time


def change_maps(
    inputs: ChangeInputs,
    legend: Legend,
    out: Path,
    settings: ChangeSettings | None = None,
    *,
    progress: bool = True,
) -> ChangeResult:
    """Compare the maps of two dates; the same call returns at once when all is done.

    Another call, with other inputs or settings, does the folder's work anew. Memory does not grow with the maps.

    Args:
        inputs: the maps, and how sure they are.
        legend: of both maps.
        out: the change folder; made if it is not there.
        settings: threshold and minimum mapping unit.
        progress: show a progress line on a terminal.

    Raises:
        ManifestError: the dates are equal or in the wrong order.
        GridError: the files are on different grids, or hectares are asked for where they are unknown.
        LegendError: a class that is not in the legend.
        JobError: the folder holds something else, or one of the inputs.
        RasterError: a file cannot be read or written, or no pixel is known at both dates.
        DiskError: the disk is full, or will be.
    """
    start, settings = time.perf_counter(), settings or ChangeSettings()
    _check_folder(out, inputs)
    job = _Job(inputs, legend, settings)
    identity = job.identity()
    finished, record = read_change(out), read_record(out)
    if finished is not None and record is not None and record["config"] == json.loads(json.dumps(identity)):
        return finished
    size = full_window(job.reader.grid)
    check_disk(out, _BYTES_PER_PIXEL * size.height * size.width)
    with StagedProgress(
        "change", inputs.name, size.height * size.width, passes=_PASSES + _RASTERS / 2, shown=progress
    ) as bar:
        crossing = job.measure(bar)
        with _work_folder(out) as work:
            result = job.write(crossing, out, work, bar, start)
            plain = {**provenance(identity), "result": result.to_dict()}
            replace_json(out / RECORD, {**plain, "files": {name: file_hash(out / name) for name in FILES}})
    return result


@dataclass(frozen=True)
class _Strip:
    """What is found in a strip before small patches are dropped."""

    window: Window
    decision: Decision
    patches: StripPatches
    areas: Floats


class _Job:
    def __init__(self, inputs: ChangeInputs, legend: Legend, settings: ChangeSettings) -> None:
        self._inputs, self._legend, self._settings = inputs, legend, settings
        self.reader, self._codes = PairReader(inputs, legend), FromToLegend(legend)
        settings.check_unit(self.reader.grid, inputs.before)
        self._area = PixelArea(self.reader.grid)

    def identity(self) -> dict[str, object]:
        """All that the results depend on."""
        return {
            "name": self._inputs.name,
            "dates": [self._inputs.date_before, self._inputs.date_after],
            "legend": self._legend.to_dict(),
            "settings": asdict(self._settings),
            "connectivity": 4,  # of patches: pixels that share a side
            "grid": grid_to_dict(self.reader.grid),
            "inputs": {role: file_stamp(path) for role, path in self._inputs.files.items()},
        }

    def measure(self, bar: StagedProgress) -> CrossingPatches:
        """First pass: measure the patches that touch borders of strips.

        Raises:
            RasterError: no pixel is known at both dates.
        """
        bar.stage("measuring")
        crossings, known = Crossings(), False
        for strip in self._strips():
            crossings.add(strip.patches)
            known = known or bool(strip.decision.valid.any())
            bar.pixels(strip.areas.size)
        if not known:
            raise RasterError(
                f"has no valid pixel in common with {self._inputs.before}",
                where=self._inputs.after,
                fix="check nodata and dates of both maps",
            )
        return crossings.resolve(self._settings)

    def write(
        self, crossing: CrossingPatches, out: Path, work: Path, bar: StagedProgress, start: float
    ) -> ChangeResult:
        """Second pass: drop small patches, write rasters, polygons and table."""
        bar.stage("writing")
        grid, classes, dates = self.reader.grid, len(self._legend), (self._inputs.date_before, self._inputs.date_after)
        pixels, areas = np.zeros(classes**2, np.int64), np.zeros(classes**2)
        dropped = np.array([(~crossing.kept).sum(), crossing.area[~crossing.kept].sum()])
        fields, style = change_fields(self._area.unit), polygon_style("to", self._legend.classes)
        with ExitStack() as stack:
            write_strip = stack.enter_context(strip_writer(work, grid, self._codes))
            writers = [
                stack.enter_context(geopackage_writer(out / "changes.gpkg", LAYER, fields, grid, style)),
                stack.enter_context(geoparquet_writer(out / "changes.parquet", fields, grid)),
            ]
            layer = ChangeLayer(writers, grid, self._legend, dates, self._area.unit)
            tracer = PatchTracer(crossing, layer)
            for number, strip in enumerate(self._strips()):
                patches = strip.patches
                kept = self._settings.keeps(patches.pixels, patches.area)
                inside = np.ones(len(kept), bool)
                inside[patches.border] = False
                dropped += (~kept & inside).sum(), patches.area[~kept & inside].sum()
                kept[patches.border] = crossing.kept[crossing.of(number)]
                strips = self._maps(strip, kept)
                write_strip(strip.window, strips)
                _count(strips["from_to"], strip.areas, pixels, areas)
                tracer.add(number, strip.window, patches, kept)
                bar.pixels(strip.areas.size)
            layer.flush()
        table = FromTo(self._legend.names, self._area.unit, _square(areas, classes), _square(pixels, classes))
        bar.stage("rasters")
        tags = {"MAPMEND_DATES": "/".join(filter(None, dates)), "MAPMEND_SCENE": self._inputs.name}
        put_together(work, out, grid, self._codes, table, tags, lambda: bar.pixels(math.prod(grid.shape) / 2))
        replace_file(out / "from_to.csv", _csv(table))
        seconds, settings = time.perf_counter() - start, self._settings
        lost = int(dropped[0]), float(dropped[1])
        return ChangeResult(out, *dates, table, layer.count, *lost, settings.threshold, settings.mmu, seconds)

    def _strips(self) -> Iterator[_Strip]:
        for window in self.reader.strips():
            pair = self.reader.read(window)
            decision = decide(pair.before, pair.after, pair.confidences, pair.probability, self._settings.threshold)
            areas = self._areas(window)
            codes = self._codes.encode(pair.before, pair.after)
            sure = certainty(pair.confidences, pair.probability)
            patches = find_patches(codes, decision.changed, areas[decision.changed], sure)
            yield _Strip(window, decision, patches, areas)

    def _areas(self, window: Window) -> Floats:
        """Areas of a strip's pixels, part by part: intermediate values take several times its memory."""
        areas = np.empty((window.height, window.width))
        for col in range(0, window.width, _AREA_COLUMNS):
            width = min(_AREA_COLUMNS, window.width - col)
            areas[:, col : col + width] = self._area.of(Window(window.row, col, window.height, width))
        return areas

    def _maps(self, strip: _Strip, kept: np.ndarray) -> dict[str, np.ndarray]:
        """A strip of the four rasters."""
        changed = np.zeros(strip.areas.shape, bool)
        changed.ravel()[strip.patches.at[kept[strip.patches.label]]] = True
        before, after = strip.decision.classes(changed)
        ids, old = self._legend.id_lut[after], self.reader.read_old(strip.window, strip.decision.before)
        return {
            "from_to": self._codes.encode(before, after),
            "before": self._legend.id_lut[before],
            "after": ids,
            "updated": np.where(changed, ids, old),
        }


def _count(codes: np.ndarray, area: Floats, pixels: np.ndarray, areas: np.ndarray) -> None:
    """Add a strip to the table, some rows at a time: as numbers for counting, codes take eight times their memory."""
    rows = max(1, _COUNTED // codes.shape[1])
    for row in range(0, len(codes), rows):
        part = np.minimum(codes[row : row + rows], len(pixels)).ravel()  # what is not valid counts as one code more
        pixels += np.bincount(part, minlength=len(pixels) + 1)[:-1]
        areas += np.bincount(part, area[row : row + rows].ravel(), minlength=len(areas) + 1)[:-1]


def _square(values: np.ndarray, side: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(map(tuple, values.reshape(side, side).tolist()))


def _csv(table: FromTo) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"from \\ to ({table.unit})", *table.names, TOTAL])
    totals = (*table.after, sum(table.after))
    rows = ((*row, total) for row, total in zip(table.areas, table.before, strict=True))
    for name, row in zip((*table.names, TOTAL), (*rows, totals), strict=True):
        writer.writerow([name, *(f"{area:.6f}".rstrip("0").rstrip(".") for area in row)])
    return text.getvalue()


def _check_folder(out: Path, inputs: ChangeInputs) -> None:
    """Refuse a folder in which work done anew would destroy what is not its own."""
    foreign = (out / RECORD).is_file() and "result" not in (read_record(out, ()) or {})
    if foreign or any(Path(path).absolute().parent == out.absolute() for path in inputs.files.values()):
        what = "holds another job's results" if foreign else "holds the maps that are to be compared"
        raise JobError(what, where=out, fix="choose another output folder")


@contextlib.contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """A folder for strips inside the job's; the job's record is taken away first, for its files will be replaced."""
    work = out / _WORK
    with typed_faults(out):
        (out / RECORD).unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds results
            out.rmdir()
