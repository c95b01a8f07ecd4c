"""Whether a place that is mapped or scored is one that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import shapely

from mapmend.core.grid import Grid
from mapmend.core.places import Role, TrainedPlace
from mapmend.raster.placement import overlap

_SHARED = 0.01  # of the smaller one; as of sites of two splits
_AROUND = 1e-3  # degrees; extents are drawn by few points


class TrainedGround:
    """The places of a model, to be asked for others.

    Args:
        places: of the model.
    """

    def __init__(self, places: Sequence[TrainedPlace]) -> None:
        self._named: dict[str, list[TrainedPlace]] = {}
        for place in places:
            self._named.setdefault(place.site, []).append(place)
        self._placed = [place for place in places if place.grid.crs is not None]
        self._tree = shapely.STRtree([_box(place.grid) for place in self._placed])

    def role_of(self, name: str, grid: Grid) -> Role | None:
        """What a place was to the model: `train` before `val`; None where the model has not seen its labels.

        With a CRS on both sides shared ground tells, more than 1 % of the smaller; else the name.

        Args:
            name: of what is mapped or scored.
            grid: of it.
        """
        found = {place.role for place in self._named.get(name, ()) if place.grid.crs is None or grid.crs is None}
        for index in self._tree.query(_box(grid)) if grid.crs is not None else ():
            place = self._placed[index]
            if max(overlap(place.grid, grid), overlap(grid, place.grid)) > _SHARED:
                found.add(place.role)
        return "train" if "train" in found else "val" if found else None


def _box(grid: Grid) -> shapely.Polygon:
    """Around a grid, in degrees."""
    left, bottom, right, top = tuple(grid.geographic_extent.boundingbox)
    return shapely.box(left - _AROUND, bottom - _AROUND, right + _AROUND, top + _AROUND)
