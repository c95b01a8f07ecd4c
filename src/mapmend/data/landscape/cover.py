"""What covers the ground at each of the two dates: classes, and what a picture needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapmend.data.landscape.buildings import Buildings, make_buildings
from mapmend.data.landscape.canvas import Canvas, scatter
from mapmend.data.landscape.roads import Network, distance_to, make_network, surface
from mapmend.data.landscape.terrain import Parcels, Relief, make_lakes, make_parcels, make_relief, take_share

WATER, FOREST, GRASS, CROP, BARE, ROAD, BUILDING = range(1, 8)

_FOREST_SHARE = 0.27  # of the land outside water and settlements
_CLEARED = 0.08  # of the forest, between the dates
_GROWN = 0.05  # of the grassland, between the dates
_CROWNS = 6.3  # metres between trees


@dataclass(frozen=True)
class Trees:
    """Nearest tree at every pixel, H×W each: its id, the metres to its stem, and its place (row, col in pixels)."""

    id: np.ndarray
    distance: np.ndarray
    row: np.ndarray
    col: np.ndarray


@dataclass(frozen=True)
class Land:
    """What does not depend on the date."""

    canvas: Canvas
    relief: Relief
    parcels: Parcels
    network: Network
    buildings: Buildings
    trees: Trees
    to_main: np.ndarray


@dataclass(frozen=True)
class Cover:
    """The ground at one date, H×W each.

    Attributes:
        classes: ids of the legend `landscape`, uint8.
        height: of trees and roofs above the ground, metres.
        stand: closed forest, as against single trees.
        young: forest that has grown since date 1.
        cleared: ground from which forest has gone since date 1.
        garden: land around houses.
        gravel: bare banks of rivers and shores that fell dry.
        track: unpaved roads.
        street_line: metres to the middle of the nearest paved road.
    """

    classes: np.ndarray
    height: np.ndarray
    stand: np.ndarray
    young: np.ndarray
    cleared: np.ndarray
    garden: np.ndarray
    gravel: np.ndarray
    track: np.ndarray
    street_line: np.ndarray


def make_covers(canvas: Canvas) -> tuple[Land, Cover, Cover]:
    """The land and its cover at both dates."""
    relief, parcels = make_relief(canvas), make_parcels(canvas)
    network = make_network(canvas, relief)
    old_streets = [line for line in network.streets if not line.new]
    to_main = distance_to(canvas, network.main)
    to_street = tuple(distance_to(canvas, (*network.through, *lines)) for lines in (old_streets, network.streets))
    lakes = make_lakes(canvas, relief, np.minimum(to_main, to_street[1]))
    water = tuple(lake | (relief.river < 0) for lake in lakes)
    paved_before = surface(canvas, (*network.main, *old_streets))
    paved = (paved_before, paved_before | surface(canvas, (*network.main, *network.streets)))
    free = ~(water[0] | water[1] | paved[1]) & (relief.river > 4)
    buildings = make_buildings(canvas, network, free)
    rows, cols = np.broadcast_arrays(canvas.rows, canvas.cols)
    points = scatter(canvas, "tree", _CROWNS, rows, cols)
    row, col = (
        np.clip((x / canvas.gsd).astype(np.int32), 0, n - 1)
        for x, n in zip((points.row, points.col), canvas.shape, strict=True)
    )
    land = Land(canvas, relief, parcels, network, buildings, Trees(points.id, points.distance, row, col), to_main)
    first = _first_ground(land, water[0] | water[1], to_street[0])
    covers = tuple(
        _cover(land, first, date, water[date - 1], water[0], paved[date - 1], to_street[date - 1]) for date in (1, 2)
    )
    return land, covers[0], covers[1]


@dataclass(frozen=True)
class _Ground:
    """Open land, tracks and forest at date 1, and which of the forest and grassland changes; H×W bool each."""

    crop: np.ndarray
    track: np.ndarray
    forest: np.ndarray
    cleared: np.ndarray
    grown: np.ndarray


def _first_ground(land: Land, water: np.ndarray, to_street: np.ndarray) -> _Ground:
    canvas, parcels = land.canvas, land.parcels
    arable = canvas.chance(parcels.block, "arable")
    crop = (canvas.chance(parcels.id, "use") < 0.22 + 0.72 * arable) & (parcels.edge > 1.3)
    score = canvas.fractal("forest", 400.0, octaves=5, roughness=0.42) + 0.35 * land.relief.elevation
    score += 1.1 * (canvas.chance(parcels.id, "forest") - 0.5)
    land_here = ~water & (_garden(land, to_street) <= 0) & (land.to_main > 7)
    forest = land_here & (score > np.quantile(score[land_here], 1 - _FOREST_SHARE) if land_here.any() else False)
    pair = canvas.chance(parcels.pair, "track")
    track = (parcels.border < 1.7) & (pair < 0.24) & (land.relief.river > 3) & (_garden(land, to_street) <= 0)
    cleared = take_share(parcels.id, forest, canvas.chance(parcels.id, "cleared"), _CLEARED)
    meadow = land_here & ~forest & ~crop & (parcels.edge > 1.3)
    grown = take_share(parcels.id, meadow, canvas.chance(parcels.id, "grown"), _GROWN)
    return _Ground(crop, track & ~water, forest, cleared, grown)


def _garden(land: Land, to_street: np.ndarray) -> np.ndarray:
    """Positive inside gardens and yards, which lie along streets and the main roads through settlements; H×W."""
    inside: np.ndarray = 25 - to_street + 4 * land.canvas.smooth("garden", 30.0)
    return inside


def _cover(
    land: Land,
    ground: _Ground,
    date: int,
    water: np.ndarray,
    water_before: np.ndarray,
    paved: np.ndarray,
    to_street: np.ndarray,
) -> Cover:
    canvas, parcels = land.canvas, land.parcels
    later = date == 2
    garden = _garden(land, to_street) > 0
    forest = ground.forest & ~garden
    cleared = ground.cleared & forest if later else np.zeros(canvas.shape, bool)
    young = ground.grown & ~garden if later else np.zeros(canvas.shape, bool)
    stand = (forest & ~cleared) | young
    classes = np.where(ground.crop & ~garden, CROP, GRASS).astype(np.uint8)
    felled_bare = cleared & (canvas.chance(parcels.id, "felled") < 0.7)
    classes[cleared] = GRASS
    lots = _lots(land, date) & ~stand & ~garden
    gravel = (land.relief.river < 2.5 + 3 * canvas.smooth("gravel", 70.0)) | (water_before & ~water)
    classes[lots | felled_bare | (gravel & ~stand)] = BARE
    crowns = _single_trees(land, garden, stand, ground.crop & ~garden, date)
    classes[stand | crowns] = FOREST
    classes[ground.track] = ROAD
    classes[water] = WATER
    classes[paved] = ROAD
    built = (land.buildings.id > 0) & (later | ~land.buildings.new)
    classes[built] = BUILDING
    height = np.where(classes == FOREST, _crown_heights(land, stand, young), 0).astype(np.float32)
    height[built] = land.buildings.height[built]
    paved_line = np.minimum(land.to_main, to_street)
    return Cover(classes, height, stand, young, cleared, garden, gravel, ground.track & ~paved, paved_line)


def _lots(land: Land, date: int) -> np.ndarray:
    """Pits, building sites and storage yards: some stay, others end or begin between the dates."""
    canvas = land.canvas
    lots = scatter(canvas, "lot", 150.0, *np.broadcast_arrays(canvas.rows, canvas.cols))
    age = canvas.chance(lots.id, "lot/age")
    there = (age < 0.68) if date == 1 else (age > 0.22) & (age < 0.86)
    size = 7 + 19 * canvas.chance(lots.id, "lot/size") ** 1.5
    if date == 2:
        size = size * (1 + 0.25 * canvas.chance(lots.id, "lot/growth"))
    return there & (lots.distance + 4.5 * canvas.fractal("lot/edge", 24.0, 3) < size)


def _single_trees(land: Land, garden: np.ndarray, stand: np.ndarray, crop: np.ndarray, date: int) -> np.ndarray:
    """Crowns outside closed forest: hedges, banks, gardens, meadows; whole crowns, drawn at the stem's density."""
    canvas, parcels, trees = land.canvas, land.parcels, land.trees
    density = np.where(crop, 0.002, 0.020).astype(np.float32)
    density[garden] = 0.14
    pair = canvas.chance(parcels.pair, "track")
    density[(parcels.border < 3.2) & (pair > 0.55)] = 0.85
    density[(land.relief.river > 0) & (land.relief.river < 9)] = 0.4
    density[land.to_main < 11] = 0.06
    at_stem = density[trees.row, trees.col] * ~stand[trees.row, trees.col]
    present = canvas.chance(trees.id, "tree/here") < at_stem
    lives = canvas.chance(trees.id, "tree/life")
    present &= (lives > 0.04) if date == 2 else (lives < 0.96)
    crowns: np.ndarray = present & (trees.distance < 1.5 + 2.1 * canvas.chance(trees.id, "tree/size"))
    return crowns


def _crown_heights(land: Land, stand: np.ndarray, young: np.ndarray) -> np.ndarray:
    """Domes over the stems, metres: tall in old stands, low in young ones and in gardens."""
    canvas, trees = land.canvas, land.trees
    size = canvas.chance(trees.id, "tree/size")
    top = np.where(stand, 13 + 8 * size, 4.5 + 5 * size)
    top = np.where(young, 2.5 + 2.5 * size, top)
    domes: np.ndarray = top * (1 - 0.5 * np.minimum(trees.distance / 4.2, 1.15) ** 2)
    return domes
