"""geoai's `predict_geotiff`: windows blended, all classes of the scene in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from measured import BATCH, CLASSES, OVERLAP, WINDOW, main
from torch import nn


def map_scene(network: nn.Module, scene: Path, out: Path) -> None:
    """As its documentation does it, with the classes' arg-max as the result."""
    from geoai.inference import predict_geotiff

    predict_geotiff(
        network,
        str(scene),
        str(out),
        tile_size=WINDOW,
        overlap=OVERLAP,
        batch_size=BATCH,
        num_classes=CLASSES,
        output_dtype="uint8",
        output_nodata=255,
        preprocess_fn=lambda tile: tile.astype(np.float32),
        postprocess_fn=lambda sums: sums.argmax(axis=0)[None].astype(np.uint8),
        device="cpu",
        verbose=False,
    )


if __name__ == "__main__":
    main(map_scene)
