"""How the layers of a site lie to one another, and how sites differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from mapmend.core.errors import MapmendError
from mapmend.core.grid import Grid, finest, ground_pixel_size, same_grid
from mapmend.core.manifest import Row
from mapmend.doctor.finding import Finding, from_fault
from mapmend.doctor.storage import crs_name
from mapmend.raster.features import touches
from mapmend.raster.opening import RasterInfo, raster_info
from mapmend.raster.placement import overlap, place
from mapmend.raster.vector import is_vector, vector_info

_BARELY = 0.5  # share of the finest image below which another layer covers too little of it
_UNLIKE = 1.5  # times the pixel size
_PAIR = "check both CRSs, or leave this pair out"


def layers(site: str, images: Sequence[RasterInfo]) -> list[Finding]:
    """Images of a site that lie apart, and what bringing them onto one grid costs."""
    grid = finest([info.grid for info in images])
    found = [finding for info in images for finding in _covers(info.grid, grid, info.path, "the site's finest image")]
    others = [info for info in images if not same_grid(info.grid, grid)]
    if not others:
        return found
    crss = len({str(info.grid.crs) for info in images})
    size = prod(int(n) for n in grid.shape) * sum(info.count * np.dtype(info.dtype).itemsize for info in others)
    kinds = f"{crss} CRSs" if crss > 1 else "one CRS"
    size_m = min(ground_pixel_size(grid))
    what = f"{len(others)} of {len(images)} images lie on other grids ({kinds}) than the finest, of {size_m:.3g} m"
    fix = f"nothing to do: `mapmend prepare` warps them, once, into {size / 1e6:.3g} MB at most"
    return [*found, Finding("note", "mixed grids", what, f"site '{site}'", fix)]


def label_place(row: Row, grid: Grid, what: str) -> list[Finding]:
    """A label or reference (`what`) that lies beside the grid of its image."""
    found = []
    for path in row.label_files:
        try:
            if not is_vector(path):
                own = raster_info(path).grid
                place(own, grid, where=path, zoomable=True)
                found += _covers(own, grid, path, "its image")
                continue
            info = vector_info(path)
            if info.crs is not None and grid.crs is not None and not touches(info, grid):
                found.append(Finding("error", "overlap", f"the {what} does not overlap its image", path, _PAIR))
        except MapmendError as fault:
            found.append(from_fault(fault, "overlap", path))
    return found


def unlike(grids: Mapping[str, Grid]) -> list[Finding]:
    """Sites of very different pixels, or in several CRSs."""
    found = []
    sizes = {site: max(ground_pixel_size(grid)) for site, grid in grids.items() if grid.crs is not None}
    if sizes and max(sizes.values()) > _UNLIKE * min(sizes.values()):
        fine, coarse = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
        what = (
            f"pixels differ: {sizes[fine]:.3g} m ('{fine}') to {sizes[coarse]:.3g} m ('{coarse}'); one model sees both"
        )
        found.append(Finding("warning", "pixel sizes", what, "scenes", "resample to one size, or train two models"))
    crss = Counter(crs_name(grid) for grid in grids.values())
    if len(crss) > 1:
        listed = ", ".join(f"{name} ({count})" for name, count in crss.most_common(5))
        what = f"sites lie in {len(crss)} CRSs: {listed}"
        found.append(Finding("note", "mixed CRSs", what, "scenes", "nothing to do: each site is mapped in its own"))
    return found


def rows_of(rows: Sequence[Row], references: Sequence[Row]) -> list[Finding]:
    """Rows that contradict one another: one image at two dates, a reference that is the label."""
    found = []
    at: dict[tuple[str, tuple[str, ...]], Row] = {}
    for row in rows:
        first = at.setdefault((row.site, row.image), row)
        if row.image and first.date != row.date:
            what = f"has the same image at {first.date or 'no date'} and {row.date or 'no date'}: nothing can change"
            found.append(Finding("error", "dates", what, f"site '{row.site}'", "correct the path or the date"))
        if row.image and first is not row and first.date == row.date:
            what = f"has the same image as '{first.sensor}' and '{row.sensor}'"
            found.append(Finding("warning", "duplicates", what, f"site '{row.site}'", "keep one row"))
    shown: dict[tuple[str, ...], str] = {}
    for row in rows:
        other = shown.setdefault(row.image, row.site)
        if row.image and other != row.site:
            what = f"has the same image as site '{other}': it counts twice"
            found.append(Finding("warning", "duplicates", what, f"site '{row.site}'", "keep one of the sites"))
    learned = {file for row in rows if row.split in ("", "train") for file in row.label_files}
    for row in references:
        for file in row.label_files:
            if file in learned:
                what = "is the reference and also the label that is trained on: scores will flatter"
                found.append(
                    Finding("error", "reference", what, file, "score against labels that training has not seen")
                )
    return found


def _covers(own: Grid, grid: Grid, path: str, of: str) -> list[Finding]:
    if own.crs is None or grid.crs is None:
        if tuple(own.shape) == tuple(grid.shape) or own is grid:
            return []
        return _sizes(own, grid, path, of)
    share = overlap(grid, own)
    if share == 0:
        return [Finding("error", "overlap", f"does not overlap {of}", path, _PAIR)]
    if share < _BARELY:
        what = f"covers {share:.0%} of {of}: the rest has no data"
        return [Finding("warning", "overlap", what, path, "check both CRSs, or cut the images to what they share")]
    return []


def _sizes(own: Grid, grid: Grid, path: str, of: str) -> list[Finding]:
    """Without a CRS only the number of pixels tells; a whole factor is a coarser label of the same place."""
    (rows, cols), (height, width) = (tuple(int(n) for n in one.shape) for one in (own, grid))
    if own.crs is None and grid.crs is None and height % rows == 0 and width % cols == 0:
        return []
    what = f"is {cols} × {rows} pixels, and {of} {width} × {height}, and one of them has no CRS"
    return [Finding("error", "overlap", what, path, "assign the missing CRS, e.g. gdal_edit -a_srs")]
