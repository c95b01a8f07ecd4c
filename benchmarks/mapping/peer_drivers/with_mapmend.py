"""mapmend's own `predict_scene`: windows blended in bounded memory; a backend may be named."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from measured import BATCH, CLASSES, OVERLAP, WINDOW, main
from torch import nn


class WithValidity(nn.Module):
    """A network that takes where pixels are valid, too; all are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.network(image)


def map_scene(network: nn.Module, scene: Path, out: Path) -> None:
    """As `mapmend predict` does it: two COGs, of classes and of how sure they are."""
    from mapmend.core.classes import Legend, LegendClass
    from mapmend.core.sensor import load_sensor
    from mapmend.predict.backends.choose import on_backend
    from mapmend.predict.job import predict_scene
    from mapmend.predict.lattice import Lattice
    from mapmend.predict.predictor import TorchPredictor
    from mapmend.predict.scene import scene_of_files

    backend, precision = os.environ.get("BACKEND", "torch/float32").split("/")
    legend = Legend("eight", tuple(LegendClass(code, f"class {code}", f"#{code:02x}8040") for code in range(CLASSES)))
    single = TorchPredictor(
        WithValidity(network),
        legend,
        [load_sensor("naip")],
        Lattice(WINDOW, OVERLAP),
        device="cpu",
        precision=precision,
        batch=BATCH,
    )
    predict_scene(on_backend(single, backend), scene_of_files([str(scene)], single.sensors), out)


if __name__ == "__main__":
    main(map_scene)
