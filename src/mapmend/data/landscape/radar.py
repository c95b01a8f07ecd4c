"""Radar images: backscatter with layover, shadow and speckle, seen from one side."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mapmend.data.landscape.cover import BARE, BUILDING, CROP, GRASS, WATER, Cover, Land
from mapmend.data.landscape.materials import SEASONS, materials
from mapmend.data.landscape.rays import cast, facing

LOOKS = 3.5  # equivalent number of looks
_SENSOR_AZIMUTH = 281.0  # degrees clockwise from north, where the antenna is
_GRAZING = 52.0  # degrees between the ray and the ground
_NOISE_FLOOR = (-27.0, -32.0)  # dB, VV and VH
_WALL = (3.0, -9.0)  # dB of the corner between a wall and the ground
_MOISTURE = (0.0, 1.2)  # dB by which open ground is brighter at each date


def radar_image(land: Land, cover: Cover, date: int) -> np.ndarray:
    """Backscatter of one date in dB, VV and VH, 2×H×W float32.

    Speckle is gamma-distributed with `LOOKS` looks (Goodman 1976), correlated over neighbours by the system's
    response. Radar shadow falls away from the antenna; walls toward it lay over the ground in front of them.
    """
    canvas = land.canvas
    table = list(SEASONS[date - 1].values())
    made_of = materials(land, cover, date)
    built = cover.classes == BUILDING
    shadow = cast(cover.height, canvas.gsd, _SENSOR_AZIMUTH, _GRAZING)
    roofs = np.where(built, cover.height, 0)
    layover = cast(roofs, canvas.gsd, _SENSOR_AZIMUTH + 180, 90 - _GRAZING) * ~built
    slope = facing(cover.height, canvas.gsd, _SENSOR_AZIMUTH, _GRAZING)
    slope *= facing(12 * land.relief.elevation, canvas.gsd, _SENSOR_AZIMUTH, _GRAZING)
    offset = 4.0 * np.log10(np.clip(slope, 0.3, 2.0)) + _surface(land, cover, date)
    result = np.empty((2, *canvas.shape), np.float32)
    for band, name in enumerate(("vv", "vh")):
        level = np.array([m.backscatter[band] for m in table], np.float32)[made_of] + offset
        if band == 0:
            level += _waves(land, cover, date)
        power = _from_db(level) * (1 - 0.92 * shadow)
        power += layover * _from_db(np.float32(_WALL[band]) + 3 * canvas.smooth("radar/wall", 9.0))
        power = ndimage.gaussian_filter(power + _from_db(np.float32(_NOISE_FLOOR[band])), 0.55)
        speckle = canvas.stream(f"speckle/{name}/{date}").standard_gamma(LOOKS, canvas.shape, np.float32) / LOOKS
        speckle = ndimage.gaussian_filter(speckle, 0.45)
        result[band] = 10 * np.log10(np.maximum(power * speckle, 1e-5))
    return result


def _surface(land: Land, cover: Cover, date: int) -> np.ndarray:
    """What brightens and dims open ground, dB: moisture, each field's state, rows across the line of sight."""
    canvas, parcels, classes = land.canvas, land.parcels, cover.classes
    offset = 0.6 * canvas.smooth(f"radar/broad/{date}", 130.0) + 0.5 * canvas.smooth("radar/fine", 12.0)
    open_ground = (classes == CROP) | (classes == BARE) | (classes == GRASS)
    own = 2.4 * (canvas.chance(parcels.id, f"radar/field/{date}") - 0.5)
    line_of_sight = np.radians(_SENSOR_AZIMUTH - 90)
    across = 1.5 * np.cos(parcels.turn - line_of_sight) ** 8
    offset += np.where(open_ground, _MOISTURE[date - 1] + own, 0)
    offset += np.where(classes == CROP, across, 0)
    built = classes == BUILDING
    offset[built] += 7.0 * (canvas.chance(land.buildings.id[built], "radar/roof") - 0.5)
    return offset


def _waves(land: Land, cover: Cover, date: int) -> np.ndarray:
    """Wind on open water, dB in VV."""
    wind = 1.6 * (date - 1) + 1.4 * land.canvas.smooth(f"radar/wind/{date}", 160.0)
    return np.where(cover.classes == WATER, wind, 0).astype(np.float32)


def _from_db(level: np.ndarray | np.floating) -> np.ndarray:
    return np.asarray(10 ** (level / 10), np.float32)
