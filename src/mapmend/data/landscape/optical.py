"""Aerial photographs: red, green, blue and near infrared, as an eight-bit camera sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mapmend.data.landscape.canvas import Canvas
from mapmend.data.landscape.cover import BARE, BUILDING, CROP, FOREST, GRASS, ROAD, WATER, Cover, Land
from mapmend.data.landscape.materials import SEASONS, materials
from mapmend.data.landscape.rays import cast, facing


@dataclass(frozen=True)
class Flight:
    """How a date was photographed.

    Attributes:
        azimuth: of the sun, degrees clockwise from north.
        sun: elevation of the sun, degrees.
        haze: mean path reflectance in blue.
        sky: light of the sky as a share of the sun's.
        blur: standard deviation of the point spread, pixels.
        drift: displacement against the grid (rows, cols), pixels; what is left after rectification.
        gain: contrast of the camera in R, G, B, NIR.
        noise: standard deviation in grey values.
    """

    azimuth: float
    sun: float
    haze: float
    sky: float
    blur: float
    drift: tuple[float, float]
    gain: tuple[float, float, float, float]
    noise: float


FLIGHTS = (
    Flight(152.0, 43.0, 0.020, 0.24, 0.60, (0.0, 0.0), (1.60, 1.52, 1.62, 1.06), 2.2),
    Flight(214.0, 36.0, 0.034, 0.33, 0.80, (0.7, -0.5), (1.46, 1.47, 1.60, 0.97), 3.0),
)
_HAZE_COLOUR = np.array([0.55, 0.72, 1.0, 0.28], np.float32)
_SKY_COLOUR = np.array([0.85, 0.97, 1.20, 0.75], np.float32)


def photograph(land: Land, cover: Cover, date: int) -> np.ndarray:
    """The picture of one date, 4×H×W uint8, 1…255."""
    canvas, flight = land.canvas, FLIGHTS[date - 1]
    light, sky = _light(land, cover, flight, date)
    mix, tone = _texture(land, cover, date)
    made_of = materials(land, cover, date)
    table = list(SEASONS[date - 1].values())
    haze = flight.haze * (1 + 0.35 * canvas.smooth(f"haze/{date}", 700.0))
    seam = _seam(canvas, date)
    rng = canvas.stream(f"camera/{date}")
    image = np.empty((4, *canvas.shape), np.uint8)
    for band in range(4):
        low = np.array([m.low[band] for m in table], np.float32)[made_of]
        high = np.array([m.high[band] for m in table], np.float32)[made_of]
        seen = (low + (high - low) * mix) * tone
        seen *= light + sky * _SKY_COLOUR[band]
        seen = _blur(seen, flight) + haze * _HAZE_COLOUR[band]
        grey = 290 * flight.gain[band] * np.maximum(seen * seam, 0) ** np.float32(0.66)
        grey += flight.noise * rng.standard_normal(canvas.shape, np.float32)
        image[band] = np.clip(np.rint(grey), 1, 255)
    return image


def _light(land: Land, cover: Cover, flight: Flight, date: int) -> tuple[np.ndarray, np.ndarray]:
    """Sunlight and skylight on every pixel, H×W; 1 for flat ground in full sun."""
    canvas = land.canvas
    lit = 1 - cast(cover.height, canvas.gsd, flight.azimuth, flight.sun)
    lit = ndimage.gaussian_filter(lit, 0.5)
    slope = facing(cover.height, canvas.gsd, flight.azimuth, flight.sun)
    ground = facing(9 * land.relief.elevation, canvas.gsd, flight.azimuth, flight.sun)
    sun = (1 - flight.sky) * lit * np.clip(slope, 0.15, 1.6) * np.clip(ground, 0.8, 1.2)
    open_sky = np.full(canvas.shape, flight.sky, np.float32)
    forest = cover.classes == FOREST
    open_sky[forest] *= np.clip(cover.height / 13, 0.45, 1.1)[forest]
    clouds = 1 - 0.05 * np.maximum(canvas.smooth(f"cirrus/{date}", 520.0), 0)
    return sun * clouds, open_sky


def _texture(land: Land, cover: Cover, date: int) -> tuple[np.ndarray, np.ndarray]:
    """Place of each pixel in its material's range, 0…1, and its brightness; H×W each."""
    canvas, classes = land.canvas, cover.classes
    broad = canvas.smooth(f"look/broad/{date}", 75.0)
    middle = canvas.smooth("look/middle", 11.0)
    fine = canvas.smooth(f"look/fine/{date}", 3.5)
    grain = canvas.smooth(f"look/grain/{date}", 1.0)
    table = list(SEASONS[date - 1].values())
    made_of = materials(land, cover, date)
    rough = np.array([m.rough for m in table], np.float32)[made_of]
    rows = np.array([m.rows for m in table], np.float32)[made_of]
    mix = 0.5 + 0.20 * broad + 0.12 * middle
    object_of = {
        CROP: land.parcels.id,
        GRASS: land.parcels.id,
        FOREST: land.trees.id,
        BUILDING: land.buildings.id,
        BARE: land.parcels.id,
    }
    for class_id, ids in object_of.items():
        where = classes == class_id
        own = canvas.chance(ids[where], f"look/{class_id}/{date if class_id in (CROP, GRASS) else 0}") - 0.5
        mix[where] += own * (0.9 if class_id == BUILDING else 0.6)
    mix[(classes == GRASS) & cover.garden] += 0.25 * middle[(classes == GRASS) & cover.garden]
    tone = 1 + rough * (0.75 * fine + 0.55 * grain + 0.4 * middle)
    tone += rows * _rows(land)
    road = classes == ROAD
    on_road = cover.street_line[road]
    tone[road] *= 1 + 0.10 * np.cos(on_road * 2.4) * (on_road < 3.5)
    cars = road & ~cover.track & (land.trees.distance < 1.3) & (canvas.chance(land.trees.id, f"car/{date}") < 0.07)
    tone[cars] *= np.where(canvas.chance(land.trees.id[cars], "car/colour") < 0.45, 0.45, 2.6)
    tone[classes == WATER] += 0.02 * grain[classes == WATER]
    return np.clip(mix, 0, 1), np.maximum(tone, 0.25)


