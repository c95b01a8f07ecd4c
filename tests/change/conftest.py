"""Small pairs of maps, written by rasterio alone."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from mapmend.change.inputs import ChangeInputs
from mapmend.core.legend import Legend, LegendClass

NORTH_UP = Affine(10, 0, 500000, 0, -10, 4000000)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    """No test cuts the power: files need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def legend():
    """Ids that are no indices, so that the two cannot be taken for each other."""
    return Legend(
        "three",
        (
            LegendClass(7, "water", "#0000ff"),
            LegendClass(2, "forest", "#008000"),
            LegendClass(5, "built <&>", "#ff0000"),
        ),
    )


@pytest.fixture
def write_pair(tmp_path):
    """Writes arrays by role (before, after, probability, ...) as GeoTIFFs; returns the inputs of a job."""

    def write(layers, *, crs="EPSG:32633", transform=NORTH_UP, **said):
        paths = {}
        for role, array in layers.items():
            path = tmp_path / "in" / f"{role}.tif"
            path.parent.mkdir(exist_ok=True)
            height, width = array.shape
            profile = {"count": 1, "height": height, "width": width, "dtype": array.dtype, "nodata": 255}
            with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile) as file:
                file.write(array, 1)
            paths[role] = str(path)
        return ChangeInputs(
            **paths, **{"date_before": "2018-06-01", "date_after": "2024-06-01", "name": "here", **said}
        )

    return write


@pytest.fixture
def read():
    """The only band of a raster in a folder."""

    def first_band(folder: Path, name: str) -> np.ndarray:
        with rasterio.open(folder / f"{name}.tif") as file:
            return file.read(1)

    return first_band


def noise(seed, shape=(60, 70), ids=(7, 2, 5), missing=0.05):
    """Maps of two dates in patches, with holes, probability and confidences; an old map; by role."""
    rng = np.random.default_rng(seed)

    def in_squares(values):
        return np.kron(values, np.ones((4, 4), np.uint8))[: shape[0], : shape[1]].astype(np.uint8)

    squares = -(-shape[0] // 4), -(-shape[1] // 4)
    maps = np.stack([in_squares(rng.choice(np.array(ids), squares)) for _ in range(2)])
    maps[rng.random(maps.shape) < missing] = 255
    confidences = rng.integers(0, 201, (2, *shape)).astype(np.uint8)
    probability = in_squares(rng.integers(10, 190, squares)) + rng.integers(0, 10, shape, np.uint8)
    steps = np.stack([probability, *confidences])
    steps[rng.random(steps.shape) < missing / 4] = 255
    old = rng.choice(np.array([*ids, 255], np.uint8), shape)
    roles = ("before", "after", "probability", "confidence_before", "confidence_after", "old")
    return dict(zip(roles, (*maps, *steps, old), strict=True))


@pytest.fixture(name="noise")
def noise_maker():
    return noise
