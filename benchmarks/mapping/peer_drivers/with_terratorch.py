"""TerraTorch's `tiled_inference`: the whole scene as a tensor, windows blended into another one."""

from __future__ import annotations

from pathlib import Path

import rasterio
import torch
from measured import BATCH, OVERLAP, WINDOW, main
from torch import nn


def map_scene(network: nn.Module, scene: Path, out: Path) -> None:
    """As its documentation does it: read, predict tiled, take the arg-max, write."""
    from terratorch.tasks.tiled_inference import tiled_inference

    with rasterio.open(scene) as file:
        image, profile = torch.from_numpy(file.read())[None].float(), file.profile
    logits = tiled_inference(
        network, image, crop=WINDOW, stride=WINDOW - OVERLAP, delta=0, batch_size=BATCH, verbose=False
    )
    classes = logits[0].argmax(dim=0).to(torch.uint8).numpy()
    profile.update(count=1, dtype="uint8", compress="deflate", tiled=True, blockxsize=512, blockysize=512)
    with rasterio.open(out, "w", **profile) as file:
        file.write(classes, 1)


if __name__ == "__main__":
    main(map_scene)
