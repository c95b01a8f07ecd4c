"""Labels that lie beside their images."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot
from pathlib import Path

import numpy as np

from mapmend.core.grid import Grid, ground_pixel_size
from mapmend.core.legend import NODATA, Legend
from mapmend.core.manifest import Row
from mapmend.data.label_layers import label_reader
from mapmend.data.label_shift import Shift, TileSums, conclude, tile_sums
from mapmend.doctor.finding import Finding
from mapmend.doctor.sampling import spread
from mapmend.raster.reading import ImageSource, Reader

_SIDE = 512
_ALONG = 2  # windows along each axis of a site
RADIUS = 16  # pixels looked for, and
_MOST_RADIUS = 48  # for labels of large pixels up to this
_PER_CELL = 1.5  # of a label's own pixels


def look(row: Row, source: ImageSource, legend: Legend, base: Path | None, radius: int) -> tuple[list[TileSums], Grid]:
    """Sums for the shift of one row's label against its image, from windows spread over it.

    Polygons of a single class are set against everything around them.

    Raises:
        MapmendError: the image or the label cannot be read.
    """
    reader = Reader(source)
    _, label = label_reader(row, reader.grid, legend, base)
    tiles = []
    for window in spread(reader.grid, _SIDE, _ALONG):
        pixels, valid = reader.read(window)
        ids = label.read(window)
        classes = ids if len(np.unique(ids[ids != NODATA])) > 1 else (ids != NODATA).astype(np.uint8)
        tiles += tile_sums(pixels, valid, classes, radius)
    return tiles, reader.grid


def radius_for(label_gsd: float | None, grid: Grid) -> int:
    """How far to look: a label of large pixels may lie further off."""
    if label_gsd is None:
        return RADIUS
    return round(float(np.clip(_PER_CELL * label_gsd / max(ground_pixel_size(grid)), RADIUS, _MOST_RADIUS)))


def misplaced(labels: Mapping[str, tuple[list[TileSums], Grid]], every: str) -> list[Finding]:
    """Findings for each label that certainly lies off, or else for all together.

    Args:
        labels: what `look` gave, by the label's name for a reader; of one radius and nearly one pixel size.
        every: name of all together.
    """
    found = [_finding(conclude(tiles), grid, name) for name, (tiles, grid) in labels.items()]
    certain = [finding for finding in found if finding is not None]
    if certain or len(labels) < 2:
        return certain
    together = [tile for tiles, _ in labels.values() for tile in tiles]
    pooled = _finding(conclude(together), next(iter(labels.values()))[1], every)
    return [] if pooled is None else [pooled]


def _finding(shift: Shift, grid: Grid, where: str) -> Finding | None:
    if not shift.certain:
        return None
    width, height = ground_pixel_size(grid)
    metres = "" if grid.crs is None else f" ({hypot(shift.dx * width, shift.dy * height):.3g} m)"
    across = f"{abs(shift.dx):.1f} px {'right of' if shift.dx > 0 else 'left of'}"
    down = f"{abs(shift.dy):.1f} px {'below' if shift.dy > 0 else 'above'}"
    least = ", or more," if shift.at_edge else ""
    what = (
        f"the label lies about {across} and {down}{metres}{least} its place in the image: moved back it explains "
        f"{shift.explained_at_best:.0%} of the image's variance instead of {shift.explained_at_zero:.0%}"
    )
    fix = f"check both georeferences; to move it: add {-shift.dx:+.1f} columns and {-shift.dy:+.1f} rows"
    return Finding("warning", "shifted label", what, where, fix)
