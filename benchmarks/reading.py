"""Reading: windows per second by layout and codec, through mapmend and through TorchGeo, from the same files.

    pip install 'mapmend[torchgeo]'
    python benchmarks/reading.py [--work DIR] [--side 8192] [--windows 256]

One file of four 8-bit bands with texture, written as strips (GDAL's default) and as tiles of 512 pixels, with three
codecs. Windows of 256 pixels are read on the tiles' lattice, in order (`aligned`), and anywhere (`random`), the same
ones by both. Every case is a process of its own whose GDAL cache holds 64 MiB, because a set of many scenes does not
fit into any cache; files come from the page cache of the system. The best of three passes counts. mapmend returns
pixels and their validity in the stored type; TorchGeo returns pixels as float32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from mapmend.core.grid import Window
from mapmend.core.sensor import load_sensor
from mapmend.raster.reading import ImageSource, Reader
from trials import machine, table

SIDE, BANDS, TILE = 256, 4, 512
LAYOUTS = {"strips": {}, "tiles": {"tiled": True, "blockxsize": TILE, "blockysize": TILE}}
CODECS = ("none", "deflate", "zstd")
GSD, CORNER, CRS = 1.0, (500_000.0, 4_200_000.0), "EPSG:32617"


def make_file(path: Path, side: int, layout: str, codec: str) -> None:
    """Smooth ground with noise, which compresses by little."""
    if path.is_file():
        return
    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": BANDS, "dtype": "uint8", "crs": CRS}
    transform = Affine(GSD, 0, CORNER[0], 0, -GSD, CORNER[1])
    part = path.with_suffix(".part.tif")
    with rasterio.open(part, "w", transform=transform, compress=codec, **LAYOUTS[layout], **profile) as file:
        for row in range(0, side, TILE):
            ground = np.repeat(np.repeat(rng.uniform(40, 200, (BANDS, TILE // 32, side // 32)), 32, 1), 32, 2)
            pixels = np.clip(ground + rng.normal(0, 6, ground.shape), 1, 255).astype(np.uint8)
            file.write(pixels, window=((row, row + TILE), (0, side)))
    part.rename(path)


def windows_of(side: int, access: str, number: int) -> list[Window]:
    """Windows in order on the lattice, or anywhere."""
    if access == "aligned":
        every = [Window(row, col, SIDE, SIDE) for row in range(0, side, SIDE) for col in range(0, side, SIDE)]
        return every[:number]
    corners = np.random.default_rng(1).integers(0, side - SIDE, (number, 2))
    return [Window(int(row), int(col), SIDE, SIDE) for row, col in corners]


def with_mapmend(path: Path) -> Callable[[Window], object]:
    """Pixels and validity in the stored type."""
    card = load_sensor("naip")
    return Reader(ImageSource((str(path),), card.band_names, card)).read


def with_torchgeo(path: Path) -> Callable[[Window], object]:
    """A sample of a RasterDataset."""
    from torchgeo.datasets import RasterDataset

    dataset = RasterDataset(str(path))
    time_of = slice(dataset.bounds[2].start, dataset.bounds[2].stop)

    def read(window: Window) -> object:
        left, top = CORNER[0] + window.col * GSD, CORNER[1] - window.row * GSD
        across = slice(left, left + window.width * GSD)
        return dataset[across, slice(top - window.height * GSD, top), time_of]["image"]

    return read


READERS = {"mapmend": with_mapmend, "torchgeo": with_torchgeo}


def measure(path: Path, reader: str, access: str, number: int) -> float:
    """Megapixels per second, the best of three passes."""
    with rasterio.open(path) as file:
        side = file.width
    read, windows = READERS[reader](path), windows_of(side, access, number)
    read(windows[0])
    best = min(_timed(read, windows) for _ in range(3))
    return len(windows) * SIDE**2 / best / 1e6


def _timed(read: Callable[[Window], object], windows: list[Window]) -> float:
    start = time.perf_counter()
    for window in windows:
        read(window)
    return time.perf_counter() - start


def rows(work: Path, side: int, number: int) -> Iterator[list[str]]:
    """One row per file: megapixels per second and TorchGeo's share of them."""
    environment = {**os.environ, "GDAL_CACHEMAX": "64", "OMP_NUM_THREADS": "1"}
    for layout in LAYOUTS:
        for codec in CODECS:
            path = work / f"{layout}_{codec}_{side}.tif"
            make_file(path, side, layout, codec)
            row: list[str] = [layout, codec, f"{path.stat().st_size / 1e6:.0f}"]
            for access in ("aligned", "random"):
                speeds = []
                for reader in READERS:
                    command = [sys.executable, __file__, "--case", str(path), reader, access, str(number)]
                    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                    speeds.append(float(json.loads(done.stdout)))
                row += [*(f"{speed:.1f}" for speed in speeds), f"{speeds[0] / speeds[1]:.1f}×"]
            print(row, file=sys.stderr)
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("reading"))
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        path, reader, access, number = given.case
        print(json.dumps(measure(Path(path), reader, access, int(number))))
        return
    given.work.mkdir(parents=True, exist_ok=True)
    head = ["layout", "codec", "MB", *(f"{a}, {w}" for a in ("aligned", "random") for w in (*READERS, "ratio"))]
    print(machine())
    print(table(head, list(rows(given.work, given.side, given.windows))))


if __name__ == "__main__":
    main()
