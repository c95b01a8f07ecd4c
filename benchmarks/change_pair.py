"""`change` on a generated pair of maps: minutes, speed, and peak memory as the maps grow.

    python benchmarks/change_pair.py [--side N ...] [--work DIR] [--mmu PIXELS]

Each side is a process of its own, done once. The pair is generated block by block: eight classes in smooth regions of
some tens of pixels, about 3 % of the ground changed in patches, and salt noise in classes and probability besides.
Minutes are the whole job's: reading, patches, polygons, four COGs. The pair takes 0.6 bytes a pixel in `--work`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from affine import Affine
from scipy.ndimage import zoom

from mapmend.change.job import ChangeInputs, ChangeSettings, change_maps
from mapmend.core.classes import NODATA, Legend, LegendClass
from mapmend.core.grid import Window, make_grid
from mapmend.raster.writing import TiledWriter

CLASSES = 8
LEGEND = Legend("eight", tuple(LegendClass(code, f"class {code}", f"#{30 * code:02x}8040") for code in range(CLASSES)))
LAYERS = ("before", "after", "probability", "confidence_before", "confidence_after")
BLOCK, SMOOTH = 512, 16  # pixels of a generated block, and of a cell of smooth noise
SALT = 0.004  # share of single pixels that are wrong in one of both maps
CHANGED = 1.75  # smooth noise above this becomes change: about 3 %


def make_pair(folder: Path, side: int) -> ChangeInputs:
    """A generated pair with change probability and confidences; its files are kept."""
    grid = make_grid((side, side), Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32633")
    paths = {name: folder / f"{name}{side}.tif" for name in LAYERS}
    if not all(path.exists() for path in paths.values()):
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(TiledWriter(path, grid, 1, "uint8", NODATA)) for name, path in paths.items()
            }
            for window in _blocks(side):
                for name, values in _block(window).items():
                    writers[name].write(window, values[: window.height, : window.width])
    return ChangeInputs(
        **{name: str(path) for name, path in paths.items()}, date_before="2018-07-01", date_after="2024-07-01"
    )


def _blocks(side: int) -> Iterator[Window]:
    for row in range(0, side, BLOCK):
        for col in range(0, side, BLOCK):
            yield Window(row, col, min(BLOCK, side - row), min(BLOCK, side - col))


def _block(window: Window) -> dict[str, np.ndarray]:
    rng = np.random.default_rng((window.row, window.col))
    shape, cells = (BLOCK, BLOCK), (BLOCK // SMOOTH,) * 2

    def smooth() -> np.ndarray:
        """Smooth noise of variance about 1, without seams inside the block."""
        field = zoom(rng.standard_normal(cells).astype(np.float32), SMOOTH, order=1, mode="nearest", grid_mode=True)
        return field * 1.5

    land = np.clip((smooth() + 2) * CLASSES / 4, 0, CLASSES - 1).astype(np.uint8)
    change = smooth()
    changed = change > CHANGED
    new = np.where(changed, (land + 1 + (smooth() > 0)) % CLASSES, land).astype(np.uint8)
    before, after = (np.where(rng.random(shape) < SALT / 2, rng.integers(0, CLASSES, shape), x) for x in (land, new))
    probability = np.clip(100 + 40 * (change - CHANGED) + rng.normal(0, 12, shape), 0, 200)
    layers = (before, after, probability, *(rng.normal(160, 15, (2, *shape)).clip(0, 200)))
    return {name: layer.astype(np.uint8) for name, layer in zip(LAYERS, layers, strict=True)}


def measure(side: int, work: Path, mmu: int) -> dict[str, object]:
    """One run, in this process; the pair is there already."""
    inputs, out = make_pair(work, side), work / f"out{side}"
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    result = change_maps(inputs, LEGEND, out, ChangeSettings(mmu_pixels=mmu), progress=False)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "peak": _peak(),
        "patches": result.patches,
        "dropped": result.dropped_patches,
    }


def _peak() -> float:
    """GiB at the peak, of this program alone: what `getrusage` says includes the process it was forked from."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**20


def _peak() -> float:
    """GiB that this process held at most; `ru_maxrss` would count what the process that started it held."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--work", type=Path, default=Path("out/change_pair"))
    parser.add_argument("--mmu", type=int, default=9)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.work, options.mmu)))
        return
    from trials import machine, table  # not in the child: it brings torch, whose memory is no part of the job's

    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for side in options.side:
        make_pair(options.work, side)
        command = [sys.executable, __file__, "--work", str(options.work), "--mmu", str(options.mmu)]
        said = subprocess.run([*command, "--child", str(side)], check=True, capture_output=True, text=True).stdout
        run = json.loads(said.splitlines()[-1])
        speed = side**2 / 1e6 / run["seconds"]
        minutes, peak = f"{run['seconds'] / 60:.1f}", f"{run['peak']:.2f} GiB"
        rows.append([f"{side}²", minutes, f"{speed:.1f}", peak, f"{run['patches']:,}", f"{run['dropped']:,}"])
    print(table(["side", "minutes", "Mpx/s", "peak memory", "patches", "dropped"], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
