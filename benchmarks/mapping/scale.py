"""Mapping: peak memory and seconds per megapixel as a scene grows to 50,000² pixels.

    python benchmarks/mapping/scale.py [--work DIR] [--only SIDE ...]

The source is a sparse GeoTIFF of four 8-bit bands: of sixteen squares of 1,250 pixels one was written, with texture,
the others never were. The predictor is one convolution, so that reading, blending and writing show. Set-up is what
comes before the first block: the model, the look at where the scene has data, the plan. Every run is a process of its
own, done once and kept in `--work`, which takes 2 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.windows import Window as RasterioWindow

from mapmend.core.sensor import load_sensor
from mapmend.predict.executors.local import work_through
from mapmend.predict.job import predict_scene
from mapmend.predict.scene import Scene
from mapmend.raster.opening import raster_info
from mapmend.raster.reading import ImageSource

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from efficiency import BANDS, LATTICE, RUNS, make_predictor

from trials import Trials, machine, table

SIDES = (10_000, 25_000, 50_000)
SQUARE, EVERY = 1_250, 4  # a written square at every fourth one across and down


def make_source(folder: Path, side: int) -> Path:
    """The sparse scene; its file is kept."""
    path = folder / f"sparse{side}.tif"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    coarse = rng.uniform(40, 180, (BANDS, SQUARE // 10, SQUARE // 10))
    pixels = np.kron(coarse, np.ones((10, 10))).astype(np.uint8) + rng.integers(
        0, 32, (BANDS, SQUARE, SQUARE), np.uint8
    )
    profile = {"driver": "GTiff", "height": side, "width": side, "count": BANDS, "dtype": "uint8", "nodata": 0}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "sparse_ok": True, "bigtiff": "yes"}
    transform = rasterio.Affine(1, 0, 300_000, 0, -1, 5_000_000)
    part = path.with_suffix(".part")
    with rasterio.open(part, "w", crs="EPSG:32633", transform=transform, compress="zstd", **profile, **tiles) as file:
        file.descriptions = load_sensor("naip").band_names
        for row in range(0, side, SQUARE * EVERY):
            for col in range(0, side, SQUARE * EVERY):
                file.write(pixels, window=RasterioWindow(col, row, SQUARE, SQUARE))
    part.rename(path)
    return path


def measure(side: int, folder: Path) -> dict[str, object]:
    """One run, in this process."""
    torch.set_num_threads(1)
    card = load_sensor("naip")
    path = str(folder / f"sparse{side}.tif")
    scene = Scene("sparse", (ImageSource((path,), card.band_names, card),), raster_info(path).grid)
    out = folder / f"map{side}"
    shutil.rmtree(out, ignore_errors=True)
    begun: list[tuple[float, float]] = []

    def timed(*job: Any) -> None:
        begun.append((time.perf_counter(), time.process_time()))
        work_through(*job)

    start = time.perf_counter()
    result = predict_scene(make_predictor(RUNS["light-4k"]), scene, out, progress=False, executor=timed)
    end, work_at_end = time.perf_counter(), time.process_time()
    [(ready, work_when_ready)] = begun
    record = json.loads((out / "mapmend.json").read_text())
    shutil.rmtree(out)
    return {
        "setup": ready - start,
        "seconds": end - ready,
        "work": work_at_end - work_when_ready,
        "pixels": side * side,
        "mapped": result.pixels,
        "windows": record["windows"],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_own_process(side: int, folder: Path) -> dict[str, object]:
    make_source(folder, side)
    command = [sys.executable, __file__, "--work", str(folder), "--measure", str(side)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("out/mapping"))
    parser.add_argument("--only", type=int, nargs="*", choices=SIDES, default=SIDES)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.measure:
        print(json.dumps(measure(options.measure, options.work)))
        return
    trials = Trials(options.work / "scale.jsonl")
    rows = []
    for side in options.only:
        row = trials.run({"side": side}, lambda side=side: in_own_process(side, options.work))
        mapped = row["mapped"] / 1e6
        rows.append(
            [
                f"{side}²",
                f"{row['pixels'] / 1e6:.0f}",
                f"{mapped:.0f}",
                f"{row['setup']:.1f}",
                f"{row['seconds']:.1f}",
                f"{row['seconds'] / mapped:.3f}",
                f"{row['work'] / mapped:.3f}",
                f"{row['peak_mib']:.0f}",
            ]
        )
    head = ["scene", "Mpx", "Mpx with data", "set-up, s", "then, s", "s per Mpx with data", "processor s per such Mpx"]
    print(table([*head, "peak memory, MiB"], rows))
    print(f"\nWindows of {LATTICE.size} pixels, overlap {LATTICE.overlap}, one thread. {machine()}")


if __name__ == "__main__":
    main()