def _rows(land: Land) -> np.ndarray:
    """Tilled rows and tramlines along each field, standard deviation about 1."""
    canvas, parcels = land.canvas, land.parcels
    period = np.maximum(2.4 + 2.6 * canvas.chance(parcels.id, "rows"), 2.4 * canvas.gsd)
    waves = np.sin(2 * np.pi * parcels.across / period) * (1 + 0.3 * canvas.smooth("rows/fade", 25.0))
    tramline = np.mod(parcels.across, 18.0)
    waves -= 2.2 * ((tramline < 1.0) | (np.abs(tramline - 2.4) < 0.5))
    return waves.astype(np.float32)


def _blur(field: np.ndarray, flight: Flight) -> np.ndarray:
    """The point spread and the displacement: every pixel mixes its neighbours."""
    if any(flight.drift):
        field = ndimage.shift(field, flight.drift, order=1, mode="nearest")
    blurred: np.ndarray = ndimage.gaussian_filter(field, flight.blur, mode="nearest")
    return blurred


def _seam(canvas: Canvas, date: int) -> np.ndarray:
    """Two flight strips that differ a little in exposure, H×W."""
    rng = canvas.stream(f"seam/{date}")
    angle, step = rng.uniform(-0.15, 0.15), rng.uniform(0.03, 0.06)
    line = canvas.cols + canvas.rows * np.float32(np.tan(angle)) - np.float32(canvas.extent[1] * rng.uniform(0.3, 0.7))
    return (1 + step * np.clip(line / 12, -0.5, 0.5)).astype(np.float32)
