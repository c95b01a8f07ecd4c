"""How fast a sample is drawn from a large map.

    python benchmarks/accuracy/sample_region.py --side 50000

Writes a class map of patches as a tiled ZSTD GeoTIFF, strip by strip, and draws 2 000 points from it in a process of
its own. At the default side that is 2.5 Gpx; it takes some minutes to write the map and below half a minute to draw.
With `--risk` a probability raster is written too, and the strata are those of omission risk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from affine import Affine

from mapmend.core.classes import Legend, LegendClass
from mapmend.core.grid import Window, make_grid
from mapmend.raster.writing import TiledWriter
from mapmend.sampling.job import SampleSettings, draw_sample, open_map

NAMES = ("forest", "crop", "grass", "built", "water", "wetland", "bare", "forest gain")
LEGEND = Legend("region", tuple(LegendClass(number, name, "#336633") for number, name in enumerate(NAMES)))
STRIP = 512


def write_map(folder: Path, side: int, *, risk: bool) -> None:
    """Patches of a few pixels to some hundred, 1 % of them of the last class, a tenth of the map without data."""
    grid = make_grid((side, side), Affine(30, 0, 300000, 0, -30, 6000000), "EPSG:32633")
    random = np.random.default_rng(0)
    with (
        TiledWriter(folder / "class.tif", grid, 1, np.uint8, 255) as classes,
        TiledWriter(folder / "gain.tif", grid, 1, np.uint8, 255) as steps,
    ):
        for row in range(0, side, STRIP):
            height = min(STRIP, side - row)
            coarse = random.choice(len(NAMES), (height // 8 + 1, side // 8 + 1), p=[*[0.99 / 7] * 7, 0.01])
            strip = np.kron(coarse.astype(np.uint8), np.ones((8, 8), np.uint8))[:height, :side]
            noisy = random.random((height, side), np.float32)
            strip[noisy < 0.01] = 1
            strip[:, : side // 10] = 255
            window = Window(row, 0, height, side)
            classes.write(window, strip)
            if risk:
                likely = np.where(strip == len(NAMES) - 1, 150, 2) + 40 * noisy**4
                steps.write(window, likely.astype(np.uint8))


def main() -> None:
    """Write, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=50_000)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--risk", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the map is kept, and looked for")
    parser.add_argument("--draw", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.draw:
        return draw(chosen)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "class.tif").exists():
            start = time.perf_counter()
            write_map(folder, chosen.side, risk=chosen.risk)
            print(f"wrote {chosen.side}² pixels in {time.perf_counter() - start:.0f} s")
        given = ["--side", str(chosen.side), "--points", str(chosen.points), *(["--risk"] * chosen.risk)]
        subprocess.run([sys.executable, __file__, "--draw", *given, "--folder", str(folder)], check=True)
    return None


def draw(chosen: argparse.Namespace) -> None:
    """In a process of its own, whose memory is that of the draw alone."""
    settings = SampleSettings(total=chosen.points, risk="forest gain" if chosen.risk else "")
    probability = chosen.folder / "gain.tif" if chosen.risk else None
    before = peak_mib()
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        source = open_map(chosen.folder / "class.tif", LEGEND, probability=probability)
        result = draw_sample(source, Path(out) / "sample", settings, progress=False)
        seconds = time.perf_counter() - start
    after = peak_mib()
    print(
        json.dumps(
            {
                "points": result.points,
                "strata": len(result.design.strata),
                "gigapixels": chosen.side**2 / 1e9,
                "file_mib": round((chosen.folder / "class.tif").stat().st_size / 2**20),
                "seconds": round(seconds, 2),
                "mpx_per_s": round(chosen.side**2 / 1e6 / seconds),
                "rss_mib": round(after),
                "rss_mib_at_start": round(before),
            }
        )
    )


def peak_mib() -> float:
    """Peak memory of this process since it was started (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
