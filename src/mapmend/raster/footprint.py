"""Where a grid lies on Earth, as GeoJSON wants it: longitude and latitude, cut at the antimeridian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from shapely.geometry.polygon import orient

from mapmend.core.grid import Grid

Box = tuple[float, float, float, float]

_EDGE_PARTS = 32  # straight edges of a projection are curves in degrees
_DIGITS = 7  # of a degree: a centimetre
_POLE = 90.0


@dataclass(frozen=True)
class Footprint:
    """A place on Earth.

    Attributes:
        geometry: GeoJSON Polygon, or a MultiPolygon where the place crosses the antimeridian.
        bbox: west, south, east, north in degrees; west is greater than east across the antimeridian.
    """

    geometry: dict[str, Any]
    bbox: Box


def footprint(grid: Grid) -> Footprint | None:
    """The outline of a grid in WGS 84; None without a CRS, or where the grid reaches beyond its CRS."""
    if grid.crs is None:
        return None
    lon, lat = _outline(grid)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    lon = _unwrapped(lon)
    if abs(lon[-1] - lon[0]) > 180:  # the outline runs round a pole, which lies inside
        pole = math.copysign(_POLE, lat.mean())
        lon, lat = np.r_[lon, lon[-1], lon[0]], np.r_[lat, pole, pole]
    lon, lat = lon.round(_DIGITS), lat.round(_DIGITS)
    west, east = float(lon.min()), float(lon.max())
    outline = shapely.Polygon(np.column_stack([lon, lat]))
    parts = _cut(shapely.make_valid(outline, method="structure", keep_collapsed=False), west, east)
    shape = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    spans = (-180.0, 180.0) if east - west >= 360 else (_wrapped(west), _wrapped(east, upper=True))
    return Footprint(shapely.geometry.mapping(shape), (spans[0], float(lat.min()), spans[1], float(lat.max())))


def union(boxes: Sequence[Box]) -> Box:
    """The box around boxes; one whose west is greater than its east crosses the antimeridian."""
    west = min(box[0] for box in boxes)
    east = max(box[2] if box[2] >= box[0] else box[2] + 360 for box in boxes)
    south, north = min(box[1] for box in boxes), max(box[3] for box in boxes)
    if east - west >= 360:
        return -180.0, south, 180.0, north
    return west, south, _wrapped(east, upper=True), north


def _outline(grid: Grid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Longitudes and latitudes along the grid's edge, the first place repeated at the end."""
    assert grid.crs is not None
    height, width = (float(n) for n in grid.shape)
    corners = np.array([(0, 0), (0, height), (width, height), (width, 0), (0, 0)], float)
    steps = np.arange(4 * _EDGE_PARTS + 1) / _EDGE_PARTS
    col, row = (np.interp(steps, np.arange(5), corners[:, axis]) for axis in (0, 1))
    t = grid.transform
    to_wgs84 = Transformer.from_crs(CRS.from_wkt(grid.crs.to_wkt()), CRS.from_epsg(4326), always_xy=True)
    lon, lat = to_wgs84.transform(t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f)
    return np.asarray(lon, np.float64), np.asarray(lat, np.float64)


def _unwrapped(lon: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Longitudes without jumps of a full turn."""
    turns = np.cumsum(np.round(np.diff(lon, prepend=lon[0]) / 360))
    result: npt.NDArray[np.float64] = lon - 360 * turns
    return result


def _cut(polygon: shapely.Geometry, west: float, east: float) -> list[shapely.Polygon]:
    """The parts of a polygon between -180 and 180 after each is turned into that range, counter-clockwise."""
    parts: list[shapely.Polygon] = []
    for turn in range(math.floor((west + 180) / 360), math.ceil((east - 180) / 360) + 1):
        world = shapely.box(360 * turn - 180, -_POLE, 360 * turn + 180, _POLE)
        inside = shapely.transform(shapely.intersection(polygon, world), lambda xy, turn=turn: xy - [360 * turn, 0])
        pieces = shapely.get_parts(inside)
        parts += [orient(piece) for piece in pieces if isinstance(piece, shapely.Polygon) and piece.area > 0]
    return parts


def _wrapped(lon: float, *, upper: bool = False) -> float:
    """A longitude between -180 and 180; as an upper end, 180 stays what it is."""
    turned = (lon + 180) % 360 - 180
    return round(180.0 if upper and turned == -180 else turned, _DIGITS)
