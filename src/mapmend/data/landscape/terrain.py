"""What is there before people build: relief, rivers, lakes, and the parcels that land is used in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapmend.data.landscape.canvas import Canvas, scatter, scramble

_RIVER_SPACING = 640.0  # metres between rivers
_LAKE_SHARE = 0.045  # of the land


@dataclass(frozen=True)
class Relief:
    """The ground, H×W each.

    Attributes:
        elevation: in standard deviations of the hills; valleys lie along the rivers.
        river: metres outside a river's bank, negative in the water.
    """

    elevation: np.ndarray
    river: np.ndarray


@dataclass(frozen=True)
class Parcels:
    """Fields, and the blocks of fields that share a direction, H×W each.

    Attributes:
        id: of the field; equal only within one field.
        block: of the block.
        across: metres across the direction of tillage, from a common origin.
        edge: metres to the field's edge.
        border: metres to the block's edge.
        pair: id of the two blocks that meet at the nearest edge.
        turn: direction of tillage in radians, the angle of the axis `across` from the columns' axis.
    """

    id: np.ndarray
    block: np.ndarray
    across: np.ndarray
    edge: np.ndarray
    border: np.ndarray
    pair: np.ndarray
    turn: np.ndarray


def make_relief(canvas: Canvas) -> Relief:
    """Hills with valleys; a large river passes near the middle, others beside it at random widths."""
    rng = canvas.stream("river")
    angle = rng.uniform(0, np.pi)
    rows, cols = canvas.rows - canvas.extent[0] / 2, canvas.cols - canvas.extent[1] / 2
    phase = (rows * np.float32(np.sin(angle)) + cols * np.float32(np.cos(angle))) / np.float32(_RIVER_SPACING)
    phase = phase + np.float32(rng.uniform(-0.1, 0.1)) + np.float32(0.13) * canvas.smooth("river/bend", 620.0)
    phase += np.float32(0.035) * canvas.smooth("river/meander", 190.0)
    steep = np.hypot(*np.gradient(phase, canvas.gsd)).astype(np.float32)
    number = np.rint(phase)
    from_middle = np.abs(phase - number) / np.maximum(steep, 0.4 / _RIVER_SPACING)
    size = canvas.chance(number.astype(np.int32), "river/size")
    half_width = np.where(number == 0, 7.0 + 5.0 * size, 2.0 + 6.0 * size**2).astype(np.float32)
    half_width *= 1 + 0.22 * canvas.smooth("river/width", 90.0)
    river = from_middle - half_width + canvas.smooth("river/bank", 14.0) * 0.7
    elevation = canvas.fractal("hills", 520.0, octaves=6, roughness=0.48)
    elevation += 1.1 * np.tanh(np.maximum(river, 0) / 170.0) - 0.7
    return Relief(elevation.astype(np.float32), river.astype(np.float32))


def make_parcels(canvas: Canvas) -> Parcels:
    """Blocks as warped Voronoi cells, each cut into strips and the strips into fields along its own direction."""
    rows = canvas.rows + 13 * canvas.smooth("block/warp-rows", 210.0)
    cols = canvas.cols + 13 * canvas.smooth("block/warp-cols", 210.0)
    blocks = scatter(canvas, "block", 240.0, rows, cols)
    turn = canvas.chance(blocks.id, "block/turn") * np.float32(np.pi)
    across = cols * np.cos(turn) + rows * np.sin(turn)
    along = rows * np.cos(turn) - cols * np.sin(turn)
    width = 46 + 66 * canvas.chance(blocks.id, "block/width")
    length = 105 + 150 * canvas.chance(blocks.id, "block/length")
    strip = across / width + canvas.chance(blocks.id, "block/phase")
    strip_id = scramble(blocks.id * 4099 + np.floor(strip).astype(np.int32), 1)
    piece = along / length + canvas.chance(strip_id, "strip/phase")
    parcel = scramble(strip_id.astype(np.int64) + 977 * np.floor(piece).astype(np.int64), 2)
    in_strip, in_piece = strip - np.floor(strip), piece - np.floor(piece)
    edge = np.minimum(np.minimum(in_strip, 1 - in_strip) * width, np.minimum(in_piece, 1 - in_piece) * length)
    pair = scramble(np.minimum(blocks.id, blocks.other) * 65599 + np.maximum(blocks.id, blocks.other), 3)
    return Parcels(parcel, blocks.id, across, np.minimum(edge, blocks.border), blocks.border, pair, turn)


def make_lakes(canvas: Canvas, relief: Relief, to_road: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lakes of the two dates, H×W bool each: hollows away from roads, whose level rose here and fell there.

    Args:
        canvas: the plane.
        relief: the ground.
        to_road: metres to the nearest road of either date, H×W.
    """
    depth = -relief.elevation + 0.25 * canvas.smooth("lake/shore", 60.0) + 0.03 * canvas.smooth("lake/bay", 17.0)
    depth -= 3.0 * np.exp(-((np.maximum(to_road - 12, 0) / 38) ** 2)).astype(np.float32)
    depth -= 1.5 * np.exp(-((np.maximum(relief.river, 0) / 30) ** 2))
    level = np.quantile(depth[:: max(1, canvas.height // 256), :: max(1, canvas.width // 256)], 1 - _LAKE_SHARE)
    rise = 0.13 * np.sign(canvas.smooth("lake/rise", 500.0)) * (0.6 + 0.4 * np.abs(canvas.smooth("lake/much", 300.0)))
    free = to_road > 9
    return (depth > level) & free, (depth + rise > level) & free


def take_share(ids: np.ndarray, where: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    """Whole objects of `ids` inside `where`, lowest `order` first, until they hold `share` of its pixels; H×W bool.

    An object that would lead further from the share than stopping is left out, so that few large objects cannot
    overshoot it.
    """
    inside = np.flatnonzero(where)
    if inside.size == 0:
        return np.zeros(where.shape, bool)
    _, first, member, counts = np.unique(
        ids.ravel()[inside], return_index=True, return_inverse=True, return_counts=True
    )
    wanted, taken, chosen = share * inside.size, 0, np.zeros(len(counts), bool)
    for one in np.argsort(order.ravel()[inside][first], kind="stable"):
        if abs(taken + counts[one] - wanted) < abs(wanted - taken):
            taken, chosen[one] = taken + counts[one], True
    result = np.zeros(where.shape, bool)
    result.ravel()[inside[chosen[member]]] = True
    return result
