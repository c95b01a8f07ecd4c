"""Mapping: what `torch.compile` would gain on a processor, network by network.

    python benchmarks/mapping/compiled.py

Batches of four windows of 512 pixels in bfloat16, one thread; plain and compiled take turns, and processor seconds
count. It needs a C++ compiler. Some minutes, most of them compiling.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

from mapmend.nn.allocator import keep_large_blocks
from mapmend.nn.build import build_network
from mapmend.nn.spec import NetworkSpec

sys.path.insert(0, str(Path(__file__).parents[1]))
from trials import machine, table

NETWORKS = (("efficientnet_b0", "unet"), ("mit_b0", "segformer"), ("resnet50", "unet"))
CLASSES, BANDS, BATCH, SIDE = 8, 4, 4, 512


def compare(encoder: str, decoder: str, turns: int) -> list[str]:
    """A row: seconds of compiling, of a batch, and times as fast."""
    torch.manual_seed(0)
    spec = NetworkSpec(encoder, decoder, BANDS, CLASSES, (110.0,) * BANDS, (45.0,) * BANDS)
    plain = build_network(spec)[0].eval().to(memory_format=torch.channels_last)
    compiled = torch.compile(plain, dynamic=False)
    image = torch.randint(0, 255, (BATCH, BANDS, SIDE, SIDE)).float().contiguous(memory_format=torch.channels_last)
    valid = torch.ones(BATCH, 1, SIDE, SIDE, dtype=torch.bool)

    def seconds(network: nn.Module) -> float:
        began = time.process_time()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            network(image, valid).float().softmax(1)
        return time.process_time() - began

    seconds(plain)
    began = time.perf_counter()
    seconds(compiled)
    once = time.perf_counter() - began
    pairs = [(seconds(plain), seconds(compiled)) for _ in range(turns)]
    ratios = [first / second for first, second in pairs]
    typical = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"
    return [f"{decoder}, {encoder}", f"{statistics.median(first for first, _ in pairs):.2f}", typical, f"{once:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_large_blocks()
    rows = [compare(*network, options.turns) for network in NETWORKS]
    print(table(["network", "s a batch", "compiled: times as fast", "compiling, s"], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
