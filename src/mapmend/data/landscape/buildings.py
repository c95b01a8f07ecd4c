"""Houses along streets, farms along roads, halls: footprints, roofs and heights of both dates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mapmend.data.landscape.canvas import Canvas
from mapmend.data.landscape.roads import Line, Network

ROOFS = ("red tile", "brown tile", "slate", "metal", "membrane", "gravel")
_HOUSE_ROOFS = (0.36, 0.22, 0.26, 0.04, 0.03, 0.09)
_HALL_ROOFS = (0.0, 0.08, 0.12, 0.36, 0.2, 0.24)


@dataclass(frozen=True)
class Buildings:
    """Footprints, H×W each.

    Attributes:
        id: 1, 2, … and 0 where there is none.
        height: of the roof above the ground in metres.
        roof: index into `ROOFS`.
        new: whether the building came with date 2.
    """

    id: np.ndarray
    height: np.ndarray
    roof: np.ndarray
    new: np.ndarray


@dataclass(frozen=True)
class _Plan:
    """One building: centre (row, col), direction of its long side, sides in metres, eaves height, roof."""

    centre: np.ndarray
    along: np.ndarray
    length: float
    depth: float
    eaves: float
    roof: int
    pitch: float
    wing: float
    new: bool


def make_buildings(canvas: Canvas, network: Network, free: np.ndarray) -> Buildings:
    """Place buildings one after another wherever the ground is still free.

    Args:
        canvas: the plane.
        network: the roads that buildings face.
        free: ground that may be built on, H×W bool.
    """
    rng = canvas.stream("buildings")
    free = free.copy()
    result = Buildings(
        np.zeros(canvas.shape, np.int32),
        np.zeros(canvas.shape, np.float32),
        np.zeros(canvas.shape, np.uint8),
        np.zeros(canvas.shape, bool),
    )
    number = 0
    for plan in _plans(network, rng):
        number += _paint(canvas, plan, number + 1, free, result)
    return result


def _plans(network: Network, rng: np.random.Generator) -> Iterator[_Plan]:
    for line in sorted(network.streets, key=lambda line: line.new):
        yield from _along(line, 17.0, 0.88, rng, hall=0.05)
    for line in network.through:
        yield from _along(line, 19.0, 0.8, rng, hall=0.1)
    for line in network.between:
        for plan in _along(line, 85.0, 0.34, rng, hall=0.25):
            yield plan
            for _ in range(int(rng.integers(1, 4))):
                turned = np.array([-plan.along[1], plan.along[0]])
                place = plan.centre + plan.along * rng.choice([-1, 1]) * rng.uniform(18, 34) + turned * rng.normal(0, 9)
                yield _plan(place, plan.along if rng.random() < 0.5 else turned, True, plan.new, rng)


def _along(line: Line, pitch: float, chance: float, rng: np.random.Generator, hall: float) -> Iterator[_Plan]:
    """Buildings on both sides of a line, `pitch` metres apart; `hall` is the chance that one is large."""
    if len(line.points) < 4:
        return
    directions = line.directions
    step = float(np.linalg.norm(line.points[1] - line.points[0]))
    position = rng.uniform(0, pitch)
    while position < len(line.points) * step:
        at = int(position / step)
        along = directions[at]
        for hand in (-1, 1):
            if rng.random() > chance:
                continue
            large = rng.random() < hall
            turned = np.array([-along[1], along[0]]) * hand
            ahead = along if rng.random() < 0.7 else turned
            plan = _plan(line.points[at], ahead, large, line.new, rng)
            setback = line.width / 2 + rng.uniform(3, 8) + (plan.depth if ahead is along else plan.length) / 2
            yield replace(plan, centre=line.points[at] + turned * setback + along * rng.normal(0, 1.2))
        position += pitch * rng.uniform(0.85, 1.35) * (1.0 if rng.random() < 0.93 else 2.2)


def _plan(centre: np.ndarray, along: np.ndarray, large: bool, new: bool, rng: np.random.Generator) -> _Plan:
    depth = rng.uniform(11, 22) if large else rng.uniform(7.5, 11)
    length = depth * (rng.uniform(1.3, 2.6) if large else rng.uniform(1.05, 1.7))
    roof = int(rng.choice(len(ROOFS), p=_HALL_ROOFS if large else _HOUSE_ROOFS))
    flat = roof >= 3
    tilt = rng.normal(0, 0.06)
    along = along * np.cos(tilt) + np.array([-along[1], along[0]]) * np.sin(tilt)
    pitch = 0.06 if flat else rng.uniform(0.45, 0.95)
    wing = rng.uniform(0.35, 0.6) if rng.random() < 0.3 else 0.0
    return _Plan(centre, along, length, depth, rng.uniform(3.5, 7.5), roof, pitch, wing, new)


def _paint(canvas: Canvas, plan: _Plan, number: int, free: np.ndarray, out: Buildings) -> bool:
    """Draw a building if its ground is free, and keep a strip around it free of others; whether it was drawn."""
    reach = 0.5 * float(np.hypot(plan.length, plan.depth)) + 3 + plan.depth * plan.wing
    low = np.floor((plan.centre - reach) / canvas.gsd).astype(int)
    high = np.ceil((plan.centre + reach) / canvas.gsd).astype(int) + 1
    if (low < 0).any() or high[0] > canvas.height or high[1] > canvas.width:
        low, high = np.maximum(low, 0), np.minimum(high, canvas.shape)
        if (high <= low).any():
            return False
    box = slice(low[0], high[0]), slice(low[1], high[1])
    rows = (np.arange(low[0], high[0]) + 0.5)[:, None] * canvas.gsd - plan.centre[0]
    cols = (np.arange(low[1], high[1]) + 0.5)[None, :] * canvas.gsd - plan.centre[1]
    u = rows * plan.along[0] + cols * plan.along[1]
    v = cols * plan.along[0] - rows * plan.along[1]
    body = (np.abs(u) <= plan.length / 2) & (np.abs(v) <= plan.depth / 2)
    height = plan.eaves + plan.pitch * (plan.depth / 2 - np.abs(v))
    if plan.wing:
        width = plan.length * plan.wing / 2
        aside = u - (plan.length / 2 - width)
        wing = (np.abs(aside) <= width) & (v >= 0) & (v <= plan.depth * (0.5 + plan.wing))
        height = np.where(wing & ~body, plan.eaves + plan.pitch * (width - np.abs(aside)), height)
        height = np.where(wing & body, np.maximum(height, plan.eaves + plan.pitch * (width - np.abs(aside))), height)
        body |= wing
    if not body.any() or not free[box][body].all():
        return False
    out.id[box][body] = number
    out.height[box][body] = height[body]
    out.roof[box][body] = plan.roof
    out.new[box][body] = plan.new
    free[box][(np.abs(u) <= plan.length / 2 + 2.5) & (np.abs(v) <= plan.depth / 2 + 2.5)] = False
    free[box][body] = False
    return True
