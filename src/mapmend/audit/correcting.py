"""`audit --apply`: a corrected copy of a label, in which accepted objects carry the proposed class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.features import rasterize

from mapmend import __version__
from mapmend.audit.objects import ACCEPT, layer_grid
from mapmend.audit.record import LabelFile, Record, label_of, record_of
from mapmend.audit.verdicts import Verdicts, read_verdicts
from mapmend.core.classes import LegendClass
from mapmend.core.errors import JobError, LabelError
from mapmend.core.grid import Grid, Window, full_window, grid_from_dict, windows
from mapmend.core.legend import Legend
from mapmend.core.provenance import file_hash
from mapmend.raster.atomic import check_disk
from mapmend.raster.labels import read_values
from mapmend.raster.opening import RasterInfo, handle, raster_info
from mapmend.raster.writing import TiledWriter, write_cog

_SIDE = 1024


@dataclass(frozen=True)
class Corrected:
    """A corrected copy.

    Attributes:
        path: of the copy.
        objects: accepted ones that changed a pixel of it.
        pixels: of the label that were changed.
        codes: class name → the code that was written for it.
        notes: what a reader should know.
    """

    path: Path
    objects: int
    pixels: int
    codes: Mapping[str, int]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "path": str(self.path), "codes": dict(self.codes)}


def apply_review(reviewed: Path, label: Path, out: Path) -> Corrected:
    """Write a copy of a label raster in which the accepted objects of a review carry the proposed class.

    A pixel of the label becomes another class if its centre lies in an accepted object. The class is written as the
    label's own code for it; of several codes that mean the class, the commonest of the label. Grid, nodata value,
    colours and number type are the label's. The label that is given stays what it is.

    Args:
        reviewed: `audit.gpkg` with verdicts.
        label: the raster that was audited.
        out: the copy, a GeoTIFF.

    Raises:
        JobError: the review is of another label, holds an unknown verdict, or accepts nothing.
        LabelError: the label is no raster of codes, or has no code for a class.
        RasterError, DiskError: a file cannot be read or written.
    """
    record = record_of(reviewed)
    if not label.is_file():
        raise JobError("no such file", where=label, fix="give the label that was audited")
    if out.absolute() == label.absolute():
        raise JobError("is the label itself, which is never changed", where=out, fix="name another file")
    sha256 = file_hash(label)
    entries = label_of(record, sha256, label, reviewed)
    faults = [entry.fault for entry in entries if entry.fault]
    if faults:
        raise LabelError(f"cannot be corrected: {faults[0]}", where=label, fix="correct it by hand")
    verdicts = read_verdicts(reviewed)
    sites = [(entry.site, entry.date) for entry in entries]
    accepted = [
        row
        for row in np.flatnonzero(verdicts.verdict == ACCEPT).tolist()
        if (verdicts.site[row], verdicts.date[row]) in sites
    ]
    if not accepted:
        raise JobError("accepts no object of this label", where=reviewed, fix=f"write '{ACCEPT}' as verdict of some")
    info = raster_info(str(label))
    legend = Legend.from_dict(record.legend)
    wanted = {int(verdicts.proposed_id[row]) for row in accepted}
    code_of, notes = _codes(info, entries[0], wanted, legend)
    shapes = _shapes(record, entries, verdicts, accepted, info.grid)
    tags = {
        "MAPMEND_VERSION": __version__,
        "MAPMEND_AUDIT": record.audit,
        "MAPMEND_LABEL_SHA256": sha256,
        "MAPMEND_REVIEW_SHA256": file_hash(reviewed),
        "MAPMEND_ACCEPTED": str(len(accepted)),
    }
    written = [code_of[int(verdicts.proposed_id[row])] for row in accepted]
    named = {code: legend.names[legend.ids.index(id_)] for code, id_ in entries[0].codes}
    changed, pixels = _write(info, shapes, written, out, _Colours.of(info.path, named), tags)
    if changed < len(accepted):
        notes.append(f"{len(accepted) - changed} accepted objects hold no centre of a pixel of the label")
    names = {legend.names[legend.ids.index(id_)]: code for id_, code in sorted(code_of.items())}
    return Corrected(out, changed, pixels, names, tuple(notes))


def _codes(info: RasterInfo, entry: LabelFile, wanted: set[int], legend: Legend) -> tuple[dict[int, int], list[str]]:
    """The code that stands for each wanted class, and what is to be said about the choice."""
    choices = {id_: [code for code, meaning in entry.codes if meaning == id_] for id_ in wanted}
    counts: Counter[int] = Counter()
    if any(len(codes) > 1 for codes in choices.values()):
        for window in windows(info.grid, _SIDE):
            values, number = np.unique(read_values(info, window), return_counts=True)
            counts.update(dict(zip(values.tolist(), number.tolist(), strict=True)))
    found, notes = {}, []
    for id_, codes in sorted(choices.items()):
        name = legend.names[legend.ids.index(id_)]
        if not codes:
            raise LabelError(f"has no code for class '{name}'", where=info.path, fix="reject its objects")
        found[id_] = max(codes, key=lambda code: (counts[code], -code))
        if len(codes) > 1:
            listed = ", ".join(map(str, codes))
            notes.append(f"'{name}' is written as {found[id_]}, the commonest of its codes {listed} in the label")
    return found, notes


def _shapes(
    record: Record, entries: Sequence[LabelFile], verdicts: Verdicts, accepted: Sequence[int], grid: Grid
) -> list[shapely.Geometry]:
    """The accepted objects in the label's pixel coordinates."""
    grids = {(one.site, one.date): grid_from_dict(dict(one.grid)) for one in record.labels}
    common = layer_grid(list(grids.values()))
    to_pixels = ~grid.transform
    shapes = []
    for row in accepted:
        own = grids[verdicts.site[row], verdicts.date[row]]
        shape = shapely.from_wkb(verdicts.geometry[row])
        if common.crs is not None and grid.crs is not None:
            across = Transformer.from_crs(common.crs.to_wkt(), grid.crs.to_wkt(), always_xy=True)
            shape = shapely.transform(shape, lambda places, across=across: np.column_stack(across.transform(*places.T)))
            move = to_pixels
        else:  # without a place on Earth, the label covers the site's grid
            scale = Affine.scale(int(grid.shape[1]) / int(own.shape[1]), int(grid.shape[0]) / int(own.shape[0]))
            move = scale @ ~own.transform
        shapes.append(
            shapely.transform(shape, lambda places, move=move: np.column_stack(move @ (places[:, 0], places[:, 1])))
        )
    return shapes


