"""Small maps to draw from."""

import json

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from mapmend.core.classes import Legend, LegendClass
from mapmend.sampling.inputs import open_map

NAMES = ("forest", "gain", "crop", "water")
LEGEND = Legend(
    "tiny",
    tuple(LegendClass(id_, name, "#112233") for id_, name in zip((1, 2, 5, 9), NAMES, strict=True)),
    ignored=(LegendClass(0, "no label"),),
)
UTM = Affine(30, 0, 500000, 0, -30, 5000000)


def classes(shape=(60, 70), seed=0):
    """Ids with nodata (255) and ignored (0) pixels among them."""
    random = np.random.default_rng(seed)
    return random.choice([1, 2, 5, 9, 255, 0], shape, p=[0.45, 0.05, 0.25, 0.1, 0.1, 0.05]).astype(np.uint8)


def write(path, array, transform=UTM, crs="EPSG:32633", nodata=255, **profile):
    height, width = array.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=array.dtype,
        nodata=nodata,
        transform=transform,
        crs=CRS.from_string(crs) if crs else None,
        **profile,
    ) as file:
        file.write(array, 1)
    return path


def class_map(tmp_path, array=None, name="map.tif", **more):
    return open_map(write(tmp_path / name, classes() if array is None else array, **more), LEGEND)


def from_to_folder(folder, codes, legend=LEGEND, **more):
    """The folder of a change, as far as a sample needs it."""
    folder.mkdir()
    write(folder / "from_to.tif", codes, nodata=np.iinfo(codes.dtype).max, **more)
    record = {"config": {"legend": legend.to_dict()}, "files": {"from_to.tif": ""}}
    (folder / "mapmend.json").write_text(json.dumps(record))
    return folder
