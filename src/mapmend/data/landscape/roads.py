"""Settlements, and the roads and streets of both dates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import Delaunay, KDTree

from mapmend.data.landscape.canvas import Canvas
from mapmend.data.landscape.terrain import Relief

_APART = 460.0  # metres between settlements
_BETWEEN_STREETS = 54.0  # metres
_STEP = 0.5  # pixels between the points of a line


@dataclass(frozen=True)
class Line:
    """A road's middle: N×2 points (row, col) in metres, its width in metres, and whether it came with date 2."""

    points: np.ndarray
    width: float
    new: bool = False

    @property
    def directions(self) -> np.ndarray:
        """Unit vectors along the line, N×2."""
        forward = np.gradient(self.points, axis=0)
        lengths = np.linalg.norm(forward, axis=1, keepdims=True)
        return np.asarray(forward / np.maximum(lengths, 1e-9))


@dataclass(frozen=True)
class Settlement:
    """Centre (row, col), radius in metres, and direction of its streets in radians."""

    centre: np.ndarray
    radius: float
    turn: float


@dataclass(frozen=True)
class Network:
    """All roads: main roads through settlements, those between them, and streets (some of them new)."""

    through: tuple[Line, ...]
    between: tuple[Line, ...]
    streets: tuple[Line, ...]

    @property
    def main(self) -> tuple[Line, ...]:
        """The main roads."""
        return self.through + self.between


def make_network(canvas: Canvas, relief: Relief) -> Network:
    """Settlements on a loose lattice, joined by a Gabriel graph of winding roads, each with a grid of streets."""
    rng = canvas.stream("settlements")
    counts = [max(1, round(side / _APART)) for side in canvas.extent]
    spacing = [max(side / n, 0.8 * _APART) for side, n in zip(canvas.extent, counts, strict=True)]
    start = [(side - n * gap) / 2 for side, n, gap in zip(canvas.extent, counts, spacing, strict=True)]
    settlements = []
    for line in range(-1, counts[0] + 1):
        for cell in range(-1, counts[1] + 1):
            places = np.array([line, cell]) + rng.uniform(0.24, 0.76, (8, 2))
            places = places * spacing + start
            best = int(np.argmax([_suitability(canvas, relief, place) for place in places]))
            radius, turn = rng.uniform(75, 135), rng.uniform(0, np.pi)
            settlements.append(Settlement(places[best], radius, turn))
    roads = [_main_road(a, b, canvas, rng) for a, b in _neighbours([s.centre for s in settlements])]
    through, between = _split(roads, settlements)
    streets = [street for s in settlements for street in _streets(s, canvas, relief, rng)]
    return Network(through, between, tuple(streets))


def distance_to(canvas: Canvas, lines: Iterable[Line]) -> np.ndarray:
    """Metres from every pixel to the middle of the nearest line, H×W float32; infinite without lines."""
    drawn = _draw(canvas, lines)
    if not drawn.any():
        return np.full(canvas.shape, np.inf, np.float32)
    distance: np.ndarray = ndimage.distance_transform_edt(drawn == 0)
    return distance.astype(np.float32) * np.float32(canvas.gsd)


def surface(canvas: Canvas, lines: Iterable[Line]) -> np.ndarray:
    """Where the nearest line reaches with its own width, H×W bool."""
    widths = _draw(canvas, lines)
    if not widths.any():
        return np.zeros(canvas.shape, bool)
    distance, nearest = ndimage.distance_transform_edt(widths == 0, return_indices=True)
    covered: np.ndarray = distance * canvas.gsd <= widths[tuple(nearest)] / 2
    return covered


def _draw(canvas: Canvas, lines: Iterable[Line]) -> np.ndarray:
    """The widths of lines along their middles and 0 elsewhere, H×W float32."""
    widths = np.zeros(canvas.shape, np.float32)
    for line in lines:
        row, col = np.floor(line.points / canvas.gsd).astype(np.int64).T
        inside = (row >= 0) & (row < canvas.height) & (col >= 0) & (col < canvas.width)
        widths[row[inside], col[inside]] = line.width
    return widths


def _suitability(canvas: Canvas, relief: Relief, place: np.ndarray) -> float:
    row, col = (int(np.clip(x / canvas.gsd, 0, n - 1)) for x, n in zip(place, canvas.shape, strict=True))
    from_river = min(float(relief.river[row, col]), 90.0) / 90.0
    return 2 * from_river - abs(float(relief.elevation[row, col]))


