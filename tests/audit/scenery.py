"""A judged place whose held-out probabilities are made, not learned: those of a model that is mostly right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine
from tests.data.scenery import grid, write

from mapmend.audit.held_out import Judged
from mapmend.core.classes import Legend, LegendClass
from mapmend.core.grid import Window, make_grid
from mapmend.core.legend import NODATA
from mapmend.core.sensor import load_sensor
from mapmend.data.sites import BandStatistics, PreparedImage, PreparedSite
from mapmend.raster.reading import ImageSource

THREE = Legend(
    "three",
    (LegendClass(1, "one", "#aa5500"), LegendClass(2, "two", "#0055aa"), LegendClass(7, "seven", "#00aa55")),
)


def fields(side: int = 256, cell: int = 32, seed: int = 0) -> np.ndarray:
    """Legend indices: squares of random classes, crossed by slanted roads, whose edges lie on no lattice."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 3, (side // cell, side // cell))
    whole = small.repeat(cell, 0).repeat(cell, 1).astype(np.uint8)
    rows, cols = np.indices(whole.shape)
    whole[(rows + 2 * cols) % 61 < 9] = 2
    whole[(3 * rows - cols) % 83 < 11] = 0
    return whole


def seen(truth: np.ndarray, seed: int = 0, sure: float = 2.0, noise: float = 1.2) -> np.ndarray:
    """Probabilities 3×H×W, round(200·p), of a model that sees the truth through smooth noise."""
    from scipy import ndimage

    rng = np.random.default_rng([seed, 1])
    scores = np.stack([sure * (truth == index) for index in range(3)]).astype(np.float64)
    rough = np.stack([ndimage.gaussian_filter(rng.standard_normal(truth.shape), 3) for _ in range(3)])
    scores += noise * rough / rough.std()
    p = np.exp(scores) / np.exp(scores).sum(0)
    return np.rint(200 * p).astype(np.uint8)


def judged(
    folder: Path, label: np.ndarray, probabilities: np.ndarray, *, side: int = 128, crs: str | None = "EPSG:32632"
) -> Judged:
    """A site on disk with its label, an image that shows nothing much, and its held-out probabilities in blocks."""
    height, width = label.shape
    on = grid(height, width, crs=crs)
    ids = np.where(label == NODATA, NODATA, THREE.id_lut[label]).astype(np.uint8)
    path = write(folder / "label.tif", ids, on, nodata=255)
    rng = np.random.default_rng(7)
    image = write(folder / "image.tif", rng.integers(1, 255, (3, height, width)).astype(np.uint8), on)
    sensor = load_sensor("rgb", Path())
    bands = tuple(sensor.band_names)
    statistics = BandStatistics(height * width, (100.0,) * 3, (30.0,) * 3, (1.0,) * 3, (254.0,) * 3, 1.0)
    images = (PreparedImage("optical", ImageSource((image,), bands, sensor), statistics),)
    site = PreparedSite("here", "", on, images, label=path, label_files=(path,))
    blocks = tuple(
        Window(row, col, min(side, height - row), min(side, width - col))
        for row in range(0, height, side)
        for col in range(0, width, side)
    )
    found = Judged(site, blocks, None, folder / "held_out")
    for block in blocks:
        corner = on.transform @ Affine.translation(block.col, block.row)
        own = make_grid((block.height, block.width), corner, on.crs)
        write(found.file(block, "p"), probabilities[:, *block.slices], own, nodata=255)
    return found
