"""Small georeferenced scenes for tests of data, training and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from mapmend.core.grid import Grid, make_grid

UTM = "EPSG:32632"


def grid(
    height: int, width: int, pixel: float | tuple[float, float] = 1.0, crs: str | None = UTM, east: float = 0
) -> Grid:
    """A north-up grid; `pixel` is the width, or width and height; `east` moves it to other ground."""
    across, down = pixel if isinstance(pixel, tuple) else (pixel, pixel)
    return make_grid((height, width), Affine(across, 0, 500_000 + east, 0, -down, 5_300_000), crs)


def write(path: Path, pixels: np.ndarray, on: Grid, *, nodata: float | None = None, **profile: object) -> str:
    """Write C×H×W or H×W pixels with rasterio alone."""
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    crs = on.crs.to_wkt() if on.crs is not None else None
    shape = {"count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", crs=crs, transform=on.transform, nodata=nodata, **shape, **profile
    ) as f:
        f.write(pixels)
    return str(path)


def halves(height: int, width: int) -> np.ndarray:
    """Class ids: 1 on the left half, 2 on the right."""
    return np.where(np.arange(width) < width // 2, 1, 2)[None].repeat(height, 0).astype(np.uint8)


def image_of(ids: np.ndarray, seed: int = 0, bands: int = 3) -> np.ndarray:
    """An image whose brightness tells the class, with noise."""
    rng = np.random.default_rng(seed)
    return np.clip(ids * 60 + rng.normal(0, 10, (bands, *ids.shape)), 1, 255).astype(np.uint8)
