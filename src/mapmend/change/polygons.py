"""Polygons of the kept patches: traced strip by strip, joined across strips, written in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.features import shapes

from mapmend.change.crossing import CrossingPatches
from mapmend.change.patches import Floats, Ints, StripPatches
from mapmend.core.grid import Grid, Window
from mapmend.core.legend import Legend
from mapmend.raster.opening import raster_faults, without_rasterio_warning
from mapmend.raster.vector_writing import Fields, Polygons, WriteBatch

LAYER = "changes"

_BATCH = 5000  # polygons written at a time


def change_fields(unit: str) -> Fields:
    """Fields of the layer; areas only where they are known."""
    area = {"area_ha": float} if unit == "ha" else {}
    return {
        "id": int,
        "from": str,
        "to": str,
        "from_id": int,
        "to_id": int,
        **area,
        "pixels": int,
        "confidence": float,
        "date_from": str,
        "date_to": str,
    }


@dataclass(frozen=True)
class _Found:
    """Whole patches, in pixel coordinates, with what is known about them."""

    polygons: Polygons
    code: Ints
    pixels: Ints
    area: Floats
    certainty: Floats


class PatchTracer:
    """Turns the kept patches of strip after strip into polygons; holds back those that go on below.

    Args:
        crossing: the patches that touch strips' borders.
        layer: takes what is finished.
    """

    def __init__(self, crossing: CrossingPatches, layer: ChangeLayer) -> None:
        self._crossing, self._layer = crossing, layer
        self._waiting: dict[int, list[shapely.Polygon]] = defaultdict(list)
        self._codes: dict[int, int] = {}

    def add(self, number: int, window: Window, patches: StripPatches, kept: npt.NDArray[np.bool_]) -> None:
        """Trace a strip's patches where they are kept."""
        polygons, label = trace(window, patches, kept)
        group = np.full(len(patches.code), -1, np.int64)
        group[patches.border] = self._crossing.of(number)
        own = group[label] < 0
        whole = label[own]
        self._layer.add(
            _Found(
                polygons[own], patches.code[whole], patches.pixels[whole], patches.area[whole], patches.certainty[whole]
            )
        )
        for polygon, piece in zip(polygons[~own], label[~own].tolist(), strict=True):
            self._waiting[int(group[piece])].append(polygon)
            self._codes[int(group[piece])] = int(patches.code[piece])
        self._release([key for key in self._waiting if self._crossing.last[key] == number])

    def _release(self, ended: Sequence[int]) -> None:
        """Hand over the patches whose last strip has passed."""
        polygons = np.empty(len(ended), object)
        for place, key in enumerate(ended):
            pieces = self._waiting.pop(key)
            polygons[place] = pieces[0] if len(pieces) == 1 else shapely.union_all(pieces)
        which, crossing = np.array(ended, np.int64), self._crossing
        code = np.array([self._codes.pop(key) for key in ended], np.int64)
        self._layer.add(_Found(polygons, code, crossing.pixels[which], crossing.area[which], crossing.certainty[which]))


def trace(window: Window, patches: StripPatches, kept: npt.NDArray[np.bool_]) -> tuple[Polygons, Ints]:
    """Polygons of kept patches in the grid's pixel coordinates (column, row), and the patch each of them is."""
    if not kept.any():
        return np.empty(0, object), np.zeros(0, np.int64)
    marked = np.zeros(window.height * window.width, np.int32)
    marked[patches.at] = np.where(kept, np.arange(1, len(kept) + 1), 0)[patches.label]
    image = marked.reshape(window.height, window.width)
    to_grid = Affine.translation(window.col, window.row)
    places: list[tuple[float, float]] = []
    rings, outlines, labels = [0], [0], []  # where each ring ends in places, and each outline in rings
    with raster_faults(LAYER, "cannot be traced"), without_rasterio_warning():
        for outline, value in shapes(image, mask=image > 0, connectivity=4, transform=to_grid):
            for ring in outline["coordinates"]:
                places += ring
                rings.append(len(places))
            outlines.append(len(rings) - 1)
            labels.append(int(value) - 1)
    # all at once: polygons made one by one take longer than all else that is done to them
    found = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, np.array(places), (np.array(rings), np.array(outlines))
    )
    return found, np.array(labels, np.int64)


class ChangeLayer:
    """Numbers the polygons, gives them their fields, and writes them in batches.

    Args:
        writers: of the files that get them all.
        grid: of the patches.
        legend: of both dates.
        dates: earlier and later date.
        unit: of the areas.

    Attributes:
        count: polygons so far.
    """

    def __init__(
        self, writers: Sequence[WriteBatch], grid: Grid, legend: Legend, dates: tuple[str, str], unit: str
    ) -> None:
        self._writers, self._grid, self._legend, self._dates = writers, grid, legend, dates
        self._fields, self._waiting, self._written = change_fields(unit), list[_Found](), 0
        self.count = 0

    def add(self, found: _Found) -> None:
        """Add whole patches."""
        if len(found.polygons):
            self._waiting.append(found)
            self.count += len(found.polygons)
            if self.count - self._written >= _BATCH:
                self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        polygons, code, pixels, area, certainty = (
            np.concatenate([getattr(one, name) for one in self._waiting])
            for name in ("polygons", "code", "pixels", "area", "certainty")
        )
        old, new = np.divmod(code, len(self._legend))
        names, ids = np.array(self._legend.names, object), np.array(self._legend.ids)
        columns = {
            "id": np.arange(self._written, self.count) + 1,
            "from": names[old],
            "to": names[new],
            "from_id": ids[old],
            "to_id": ids[new],
            "area_ha": area,
            "pixels": pixels,
            "confidence": certainty / pixels,
            "date_from": [self._dates[0] or None] * len(code),
            "date_to": [self._dates[1] or None] * len(code),
        }
        placed = shapely.transform(polygons, self._to_ground)
        for start in range(0, len(placed), _BATCH):
            part = slice(start, start + _BATCH)
            for write in self._writers:
                write(placed[part], {name: columns[name][part] for name in self._fields})
        self._waiting, self._written = [], self.count

    def _to_ground(self, places: Floats) -> Floats:
        t = self._grid.transform
        x, y = places.T
        return np.column_stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f])
