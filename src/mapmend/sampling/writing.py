"""A sample's folder: GeoPackage, CSV and design, there together or not at all, and never written over."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import shapely

from mapmend.accuracy.design import SampleDesign, write_design
from mapmend.core.durable import replace_file, sync, typed_faults
from mapmend.core.errors import JobError, SampleError
from mapmend.core.grid import Grid
from mapmend.raster.vector_writing import geopackage_writer
from mapmend.sampling.cells import LAYER
from mapmend.sampling.points import SamplePoints
from mapmend.sampling.style import sample_style

GEOPACKAGE, CSV, DESIGN = "sample.gpkg", "sample.csv", "design.json"

_FILES = (GEOPACKAGE, CSV, DESIGN)
_INTEGERS, _TEXTS = ("id", "row", "col", "round"), ("stratum", "reference_before", "reference", "interpreter")


def write_sample(out: Path, points: SamplePoints, design: SampleDesign, grid: Grid) -> None:
    """Write the three files of a sample into a folder, which is made.

    Raises:
        JobError: the folder holds a sample, or cannot be written.
        DiskError: the disk is full.
        RasterError: the GeoPackage cannot be written.
    """
    check_folder(out)
    with _together(out) as part:
        _write_geopackage(part / GEOPACKAGE, points, design, grid)
        replace_file(part / CSV, points.csv(), error=SampleError)
        write_design(part / DESIGN, design)


def check_folder(out: Path) -> None:
    """Refuse a folder that holds a sample: hours of an interpreter's work may be in it.

    Raises:
        JobError: it holds one of a sample's files, or is none.
    """
    held = [name for name in _FILES if (out / name).exists()]
    if held:
        raise JobError(
            f"holds a sample already ({', '.join(held)})",
            where=out,
            fix="choose another folder; for more points use a second round, to start anew move the files away",
        )
    if out.exists() and not out.is_dir():
        raise JobError("is a file", where=out, fix="give a folder")


def _write_geopackage(path: Path, points: SamplePoints, design: SampleDesign, grid: Grid) -> None:
    columns = points.columns()
    fields: dict[str, type] = {name: int if name in _INTEGERS else str if name in _TEXTS else float for name in columns}
    style = sample_style(list(columns), design.classes)
    values = {name: [None if cell == "" else cell for cell in column] for name, column in columns.items()}
    with geopackage_writer(path, LAYER, fields, grid, style, geometry="Point") as write:
        write(shapely.points(points.x, points.y), values)


@contextlib.contextmanager
def _together(out: Path) -> Iterator[Path]:
    """A hidden folder whose files come into `out` at the end: in one step where there is no such folder yet."""
    new = not out.exists() or not any(out.iterdir())
    part = out.absolute().parent / f".{out.absolute().name}.sample" if new else out / ".sample"
    try:
        with typed_faults(out):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        yield part
        with typed_faults(out):
            sync(part)
            if new:
                part.replace(out)
            else:
                _move(part, out)
            sync(out.absolute().parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _move(part: Path, out: Path) -> None:
    """Move the files into a folder that holds others: all of them, or none."""
    moved: list[Path] = []
    try:
        for name in _FILES:
            moved.append((part / name).rename(out / name))
    except BaseException:
        for path in moved:
            path.unlink()
        raise
