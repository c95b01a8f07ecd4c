"""Light and microwaves that come from one side: slopes that face it, and the ground behind what stands in the way."""

from __future__ import annotations

import numpy as np


def toward(azimuth: float) -> tuple[float, float]:
    """Rows and columns per pixel of way toward an azimuth in degrees clockwise from north."""
    return -float(np.cos(np.radians(azimuth))), float(np.sin(np.radians(azimuth)))


def facing(height: np.ndarray, gsd: float, azimuth: float, elevation: float) -> np.ndarray:
    """Light on a slope against light on flat ground, H×W float32; slopes are taken as 45 degrees at most.

    Args:
        height: of the surface, metres, H×W.
        gsd: metres per pixel.
        azimuth: where the light comes from, degrees clockwise from north.
        elevation: of the light, degrees.
    """
    down, right = (np.clip(part, -1, 1) for part in np.gradient(height, gsd))
    rows, cols = toward(azimuth)
    tangent = np.tan(np.radians(elevation))
    lit = 1 - (down * rows + right * cols) / tangent
    return np.asarray(lit / np.sqrt(1 + down**2 + right**2), np.float32)


def cast(height: np.ndarray, gsd: float, azimuth: float, elevation: float) -> np.ndarray:
    """Shadow, H×W float32 in 0…1: 1 where something toward `azimuth` rises at least a metre above the ray to the light.

    Args and conventions are those of `facing`.
    """
    rows, cols = toward(azimuth)
    drop = gsd * float(np.tan(np.radians(elevation)))
    excess = np.zeros_like(height)
    for step in range(1, int(float(height.max(initial=0)) / drop) + 1):
        shifted = _displaced(height, round(step * rows), round(step * cols))
        np.maximum(excess, shifted - np.float32(step * drop), out=excess)
    shadow: np.ndarray = np.clip(excess - height, 0, 1)
    return shadow


def _displaced(field: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """The value `rows` further down and `cols` further right; 0 beyond the edge."""
    result = np.zeros_like(field)
    height, width = field.shape
    source = slice(max(rows, 0), min(height + rows, height)), slice(max(cols, 0), min(width + cols, width))
    target = slice(max(-rows, 0), min(height - rows, height)), slice(max(-cols, 0), min(width - cols, width))
    result[target] = field[source]
    return result
