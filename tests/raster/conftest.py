import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

NORTH_UP = Affine(10, 0, 500000, 0, -10, 4000000)


@pytest.fixture
def write_raster(tmp_path):
    """Writes a GeoTIFF (or another format) with rasterio alone; returns its path as text."""

    def write(name, array, *, crs="EPSG:32633", transform=NORTH_UP, driver="GTiff", names=(), **options):
        array = np.asarray(array)
        array = array[None] if array.ndim == 2 else array
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mask, interp = options.pop("mask", None), options.pop("interp", None)
        if transform is not None:
            options["transform"] = transform
        profile = {"count": len(array), "height": array.shape[1], "width": array.shape[2], "dtype": array.dtype}
        with rasterio.open(path, "w", driver=driver, crs=crs, **profile, **options) as file:
            if interp:
                file.colorinterp = interp
            file.write(array)
            for index, text in enumerate(names, 1):
                file.set_band_description(index, text)
            if mask is not None:
                file.write_mask(mask)
        return str(path)

    return write


@pytest.fixture
def data_folder():
    """The folder of real data, which is not part of the project."""
    given = os.environ.get("MAPMEND_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data absent: set MAPMEND_DATA")
    return folder
