"""Speed of the referee: the confusion of two class COGs, in megapixels of pairs a second, and its peak memory.

    python benchmarks/accuracy/confusion_speed.py [--work DIR] [--side 16384] [--passes 5]

Two maps of 8 classes in patches with ragged edges, which agree on nine pixels of ten, with nodata around them; COGs
with zstd and tiles of 512. Timed are `score` without boundary metrics, the table of pairs alone (pixels in memory, one
core), and what `score` did before: each pixel's code looked up in the legend, window by window, on one core. Every row
is a process of its own; the best pass counts, and beside it the processor time of that pass, because a busy machine
stretches the one and not the other. Memory is the process's peak, at two sizes. About two minutes on two cores.
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
import rasterio
import rasterio.shutil
from affine import Affine
from scipy import ndimage

from mapmend.accuracy.confusion import ConfusionMatrix, joint_histogram
from mapmend.core.crosswalk import Crosswalk
from mapmend.core.grid import Window, windows
from mapmend.raster.labels import read_codes
from mapmend.raster.opening import raster_info
from mapmend.scoring.images import ScoreInputs
from mapmend.scoring.job import legend_of, score

CLASSES, PIECE, RIM, SEED = 8, 2048, 100, 0
LABELS = {"score": "`score --ring 0`", "pixels": "every pixel looked up", "pairs": "table of pairs alone"}


def make(folder: Path, side: int) -> tuple[Path, Path]:
    """The two maps, of equal pieces that are turned and shifted."""
    paths = folder / f"prediction_{side}.tif", folder / f"reference_{side}.tif"
    if all(path.is_file() for path in paths):
        return paths
    rng = np.random.default_rng(SEED)
    pieces = _pieces(rng)
    for path, piece in zip(paths, pieces, strict=True):
        part = path.with_suffix(".part.tif")
        place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6), "nodata": 255}
        tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "bigtiff": "IF_SAFER"}
        with rasterio.open(part, "w", "GTiff", side, side, 1, dtype="uint8", **place, **tiles) as file:
            for number, window in enumerate(windows(raster_grid(file), PIECE)):
                pixels = np.roll(np.rot90(piece, number), 97 * number, (0, 1))[: window.height, : window.width].copy()
                if window.row == 0:
                    pixels[:RIM] = 255
                if window.col == 0:
                    pixels[:, :RIM] = 255
                file.write(pixels, 1, window=window.slices)
        rasterio.shutil.copy(str(part), str(path), driver="COG", COMPRESS="ZSTD", BLOCKSIZE="512", BIGTIFF="IF_SAFER")
        part.unlink()
    return paths


def raster_grid(file: rasterio.DatasetReader) -> object:
    """What `windows` asks of a grid."""
    return type("Shaped", (), {"shape": file.shape})()


def _pieces(rng: np.random.Generator) -> list[np.ndarray]:
    smooth = [ndimage.gaussian_filter(rng.normal(size=(PIECE, PIECE)), sigma, mode="wrap") for sigma in (24, 4, 3)]
    broad, ragged, error = (field / field.std() for field in smooth)
    true, made = broad + 0.15 * ragged, broad + 0.15 * ragged + 0.05 * error
    edges = np.quantile(true, np.linspace(0, 1, CLASSES + 1)[1:-1])
    pieces = [np.digitize(field, edges).astype(np.uint8) for field in (made, true)]
    wrong = rng.random((PIECE // 8, PIECE // 8)) < 0.04
    pieces[0][np.kron(wrong, np.ones((8, 8), bool))] = 3
    return pieces


def measured(what: str, paths: tuple[Path, Path], passes: int) -> dict[str, float]:
    """Best pass of one way: seconds, processor seconds, and the process's peak memory in MiB."""
    work = {"score": _score, "pixels": _every_pixel, "pairs": _pairs}[what]
    prepared = work(*paths)
    found = []
    for _ in range(passes):
        start, cpu = time.perf_counter(), time.process_time()
        pixels, right = prepared()
        found.append((time.perf_counter() - start, time.process_time() - cpu, pixels, right))
    seconds, cpu, pixels, right = min(found)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) / 1024  # getrusage would give the parent's, if that is larger
    return {"seconds": seconds, "cpu": cpu, "pixels": pixels, "right": right, "peak": peak}


def _score(prediction: Path, reference: Path) -> object:
    def work() -> tuple[int, float]:
        found = score(ScoreInputs(prediction, reference), CLASSES, ring=0)
        return raster_info(reference).grid.shape[0] ** 2, found.later.figures["oa_pooled"]

    return work


def _every_pixel(prediction: Path, reference: Path) -> object:
    legend, _ = legend_of(CLASSES, None, False)
    crosswalk = Crosswalk(legend.name, legend, {code: code for code in legend.ids})
    infos = [raster_info(path) for path in (reference, prediction)]

    def indices(info: object, window: Window) -> np.ndarray:
        codes, valid = read_codes(info, window)
        return legend.lut[crosswalk.apply(codes[0], valid, where="map")]

    def work() -> tuple[int, float]:
        matrix = ConfusionMatrix(CLASSES)
        for window in windows(infos[0].grid, 2048):
            matrix.update(*(indices(info, window) for info in infos))
        return infos[0].grid.shape[0] ** 2, matrix.counts.trace() / matrix.pixels

    return work


def _pairs(prediction: Path, reference: Path) -> object:
    size = min(raster_info(reference).grid.shape[0], 4096)
    pixels = [rasterio.open(path).read(1, window=((0, size), (0, size))) for path in (reference, prediction)]

    def work() -> tuple[int, float]:
        joint = joint_histogram(*pixels)
        return pixels[0].size, joint[:255, :255].trace() / joint[:255].sum()

    return work


def main() -> None:
    """Make the maps, time every way in a process of its own, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mapmend_confusion")
    parser.add_argument("--side", type=int, default=16384)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--one", choices=LABELS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.one:
        print(json.dumps(measured(given.one, make(given.work, given.side), given.passes)))
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from trials import machine, table  # not above: torch comes with it, and the memory of what is timed would show it

    rows, found = [], {}
    cases = [(what, given.side) for what in LABELS]
    for what, side in (*cases, ("score", given.side // 2)):
        make(given.work, side)
        command = [sys.executable, __file__, "--one", what, "--work", str(given.work)]
        command += ["--side", str(side), "--passes", str(given.passes)]
        one = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        found[what, side] = one
        speed, of_cpu = (one["pixels"] / 1e6 / one[key] for key in ("seconds", "cpu"))
        rows.append([LABELS[what], f"{side}²", f"{speed:.0f}", f"{of_cpu:.0f}", f"{one['peak']:.0f}"])
    assert found["score", given.side]["right"] == found["pixels", given.side]["right"]
    ratio = found["pixels", given.side]["seconds"] / found["score", given.side]["seconds"]
    sizes = [path.stat().st_size / 1e6 for path in make(given.work, given.side)]
    print(f"`python benchmarks/accuracy/confusion_speed.py --side {given.side} --passes {given.passes}`\n")
    head = ("", "pixels", "Mpx of pairs a second", "a second of one core", "peak memory, MiB")
    print(table(head, rows))
    print(
        f"\n{ratio:.1f} times as fast as looking every pixel up. Files of {sizes[0]:.0f} and {sizes[1]:.0f} MB, "
        f"overall accuracy {found['score', given.side]['right']:.3f}, seed {SEED}. {machine()}."
    )


if __name__ == "__main__":
    main()
