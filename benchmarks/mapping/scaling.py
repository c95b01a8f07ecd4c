"""Mapping: how a job's time falls with the number of workers, as a model of measured parts.

    python benchmarks/mapping/scaling.py [--work DIR] [--network NAME] [--mpx N]

Measured here, in processor seconds: putting blocks together to COGs (a map of 32-pixel patches and one of noise, two
layers of 4096²), and what the ledger costs a block. Taken from `efficiency.py`, whose results lie in `--work`:
processor seconds per megapixel of a network. The model of n one-thread workers is

    seconds = Mpx · c / n + Mpx · a + blocks · l / n

where c is the network's, a the assembly's, which one process does, and l the ledger's.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from affine import Affine

from mapmend.core.grid import Window, make_grid
from mapmend.predict.blocks import Block
from mapmend.predict.ledger import Ledger
from mapmend.predict.run_block import BlockResult
from mapmend.raster.writing import TiledWriter, write_cog

sys.path.insert(0, str(Path(__file__).parents[1]))
from trials import machine, table

SIDE, BLOCK_MPX, BLOCKS = 4096, 8064**2 / 1e6, 50
WORKERS = (1, 4, 16, 64, 256)
GRID = make_grid((SIDE, SIDE), Affine(1, 0, 500_000, 0, -1, 4_000_000), "EPSG:32633")


def assembly(folder: Path, *, noise: bool) -> float:
    """Processor seconds per megapixel of both layers."""
    rng, total = np.random.default_rng(0), 0.0
    patches = np.kron(rng.integers(0, 8, (SIDE // 32, SIDE // 32), np.uint8), np.ones((32, 32), np.uint8))
    values = rng.integers(0, 8, (SIDE, SIDE), np.uint8) if noise else patches
    for kind, layer in (("class", values), ("confidence", 100 + 10 * values)):
        block = folder / f"{kind}-block.tif"
        with TiledWriter(block, GRID, 1, "uint8", nodata=255, quick=True) as file:
            file.write(Window(0, 0, SIDE, SIDE), layer)
        start = time.process_time()
        whole = [(block, Window(0, 0, SIDE, SIDE))]
        write_cog(whole, GRID, folder / f"{kind}.tif", kind=kind, dtype="uint8", nodata=255)
        total += time.process_time() - start
    return total / (SIDE**2 / 1e6)


def bookkeeping(folder: Path) -> float:
    """Seconds of a block's entries in the ledger, with empty files."""
    ledger = Ledger(folder / "job")
    ledger.claim({})
    start = time.perf_counter()
    for number in range(BLOCKS):
        block = Block(Window(number * 512, 0, 512, 512))
        with ledger.at_work():
            ledger.take(block)
            files = ledger.layers.of_block(block, ledger.own)
            for file in files:
                file.touch()
            ledger.record(block, BlockResult(files, 0, 0, 0))
    return (time.perf_counter() - start) / BLOCKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("out/mapping"))
    parser.add_argument("--network", default="segformer-openvino")
    parser.add_argument("--mpx", type=float, nargs="*", default=(10_000, 100_000, 13_750_000))
    options = parser.parse_args()
    results = [json.loads(line) for line in (options.work / "results.jsonl").read_text().splitlines()]
    found = next(one for one in results if one["name"] == options.network and one["threads"] == 1)
    network = found["work"] / (found["pixels"] / 1e6)
    with tempfile.TemporaryDirectory() as folder:
        patches, noise = (assembly(Path(folder), noise=noise) for noise in (False, True))
        ledger = bookkeeping(Path(folder))
    print(f"network {network:.2f}, assembly {patches:.3f} (patches) to {noise:.3f} (noise) processor seconds per Mpx;")
    print(f"ledger {ledger * 1000:.0f} ms a block. Hours, with the assembly of patches:\n")
    rows = []
    for mpx in options.mpx:
        hours = [
            mpx / 3600 * (network / workers + patches) + mpx / BLOCK_MPX * ledger / workers / 3600
            for workers in WORKERS
        ]
        rows.append([f"{mpx:,.0f}", *(f"{one:.2f}" for one in hours), f"{mpx * patches / 3600:.2f}"])
    print(table(["Mpx", *(f"{workers} workers" for workers in WORKERS), "of which assembly"], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
