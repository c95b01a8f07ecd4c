"""Time and peak memory of one way to map a scene, in a process of its own and in that way's own environment.

A driver beside this file gives `map_scene`: a network N×4×512×512 → N×8×512×512, a GeoTIFF in, and one of classes out.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

WINDOW, OVERLAP, BATCH = 512, 128, 4
BANDS, CLASSES = 4, 8
MEAN, STD = 110.0, 45.0

MapScene = Callable[[nn.Module, Path, Path], None]


class Normalised(nn.Module):
    """A network with its input's normalisation, as every user of it needs one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of pixels in 8 bits."""
        return self.network((image.float() - MEAN) / STD)


def make_network(name: str) -> nn.Module:
    """`unet`: U-Net on EfficientNet-B0; `light`: one convolution, by which memory shows. Weights are random."""
    torch.manual_seed(0)
    if name == "light":
        return Normalised(nn.Conv2d(BANDS, CLASSES, 3, padding=1)).eval()
    import segmentation_models_pytorch as smp

    network = smp.Unet("tu-efficientnet_b0", encoder_weights=None, in_channels=BANDS, classes=CLASSES)
    return Normalised(network).eval()


def main(map_scene: MapScene) -> None:
    """Map once and print seconds, peak memory and versions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scene", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--network", choices=("unet", "light"), default="unet")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = make_network(options.network)
    start, before = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        map_scene(network, options.scene, options.out)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "work": time.process_time() - before,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "torch": torch.__version__,
            }
        )
    )
