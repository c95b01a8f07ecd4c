"""What the ground is made of at each date, and how it reflects light and microwaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapmend.data.landscape.buildings import ROOFS
from mapmend.data.landscape.cover import BARE, BUILDING, CROP, FOREST, GRASS, ROAD, WATER, Cover, Land


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    Attributes:
        low: reflectance in red, green, blue and near infrared at one end of its range.
        high: the same at the other end.
        rough: relative brightness of its texture (standard deviation).
        rows: relative brightness of tilled rows.
        backscatter: radar backscatter in dB, VV and VH.
    """

    low: tuple[float, float, float, float]
    high: tuple[float, float, float, float]
    rough: float
    rows: float
    backscatter: tuple[float, float]


Season = dict[str, Material]

_ALWAYS: Season = {
    "deep water": Material((0.020, 0.032, 0.038, 0.012), (0.056, 0.080, 0.058, 0.060), 0.04, 0, (-21.5, -28.5)),
    "river water": Material((0.038, 0.052, 0.048, 0.020), (0.100, 0.108, 0.080, 0.065), 0.05, 0, (-20.0, -27.5)),
    "soil": Material((0.125, 0.098, 0.075, 0.180), (0.270, 0.220, 0.165, 0.330), 0.11, 0, (-13.5, -21.0)),
    "gravel": Material((0.110, 0.098, 0.080, 0.140), (0.260, 0.240, 0.200, 0.300), 0.12, 0, (-13.0, -21.0)),
    "felled": Material((0.120, 0.098, 0.070, 0.200), (0.205, 0.165, 0.115, 0.290), 0.17, 0, (-11.5, -18.0)),
    "asphalt": Material((0.060, 0.062, 0.064, 0.078), (0.185, 0.178, 0.168, 0.225), 0.06, 0, (-17.5, -25.5)),
    "street": Material((0.085, 0.084, 0.080, 0.110), (0.255, 0.235, 0.205, 0.300), 0.09, 0, (-16.0, -24.0)),
    "track": Material((0.150, 0.125, 0.092, 0.220), (0.250, 0.212, 0.160, 0.310), 0.10, 0, (-14.5, -22.0)),
    "red tile": Material((0.150, 0.082, 0.062, 0.190), (0.260, 0.140, 0.098, 0.300), 0.05, 0, (-5.5, -14.0)),
    "brown tile": Material((0.105, 0.080, 0.065, 0.140), (0.185, 0.140, 0.108, 0.230), 0.05, 0, (-5.5, -14.0)),
    "slate": Material((0.060, 0.062, 0.068, 0.075), (0.130, 0.132, 0.138, 0.155), 0.05, 0, (-6.0, -14.5)),
    "metal": Material((0.190, 0.195, 0.205, 0.210), (0.420, 0.425, 0.430, 0.440), 0.03, 0, (-3.0, -13.0)),
    "membrane": Material((0.260, 0.260, 0.255, 0.270), (0.520, 0.515, 0.500, 0.510), 0.03, 0, (-8.5, -17.0)),
    "gravel roof": Material((0.130, 0.124, 0.112, 0.155), (0.210, 0.200, 0.180, 0.240), 0.07, 0, (-8.0, -16.5)),
}

_SUMMER: Season = {
    "broadleaf": Material((0.026, 0.042, 0.024, 0.270), (0.050, 0.072, 0.036, 0.410), 0.09, 0, (-8.5, -14.0)),
    "conifer": Material((0.019, 0.029, 0.020, 0.150), (0.034, 0.046, 0.028, 0.250), 0.09, 0, (-8.8, -14.3)),
    "saplings": Material((0.042, 0.062, 0.034, 0.270), (0.074, 0.092, 0.048, 0.390), 0.10, 0, (-10.3, -16.2)),
    "lawn": Material((0.055, 0.078, 0.040, 0.300), (0.130, 0.130, 0.078, 0.370), 0.10, 0, (-13.0, -20.5)),
    "meadow": Material((0.062, 0.086, 0.042, 0.330), (0.165, 0.152, 0.092, 0.360), 0.06, 0.02, (-13.0, -20.0)),
    "mown meadow": Material((0.105, 0.112, 0.064, 0.290), (0.215, 0.188, 0.118, 0.340), 0.05, 0.05, (-13.6, -21.0)),
    "regrowth": Material((0.060, 0.078, 0.042, 0.260), (0.135, 0.122, 0.078, 0.320), 0.13, 0, (-11.8, -18.5)),
    "stubble": Material((0.190, 0.160, 0.108, 0.250), (0.285, 0.245, 0.165, 0.340), 0.05, 0.08, (-13.8, -22.0)),
    "ripe cereal": Material((0.210, 0.172, 0.100, 0.290), (0.300, 0.248, 0.140, 0.370), 0.04, 0.05, (-11.8, -19.5)),
    "maize": Material((0.040, 0.064, 0.032, 0.360), (0.072, 0.096, 0.044, 0.450), 0.05, 0.08, (-10.0, -16.5)),
    "beet": Material((0.048, 0.082, 0.036, 0.420), (0.084, 0.118, 0.050, 0.510), 0.05, 0.07, (-9.8, -17.0)),
    "ploughed": Material((0.095, 0.074, 0.056, 0.140), (0.175, 0.138, 0.102, 0.230), 0.07, 0.09, (-11.5, -20.5)),
    "catch crop": Material((0.062, 0.086, 0.044, 0.300), (0.130, 0.130, 0.074, 0.350), 0.06, 0.04, (-12.2, -19.0)),
}

