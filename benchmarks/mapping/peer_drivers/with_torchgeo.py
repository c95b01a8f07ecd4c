"""TorchGeo: `RasterDataset` and `GridGeoSampler`; the arg-max of each window is pasted over the one before.

TorchGeo has no stitching of its own; this is its leanest form, without blending, and costs it nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import torch
from measured import BATCH, OVERLAP, WINDOW, main
from rasterio.windows import from_bounds
from torch import nn
from torch.utils.data import DataLoader


def map_scene(network: nn.Module, scene: Path, out: Path) -> None:
    """As its tutorials read a scene in windows and predict them."""
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    class Scene(RasterDataset):
        filename_glob = scene.name

    data = Scene(scene.parent)
    sampler = GridGeoSampler(data, size=WINDOW, stride=WINDOW - OVERLAP)
    loader = DataLoader(data, batch_size=BATCH, sampler=sampler, collate_fn=stack_samples)
    with rasterio.open(scene) as file:
        profile, shape, transform = file.profile, file.shape, file.transform
    classes = np.zeros(shape, np.uint8)
    for batch in loader:
        found = network(batch["image"]).argmax(dim=1).to(torch.uint8).numpy()
        for one, bounds in zip(found, batch["bounds"], strict=True):
            left, right, bottom, top = corners(bounds)
            window = from_bounds(left, bottom, right, top, transform)
            row, col = round(window.row_off), round(window.col_off)
            part = classes[max(row, 0) : row + one.shape[0], max(col, 0) : col + one.shape[1]]
            part[:] = one[max(-row, 0) :, max(-col, 0) :][: part.shape[0], : part.shape[1]]
    profile.update(count=1, dtype="uint8", compress="deflate", tiled=True, blockxsize=512, blockysize=512)
    with rasterio.open(out, "w", **profile) as file:
        file.write(classes, 1)


def corners(bounds: object) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a sample."""
    x, y = bounds[0], bounds[1]  # type: ignore[index]
    return x.start, x.stop, y.start, y.stop


if __name__ == "__main__":
    main(map_scene)
