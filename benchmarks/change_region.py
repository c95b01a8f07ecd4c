"""`change` on maps that a trained model made, against the truth: the demo's scene, and a region of 16384² pixels.

    mapmend demo --out demo
    python benchmarks/change_region.py --demo demo [--seed 7] [--side 4096] [--times 4] [--work DIR]

The demo's model maps a landscape it has not seen, both dates; for the region, maps, probabilities and truth are laid
side by side, every other one mirrored, `--times` by `--times`. Minutes and peak memory are those of `change` alone, in
a process of its own: reading, patches, polygons, four COGs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio

from mapmend.accuracy.change import ChangeAccuracy, change_metrics
from mapmend.core.classes import NODATA, Legend
from mapmend.core.grid import Grid, PixelArea, Window, make_grid, windows
from mapmend.core.legend import load_legend
from mapmend.data.landscape import write_landscape
from mapmend.data.landscape.folder import DATES
from mapmend.raster.opening import raster_info
from mapmend.raster.writing import TiledWriter

MMU_HA = 0.01  # as in the demo
MAPS = ("class_before", "class", "confidence_before", "confidence", "change")
TRUTHS = ("truth_before", "truth")
STRIP = 512


def map_landscape(demo: Path, folder: Path, side: int, seed: int) -> dict[str, Path]:
    """A landscape of another seed, mapped at both dates by the demo's model; paths by layer."""
    from mapmend.project import load_project
    from mapmend.steps import PredictOptions, predict_step, prepare_step

    if not (folder / "landscape/refs.csv").is_file():
        write_landscape(folder / "landscape", side, seed)
    (folder / "project.yaml").write_text((demo / "project.yaml").read_text())
    project = replace(load_project(folder / "project.yaml"), name="region")
    prepare_step(project, folder)
    [out] = predict_step(project, folder, PredictOptions(models=(demo / "model",))).values()
    truth = {name: folder / f"landscape/truth_{date}.tif" for name, date in zip(TRUTHS, DATES, strict=True)}
    return {**{name: out / f"{name}.tif" for name in MAPS}, **truth}


def repeat(source: Path, target: Path, times: int) -> None:
    """Lay a raster side by side with itself, every other one mirrored."""
    with rasterio.open(source) as raster:
        once = raster.read(1)
    side = len(once)
    grid = raster_info(str(source)).grid
    whole = make_grid((times * side, times * side), grid.transform, grid.crs)
    with TiledWriter(target, whole, 1, once.dtype, NODATA) as out:
        for number in range(times):
            rows = once[::-1] if number % 2 else once
            for row in range(0, side, STRIP):
                strip = rows[row : row + STRIP]
                line = np.concatenate([strip[:, ::-1] if n % 2 else strip for n in range(times)], axis=1)
                out.write(Window(number * side + row, 0, *line.shape), line)


def compare(layers: dict[str, str], out: Path) -> dict[str, float]:
    """`change` on the layers, in this process."""
    from mapmend.change.job import ChangeInputs, ChangeSettings, change_maps

    files = dict(zip(("before", "after", "confidence_before", "confidence_after", "probability"), MAPS, strict=True))
    inputs = ChangeInputs(**{role: layers[name] for role, name in files.items()})
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    change_maps(inputs, load_legend("landscape"), out, ChangeSettings(mmu_ha=MMU_HA), progress=False)
    peak = _peak()
    return {"minutes": (time.perf_counter() - start) / 60, "peak": peak}


def score(layers: dict[str, Path], out: Path, legend: Legend) -> ChangeAccuracy:
    """The change's counts against the truth, streamed."""
    grid: Grid = raster_info(str(layers["truth"])).grid
    area = PixelArea(grid)
    accuracy = ChangeAccuracy(legend.names, area.unit)
    paths = (layers["truth_before"], layers["truth"], out / "before.tif", out / "after.tif")
    for window in windows(grid, 2048):
        here = ((window.row, window.row_end), (window.col, window.col_end))
        read = []
        for path in paths:
            with rasterio.open(path) as raster:
                read.append(legend.lut[raster.read(1, window=here)])
        read[0] = np.where(read[2] == NODATA, NODATA, read[0])  # outside of the images' footprints nothing is asked
        accuracy.update((read[0], read[1]), (read[2], read[3]), area.of(window))
    return accuracy


def row(name: str, side: int, run: dict[str, float], accuracy: ChangeAccuracy) -> list[str]:
    """A line of the table: size, IoU and areas of change, cost."""
    metrics = change_metrics(accuracy)
    off = ~np.eye(len(accuracy.names), dtype=bool)
    truth, mapped = accuracy.truth_areas[off], accuracy.map_areas[off]
    found = (metrics.iou_changed, metrics.precision_changed, metrics.recall_changed)
    return [
        name,
        f"{side}²",
        *(f"{100 * value:.1f}" for value in found if value is not None),
        f"{truth.sum():.1f}",
        f"{mapped.sum():.1f}",
        f"{100 * np.abs(mapped - truth).sum() / truth.sum():.0f} %",
        f"{run['minutes']:.2f}",
        f"{run['peak']:.2f} GiB",
    ]


def _peak() -> float:
    """GiB that this process held at most; `ru_maxrss` would count what the process that started it held."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--work", type=Path, default=Path("change_region"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(compare(json.loads(given.child[0]), Path(given.child[1]))))
        return
    from trials import machine, table  # not in the child: it brings torch, whose memory is no part of the job's

    [seen] = (given.demo / "map").glob("*/class.tif")
    truth = {name: given.demo / f"landscape/truth_{date}.tif" for name, date in zip(TRUTHS, DATES, strict=True)}
    of_demo = {**{name: seen.with_name(f"{name}.tif") for name in MAPS}, **truth}
    mapped = map_landscape(given.demo, given.work, given.side, given.seed)
    region = {name: given.work / f"{name}_{given.times}.tif" for name in mapped}
    for name, path in region.items():
        if not path.is_file():
            repeat(mapped[name], path, given.times)
    rows = []
    cases = {"demo": of_demo, "unseen landscape": mapped, "region": region}
    for name, layers in cases.items():
        out = given.work / f"change_{name.split()[0]}"
        plain = json.dumps({layer: str(path) for layer, path in layers.items()})
        command = [sys.executable, __file__, "--demo", str(given.demo), "--child", plain, str(out)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        side = int(raster_info(str(layers["truth"])).grid.shape[0])
        rows.append(row(name, side, json.loads(said), score(layers, out, load_legend("landscape"))))
        print(rows[-1], flush=True)
    head = ["scene", "pixels", "change IoU", "precision", "recall", "changed, ha", "mapped, ha", "from-to error"]
    print(table([*head, "minutes", "peak memory"], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
