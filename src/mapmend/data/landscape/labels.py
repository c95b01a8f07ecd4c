"""The imperfect label: coarse, old, partly wrong, and a little out of place."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mapmend.data.landscape.cover import BARE, BUILDING, CROP, FOREST, GRASS, ROAD, WATER, Cover, Land

CELL = 10  # fine pixels along a coarse one
_EMPHASIS = {BARE: 1.3, ROAD: 1.35, BUILDING: 2.2}  # makers of maps draw what is built larger than it is
_SWAPPED = {CROP: (GRASS, 0.11), GRASS: (CROP, 0.08), FOREST: (GRASS, 0.06), BARE: (CROP, 0.20)}
_MISSED = {BUILDING: 0.35, BARE: 0.15, WATER: 0.25}  # chance that a small object was not mapped
_SMALL = 2500.0  # square metres below which an object is small


def coarse_label(land: Land, cover: Cover) -> np.ndarray:
    """A label of pixels `CELL` times as large, ⌈H/CELL⌉×⌈W/CELL⌉ uint8, drawn from one date's cover.

    Whole fields carry another class, small objects are missing, each pixel takes the majority of its square with
    built land counting more, and the squares lie half a coarse pixel down and right of where the label says.
    """
    classes = _with_errors(land, cover)
    half = CELL // 2
    cells = tuple(-(-n // CELL) for n in classes.shape)
    padding = [(0, n * CELL + half - size) for n, size in zip(cells, classes.shape, strict=True)]
    moved = np.pad(classes, padding, mode="edge")[half:, half:]
    best = np.zeros(cells, np.float32)
    label = np.zeros(cells, np.uint8)
    for class_id in range(WATER, BUILDING + 1):
        votes = (moved == class_id).reshape(cells[0], CELL, cells[1], CELL).sum((1, 3)) * _EMPHASIS.get(class_id, 1.0)
        label = np.where(votes > best, np.uint8(class_id), label)
        best = np.maximum(best, votes).astype(np.float32)
    return label


def on_fine_grid(label: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The coarse label repeated onto H×W fine pixels."""
    return label.repeat(CELL, 0).repeat(CELL, 1)[: shape[0], : shape[1]]


def _with_errors(land: Land, cover: Cover) -> np.ndarray:
    canvas, parcels = land.canvas, land.parcels
    classes = cover.classes.copy()
    for class_id, rate in _MISSED.items():
        pieces, count = ndimage.label(cover.classes == class_id)
        areas = np.bincount(pieces.ravel(), minlength=count + 1) * canvas.gsd**2
        missed = (canvas.chance(np.arange(count + 1), f"label/missed/{class_id}") < rate) & (areas < _SMALL)
        missed[0] = False
        classes[missed[pieces]] = GRASS
    for class_id, (other, rate) in _SWAPPED.items():
        swapped = canvas.chance(parcels.id, f"label/swap/{class_id}") < rate
        classes[(cover.classes == class_id) & swapped] = other
    return classes
