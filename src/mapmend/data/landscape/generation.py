"""One generated landscape: two dates in two sensors, an imperfect label, and the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine

from mapmend.core.errors import ProjectError
from mapmend.core.grid import Grid, make_grid
from mapmend.data.landscape.canvas import Canvas
from mapmend.data.landscape.cover import make_covers
from mapmend.data.landscape.labels import CELL, coarse_label, on_fine_grid
from mapmend.data.landscape.optical import photograph
from mapmend.data.landscape.radar import radar_image

OPTICAL_BANDS = ("red", "green", "blue", "nir")
RADAR_BANDS = ("vv", "vh")
_CRS = "EPSG:32632"
_SMALLEST = 32


@dataclass(frozen=True)
class Landscape:
    """What a mapper would have of a place, and the truth that a mapper would not; H×W on `grid`.

    Attributes:
        image_1: aerial photograph of date 1, 4×H×W uint8 (red, green, blue, near infrared); 0 where invalid.
        image_2: the same of date 2, another season.
        radar_1: backscatter of date 1 in dB, 2×H×W float32 (VV, VH).
        radar_2: the same of date 2.
        truth_1: classes of date 1, H×W uint8, ids of the legend `landscape`.
        truth_2: classes of date 2.
        label: `label_coarse` repeated onto the fine grid, H×W uint8.
        label_coarse: date 1's classes in large pixels, generalised, partly wrong and half a large pixel out of place.
        valid_1: where the photograph of date 1 reaches, H×W bool.
        valid_2: where the photograph of date 2 reaches.
        grid: of everything but `label_coarse`.
        label_grid: of `label_coarse`.
    """

    image_1: np.ndarray
    image_2: np.ndarray
    radar_1: np.ndarray
    radar_2: np.ndarray
    truth_1: np.ndarray
    truth_2: np.ndarray
    label: np.ndarray
    label_coarse: np.ndarray
    valid_1: np.ndarray
    valid_2: np.ndarray
    grid: Grid
    label_grid: Grid

    @property
    def valid(self) -> np.ndarray:
        """Where both photographs reach, H×W bool."""
        both: np.ndarray = self.valid_1 & self.valid_2
        return both


def generate(size: int | tuple[int, int], seed: int = 0, gsd: float = 1.0) -> Landscape:
    """Draw a landscape; equal arguments give equal bytes.

    Args:
        size: side, or (height, width), in pixels; at least 32.
        seed: a whole number from 0; it also moves the place on the map.
        gsd: metres per pixel; what is smaller than a pixel (crowns, rows, lanes) fades beyond 2 m.

    Raises:
        ProjectError: an argument out of range.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < _SMALLEST:
        raise ProjectError(f"a landscape of {height}×{width} pixels is too small", where="size", fix="at least 32")
    if seed < 0:
        raise ProjectError(f"seed {seed} is negative", where="seed", fix="use a whole number from 0")
    if not 0.1 <= gsd <= 30:
        raise ProjectError(f"pixels of {gsd} m are out of range", where="gsd", fix="use 0.1 to 30 m")
    canvas = Canvas(int(height), int(width), float(gsd), int(seed))
    land, first, second = make_covers(canvas)
    valid = tuple(_footprint(canvas, date) for date in (1, 2))
    label = coarse_label(land, first)
    corner = Affine.translation(300_000 + 20_000 * (seed % 20), 5_300_000 + 20_000 * (seed // 20 % 20))
    return Landscape(
        image_1=photograph(land, first, 1) * valid[0],
        image_2=photograph(land, second, 2) * valid[1],
        radar_1=radar_image(land, first, 1),
        radar_2=radar_image(land, second, 2),
        truth_1=first.classes,
        truth_2=second.classes,
        label=on_fine_grid(label, canvas.shape),
        label_coarse=label,
        valid_1=valid[0],
        valid_2=valid[1],
        grid=make_grid(canvas.shape, corner @ Affine.scale(gsd, -gsd), _CRS),
        label_grid=make_grid(label.shape, corner @ Affine.scale(gsd * CELL, -gsd * CELL), _CRS),
    )


def _footprint(canvas: Canvas, date: int) -> np.ndarray:
    """The part of the canvas inside a slightly turned scene, H×W bool: two of its four edges cut off a wedge."""
    rng = canvas.stream(f"footprint/{date}")
    turn = rng.uniform(0.05, 0.12) * rng.choice([-1, 1])
    rows = (canvas.rows / np.float32(canvas.extent[0])) - 0.5
    cols = (canvas.cols / np.float32(canvas.extent[1])) - 0.5
    down, right = rows + np.float32(turn) * cols, cols - np.float32(turn) * rows
    first, second = rng.choice([-1, 1], 2)
    edge = 0.5 - 0.2 * abs(turn)
    inside: np.ndarray = (first * down < edge) & (second * right < edge)
    return inside