def _neighbours(centres: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Edges of the Gabriel graph: pairs with no third centre in the circle between them."""
    points = np.array(centres)
    triangles = Delaunay(points).simplices
    edges = np.unique(
        np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]])), axis=0
    )
    ends = points[edges]
    reach = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) / 2
    nearest, _ = KDTree(points).query(ends.mean(1))
    return [(a, b) for (a, b), keep in zip(ends, nearest > reach * 0.999, strict=True) if keep]


def _main_road(a: np.ndarray, b: np.ndarray, canvas: Canvas, rng: np.random.Generator) -> Line:
    length = float(np.linalg.norm(b - a))
    t = np.linspace(0, 1, max(2, int(length / (_STEP * canvas.gsd))))
    waves = np.array([1, 2, 3, 5, 7])
    sway = np.sin(np.pi * t[:, None] * waves) @ (rng.normal(size=5) / waves**1.3)
    side = np.array([-(b - a)[1], (b - a)[0]]) / length
    return Line(a + (b - a) * t[:, None] + side * (0.055 * length * sway)[:, None], float(rng.choice([6.5, 8.0, 10.0])))


def _split(roads: list[Line], settlements: list[Settlement]) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    """The pieces of roads near a settlement, and those that are not."""
    centres, radii = KDTree(np.array([s.centre for s in settlements])), np.array([s.radius for s in settlements])
    pieces: tuple[list[Line], list[Line]] = ([], [])
    for road in roads:
        distance, town = centres.query(road.points)
        outside = distance > 1.15 * radii[town]
        cuts = np.flatnonzero(np.diff(outside)) + 1
        for points, where in zip(np.split(road.points, cuts), np.split(outside, cuts), strict=True):
            pieces[int(where[0])].append(Line(points, road.width))
    return tuple(pieces[0]), tuple(pieces[1])


def _streets(town: Settlement, canvas: Canvas, relief: Relief, rng: np.random.Generator) -> list[Line]:
    """A warped grid of streets inside the settlement, and beside it an estate that came with date 2."""
    along = np.array([np.sin(town.turn), np.cos(town.turn)])
    side = np.array([-along[1], along[0]])
    bend = rng.uniform(-0.0012, 0.0012)
    lines = []

    def add(start: tuple[float, float], end: tuple[float, float], new: bool) -> None:
        count = max(2, int(np.hypot(end[0] - start[0], end[1] - start[1]) / (_STEP * canvas.gsd)))
        u, v = np.linspace(start, end, count).T
        points = town.centre + u[:, None] * along + (v + bend * u**2)[:, None] * side
        points = points[_is_dry(canvas, relief, points)]
        if len(points) * _STEP * canvas.gsd > 15:
            lines.append(Line(points, float(rng.choice([5.0, 6.0, 6.5])), new))

    rows = np.arange(-town.radius, town.radius + 1, _BETWEEN_STREETS) + rng.uniform(-8, 8)
    for v in rows:
        half = np.sqrt(max(town.radius**2 - v**2, 0)) * rng.uniform(0.75, 1.1)
        if half > 20:
            add((-half * rng.uniform(0.7, 1), v), (half * rng.uniform(0.7, 1), v), False)
    for u in np.arange(-town.radius, town.radius, 95.0) + rng.uniform(0, 60):
        half = np.sqrt(max(town.radius**2 - u**2, 0)) * 0.9
        add((u, -half), (u, half), False)
    hand = rng.choice([-1.0, 1.0])
    inner, reach = hand * (town.radius - 10), town.radius * rng.uniform(0.4, 0.6)
    at = rng.uniform(-0.3, 0.3) * town.radius
    add((at, inner), (at, inner + hand * 95), True)
    for v in (45.0, 92.0):
        add((at - reach, inner + hand * v), (at + reach, inner + hand * v), True)
    return lines


def _is_dry(canvas: Canvas, relief: Relief, points: np.ndarray) -> np.ndarray:
    """Whether points lie off the rivers; those outside the canvas count as dry."""
    row, col = np.floor(points / canvas.gsd).astype(np.int64).T
    inside = (row >= 0) & (row < canvas.height) & (col >= 0) & (col < canvas.width)
    dry = np.ones(len(points), bool)
    dry[inside] = relief.river[row[inside], col[inside]] > 9
    return dry
