"""UTM zones: which of them images lie in, and which pixels of a zone's grid are the zone's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from pyproj import Transformer

from mapmend.core.errors import GridError
from mapmend.core.grid import Grid, full_window
from mapmend.raster.vector import Aoi, bounding_window

_DEGREES = "EPSG:4326"
_WIDE = 6  # degrees
_SOUTH, _NORTH = -80.0, 84.0  # beyond which UTM has no zones
_STEP = 0.01  # degrees between the corners of a zone's outline on a grid: a meridian is bent there
_CORNERS = 41  # of an image's outline along each of its sides


@dataclass(frozen=True, order=True)
class Zone:
    """A zone of six degrees, north or south of the equator; the exceptions of Norway and Svalbard are not made.

    Attributes:
        number: from 1, at 180° west, to 60.
        south: of the equator.
    """

    number: int
    south: bool

    @property
    def name(self) -> str:
        """As a folder is called: utm32n."""
        return f"utm{self.number:02d}{'s' if self.south else 'n'}"

    @property
    def crs(self) -> str:
        """Of WGS 84."""
        return f"EPSG:{(32700 if self.south else 32600) + self.number}"

    @property
    def box(self) -> shapely.Polygon:
        """Its place in degrees."""
        return _box(self.number, self.south)

    def area(self, grid: Grid) -> Aoi:
        """Its part of a grid.

        Raises:
            GridError: no pixel of the grid lies in the zone.
        """
        assert grid.crs is not None
        outline = _outline(grid)
        _, low, _, high = outline.bounds
        west, south, east, north = self.box.bounds
        part = shapely.box(west, max(south, low - _WIDE), east, min(north, high + _WIDE))
        onto = Transformer.from_crs(_DEGREES, grid.crs.to_wkt(), always_xy=True)
        back = ~grid.transform

        def to_pixels(places: np.ndarray) -> np.ndarray:
            return np.column_stack(back @ tuple(onto.transform(*places.T)))

        shape = shapely.transform(shapely.segmentize(part, _STEP), to_pixels)
        bounds = bounding_window(shape.bounds).intersect(full_window(grid))
        if bounds is None:
            raise GridError(f"does not lie in {self.name}", where="mosaic", fix="choose another zone")
        return Aoi(np.array([shape], object), bounds)


def zones_of(grid: Grid) -> tuple[Zone, ...]:
    """The zones that an image lies in, by number.

    Raises:
        GridError: it lies beyond 80° south or 84° north alone.
    """
    outline = _outline(grid)
    west, south, east, north = outline.bounds
    numbers = range(math.floor((west + 180) / _WIDE) + 1, math.ceil((east + 180) / _WIDE) + 1)
    found = {
        Zone((number - 1) % 60 + 1, half)
        for number in numbers
        for half in ((True,) if north <= 0 else (False,) if south >= 0 else (True, False))
        if shapely.intersection(outline, _box(number, half)).area > 0
    }
    if not found:
        raise GridError("lies in no UTM zone", where="mosaic", fix="give --crs another one, like EPSG:3995")
    return tuple(sorted(found))


def by_zone(grids: Sequence[Grid]) -> dict[Zone, list[int]]:
    """Zones by number, and the places in `grids` of the images that lie in each."""
    found: dict[Zone, list[int]] = {}
    for place, grid in enumerate(grids):
        for zone in zones_of(grid):
            found.setdefault(zone, []).append(place)
    return dict(sorted(found.items()))


def _box(number: int, south: bool) -> shapely.Polygon:
    """A zone's box, whose number may run on beyond 60 or below 1, as longitudes do across 180°."""
    west = _WIDE * number - 186
    return shapely.box(west, _SOUTH if south else 0, west + _WIDE, 0 if south else _NORTH)


def _outline(grid: Grid) -> shapely.Polygon:
    """The outline of a grid in degrees; across 180°, longitudes run on."""
    assert grid.crs is not None
    height, width = (int(size) for size in grid.shape)
    along, down = np.linspace(0, width, _CORNERS), np.linspace(0, height, _CORNERS)
    cols = np.concatenate([along, np.full(_CORNERS, width), along[::-1], np.zeros(_CORNERS)])
    rows = np.concatenate([np.zeros(_CORNERS), down, np.full(_CORNERS, height), down[::-1]])
    t = grid.transform
    x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    degrees = Transformer.from_crs(grid.crs.to_wkt(), _DEGREES, always_xy=True)
    lon, lat = (np.asarray(one) for one in degrees.transform(x, y))
    return shapely.Polygon(np.column_stack([np.degrees(np.unwrap(np.radians(lon))), lat]))