def _write(
    info: RasterInfo,
    shapes: Sequence[shapely.Geometry],
    codes: Sequence[int],
    out: Path,
    colours: _Colours | None,
    tags: Mapping[str, str],
) -> tuple[int, int]:
    """The copy; how many objects changed a pixel of it, and how many pixels were changed."""
    tree, touched, pixels = shapely.STRtree(list(shapes)), set[int](), 0
    out.parent.mkdir(parents=True, exist_ok=True)
    check_disk(out, 2 * Path(info.path).stat().st_size)
    strips = out.with_name(f".{out.name}.strips.tif")
    try:
        with TiledWriter(strips, info.grid, 1, info.dtype, info.nodata[0]) as file:
            for window in windows(info.grid, _SIDE):
                values = read_values(info, window)
                here = sorted(tree.query(shapely.box(window.col, window.row, window.col_end, window.row_end)).tolist())
                places = _burnt([shapes[one] for one in here], window)
                for number, one in enumerate(here, start=1):
                    inside = places == number
                    if inside.any():
                        touched.add(one)
                        pixels += int((values[inside] != codes[one]).sum())
                        values[inside] = codes[one]
                file.write(window, values)
        write_cog(
            [(strips, full_window(info.grid))],
            info.grid,
            out,
            kind="class",
            dtype=info.dtype,
            nodata=info.nodata[0],
            legend=colours,
            tags=tags,
        )
    finally:
        strips.unlink(missing_ok=True)
    return len(touched), pixels


def _burnt(shapes: Sequence[shapely.Geometry], window: Window) -> npt.NDArray[np.int32]:
    """For each pixel the number, from 1, of the shape that its centre lies in; 0 where there is none."""
    size = (window.height, window.width)
    if not shapes:
        return np.zeros(size, np.int32)
    numbered = [(shape, number) for number, shape in enumerate(shapes, start=1)]
    result: npt.NDArray[np.int32] = rasterize(
        numbered, size, transform=Affine.translation(window.col, window.row), dtype="int32"
    )
    return result


@dataclass(frozen=True)
class _Colours:
    """The colour table of a raster, and what its codes mean."""

    classes: tuple[LegendClass, ...]
    table: Mapping[int, tuple[int, int, int, int]]

    @classmethod
    def of(cls, path: str, names: Mapping[int, str]) -> _Colours | None:
        """None where there is no colour table; names by code."""
        try:
            table = handle(path).colormap(1)
        except ValueError:
            return None
        entries = (
            LegendClass(code, name, "#{:02x}{:02x}{:02x}".format(*table.get(code, (0, 0, 0))[:3]))
            for code, name in names.items()
        )
        return cls(tuple(entries), table)

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Code → (red, green, blue, opacity)."""
        return dict(self.table)