_SPRING: Season = {
    "broadleaf": Material((0.036, 0.062, 0.028, 0.300), (0.068, 0.098, 0.042, 0.460), 0.09, 0, (-8.9, -14.6)),
    "conifer": Material((0.020, 0.030, 0.021, 0.160), (0.036, 0.050, 0.030, 0.260), 0.09, 0, (-8.9, -14.5)),
    "saplings": Material((0.048, 0.076, 0.036, 0.300), (0.080, 0.108, 0.050, 0.400), 0.10, 0, (-10.6, -16.6)),
    "lawn": Material((0.046, 0.078, 0.036, 0.340), (0.090, 0.116, 0.056, 0.430), 0.09, 0, (-12.6, -19.8)),
    "meadow": Material((0.050, 0.086, 0.036, 0.380), (0.104, 0.128, 0.062, 0.460), 0.06, 0.02, (-12.5, -19.4)),
    "mown meadow": Material((0.072, 0.092, 0.048, 0.300), (0.150, 0.145, 0.085, 0.340), 0.05, 0.05, (-13.2, -20.6)),
    "regrowth": Material((0.056, 0.080, 0.040, 0.280), (0.120, 0.122, 0.072, 0.340), 0.13, 0, (-11.6, -18.2)),
    "winter cereal": Material((0.040, 0.070, 0.032, 0.380), (0.070, 0.104, 0.046, 0.470), 0.04, 0.05, (-13.2, -20.5)),
    "rapeseed": Material((0.150, 0.172, 0.048, 0.420), (0.230, 0.240, 0.060, 0.500), 0.06, 0.03, (-10.4, -16.6)),
    "seedbed": Material((0.135, 0.108, 0.082, 0.180), (0.225, 0.182, 0.138, 0.280), 0.05, 0.06, (-13.4, -22.0)),
    "young maize": Material((0.120, 0.108, 0.078, 0.220), (0.175, 0.158, 0.110, 0.290), 0.06, 0.10, (-12.6, -20.8)),
    "barley": Material((0.072, 0.100, 0.048, 0.360), (0.120, 0.140, 0.068, 0.420), 0.04, 0.05, (-12.6, -19.2)),
    "ley": Material((0.046, 0.080, 0.036, 0.370), (0.092, 0.120, 0.058, 0.450), 0.06, 0.03, (-12.4, -19.2)),
}

SEASONS: tuple[Season, Season] = (_ALWAYS | _SUMMER, _ALWAYS | _SPRING)
CROPS = (
    ("stubble", "ripe cereal", "maize", "beet", "ploughed", "catch crop", "catch crop", "stubble"),
    ("winter cereal", "rapeseed", "seedbed", "young maize", "barley", "ley", "winter cereal", "seedbed"),
)


def materials(land: Land, cover: Cover, date: int) -> np.ndarray:
    """Position of each pixel's material in `SEASONS[date - 1]`, H×W uint8."""
    canvas, parcels, classes = land.canvas, land.parcels, cover.classes
    place = {name: index for index, name in enumerate(SEASONS[date - 1])}
    result = np.full(canvas.shape, place["meadow"], np.uint8)
    crops = np.array([place[name] for name in CROPS[date - 1]], np.uint8)
    kind = (canvas.chance(parcels.id, f"crop/{date}") * len(crops)).astype(np.uint8)
    result = np.where(classes == CROP, crops[kind], result)
    grass = classes == GRASS
    mown = canvas.chance(parcels.id, f"mown/{date}") < 0.3
    result[grass & mown] = place["mown meadow"]
    result[grass & cover.garden] = place["lawn"]
    result[grass & cover.cleared] = place["regrowth"]
    bare = classes == BARE
    result[bare] = place["soil"]
    result[bare & cover.gravel] = place["gravel"]
    result[bare & cover.cleared] = place["felled"]
    conifers = canvas.smooth("conifers", 210.0) + 0.9 * (canvas.chance(land.trees.id, "tree/conifer") - 0.5) > 0.35
    forest = classes == FOREST
    result[forest] = np.where(conifers & cover.stand, place["conifer"], place["broadleaf"])[forest]
    result[forest & cover.young] = place["saplings"]
    water = classes == WATER
    result[water] = np.where(land.relief.river < 1, place["river water"], place["deep water"])[water]
    road = classes == ROAD
    main = land.to_main <= cover.street_line
    result[road] = np.where(cover.track, place["track"], np.where(main, place["asphalt"], place["street"]))[road]
    roofs = np.array([place[name if name != "gravel" else "gravel roof"] for name in ROOFS], np.uint8)
    built = classes == BUILDING
    result[built] = roofs[land.buildings.roof[built]]
    return result
