"""Small rasters to be mapped."""

import numpy as np
import rasterio
from affine import Affine

from mapmend.core.grid import make_grid
from mapmend.core.sensor import Band, Sensor
from mapmend.predict.scene import Scene
from mapmend.raster.reading import ImageSource

TRANSFORM = Affine(2, 0, 500_000, 0, -2, 4_000_000)
CRS = "EPSG:32633"


def sensor(bands, name="camera", **more):
    return Sensor(name, tuple(Band(f"b{number}") for number in range(bands)), **more)


def write_image(path, pixels, nodata=0, transform=TRANSFORM):
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": pixels.dtype.name}
    with rasterio.open(path, "w", crs=CRS, transform=transform, nodata=nodata, **profile) as file:
        file.write(pixels)
    return path


def grid_of(pixels):
    return make_grid(pixels.shape[-2:], TRANSFORM, CRS)


def random_pixels(height, width, bands=3, seed=0, dtype=np.uint8):
    """Smooth blobs with noise on top, none 0."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 200, (bands, height // 16 + 1, width // 16 + 1))
    smooth = np.kron(coarse, np.ones((1, 16, 16)))[:, :height, :width]
    return np.clip(smooth + rng.normal(0, 20, smooth.shape), 1, 250).astype(dtype)


def write_scene(folder, *images, name="scene"):
    """A scene from pixel arrays, one per modality; 0 is nodata."""
    sources = []
    for number, pixels in enumerate(images):
        path = write_image(folder / f"{name}{number}.tif", pixels)
        card = sensor(len(pixels), f"camera{number}")
        sources.append(ImageSource((str(path),), card.band_names, card))
    return Scene(name, tuple(sources), grid_of(images[0]))


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)
