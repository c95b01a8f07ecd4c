"""Mapping: speed end to end against the same window batches already in memory, and peak memory as scenes grow.

    python benchmarks/mapping/efficiency.py [--work DIR] [--threads N] [--only NAME ...]

Every run is a process of its own, at most 3 minutes on two cores, done once and kept in `--work`, which takes 2 GB.
The scene is generated: four bands of 8 bits with texture. Networks have random weights, which take as long as trained
ones. Half of the batches in memory are timed before the map is made and half after it, so that a machine whose speed
drifts does not favour either. End to end is all of it: reading, windows, network, blending, writing, both COGs.

Efficiency is given twice: of the clock, and of processor time, which says how much work there is beside the network
on a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from affine import Affine

from mapmend.core.classes import Legend, LegendClass
from mapmend.core.grid import Window, full_window, make_grid
from mapmend.core.sensor import load_sensor
from mapmend.nn.allocator import keep_large_blocks
from mapmend.nn.build import build_network
from mapmend.nn.spec import NetworkSpec
from mapmend.predict.backends.choose import Backend, on_backend
from mapmend.predict.job import predict_scene
from mapmend.predict.lattice import Lattice
from mapmend.predict.predictor import Predictor, TorchPredictor
from mapmend.predict.scene import Scene, SceneReader
from mapmend.predict.strips import Batch, read_batches
from mapmend.raster.reading import ImageSource
from mapmend.raster.writing import TiledWriter

sys.path.insert(0, str(Path(__file__).parents[1]))
from trials import Trials, machine, table

CLASSES, BANDS = 8, 4
LATTICE = Lattice(512, 128)
POOL = 4  # different batches in memory
RATIOS = (("in_memory", "seconds"), ("work_in_memory", "work"))


@dataclass(frozen=True)
class Run:
    """A network on a square scene; `light` is a single convolution."""

    encoder: str
    decoder: str
    precision: str
    side: int
    backend: Backend = "torch"


RUNS = {
    "efficientnet": Run("efficientnet_b0", "unet", "float32", 4096),
    "efficientnet-bf16": Run("efficientnet_b0", "unet", "bfloat16", 4096),
    "segformer-bf16": Run("mit_b0", "segformer", "bfloat16", 4096),
    "resnet50-bf16": Run("resnet50", "unet", "bfloat16", 2048),
    "efficientnet-openvino": Run("efficientnet_b0", "unet", "bfloat16", 4096, "openvino"),
    "segformer-openvino": Run("mit_b0", "segformer", "bfloat16", 4096, "openvino"),
    "resnet50-openvino": Run("resnet50", "unet", "bfloat16", 4096, "openvino"),
    "light-4k": Run("light", "", "float32", 4096),
    "light-16k": Run("light", "", "float32", 16384),
}


class Light(torch.nn.Module):
    """One convolution: so little work that reading, blending and writing show."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(BANDS, CLASSES, 3, padding=1)

    def forward(self, image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Logits at the image's size."""
        return self.convolution(((image.float() - 100) / 50).masked_fill(~valid, 0))


def make_scene(folder: Path, side: int) -> Scene:
    """A generated scene; its file is kept."""
    grid = make_grid((side, side), Affine(1, 0, 500_000, 0, -1, 4_000_000), "EPSG:32633")
    card, path = load_sensor("naip"), folder / f"scene{side}.tif"
    if not path.exists():
        rng = np.random.default_rng(0)
        with TiledWriter(path, grid, BANDS, "uint8", band_names=card.band_names) as file:
            for row in range(0, side, 512):
                coarse = rng.uniform(40, 180, (BANDS, 32, side // 16))
                noise = rng.integers(0, 32, (BANDS, 512, side), np.uint8)
                strip = np.kron(coarse, np.ones((16, 16))).astype(np.uint8) + noise
                file.write(Window(row, 0, 512, side), strip)
    return Scene("generated", (ImageSource((str(path),), card.band_names, card),), grid)


def make_predictor(run: Run) -> Predictor:
    """The run's network on the processor, on its backend."""
    torch.manual_seed(0)
    if run.encoder == "light":
        network: torch.nn.Module = Light()
    else:
        spec = NetworkSpec(run.encoder, run.decoder, BANDS, CLASSES, (110.0,) * BANDS, (45.0,) * BANDS)
        network, _ = build_network(spec)
    legend = Legend("eight", tuple(LegendClass(code, f"class {code}", f"#{code:02x}8040") for code in range(CLASSES)))
    single = TorchPredictor(network, legend, (), LATTICE, device="cpu", precision=run.precision)
    return on_backend(single, run.backend)


def measure(run: Run, folder: Path) -> dict[str, object]:
    """One run, in this process."""
    keep_large_blocks()  # as a mapping job does: the batches in memory are to run on equal terms
    scene, predictor = make_scene(folder, run.side), make_predictor(run)
    out = folder / "map"
    shutil.rmtree(out, ignore_errors=True)
    windows = LATTICE.count(run.side) ** 2
    calls = -(-windows // predictor.batch)
    in_memory = work_in_memory = 0.0
    if run.side < 8192:
        part = Window(0, 0, 1024, run.side)
        stream = read_batches(SceneReader(scene), part, scene.grid, LATTICE, predictor.batch)
        pool = [item for item in stream if isinstance(item, Batch)][:POOL]
        _time_batches(predictor, pool, 2)
        in_memory, work_in_memory = _time_batches(predictor, pool, calls // 2)
    start, before = time.perf_counter(), time.process_time()
    predict_scene(predictor, scene, out, progress=False)
    seconds, work = time.perf_counter() - start, time.process_time() - before
    if run.side < 8192:
        after, work_after = _time_batches(predictor, pool, calls - calls // 2)
        in_memory, work_in_memory = in_memory + after, work_in_memory + work_after
    record = json.loads((out / "mapmend.json").read_text())
    shutil.rmtree(out)
    return {
        "seconds": seconds,
        "in_memory": in_memory,
        "work": work,
        "work_in_memory": work_in_memory,
        "redundancy": record["windows"] / windows,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "batch": predictor.batch,
        "threads": torch.get_num_threads(),
        "pixels": full_window(scene.grid).height * full_window(scene.grid).width,
    }


def _time_batches(predictor: Predictor, pool: list[Batch], calls: int) -> tuple[float, float]:
    """Seconds of the clock and of processors."""
    start, before = time.perf_counter(), time.process_time()
    for call in range(calls):
        batch = pool[call % len(pool)]
        predictor.probabilities(batch.pixels, batch.valid)
    return time.perf_counter() - start, time.process_time() - before


def in_own_process(name: str, folder: Path, threads: int) -> dict[str, object]:
    """One run in a new process, after one that only makes the scene: its memory must not count."""
    for step in ("--make", "--measure"):
        command = [sys.executable, __file__, "--work", str(folder), "--threads", str(threads), step, name]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("out/mapping"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="*", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--make", choices=list(RUNS), help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=list(RUNS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    if options.make:
        make_scene(options.work, RUNS[options.make].side)
        return
    if options.measure:
        print(json.dumps(measure(RUNS[options.measure], options.work)))
        return
    trials = Trials(options.work / "results.jsonl")
    rows = []
    for name in options.only:
        run = RUNS[name]
        key = {"name": name, "threads": options.threads}
        row = trials.run(key, lambda name=name: in_own_process(name, options.work, options.threads))
        network = "one 3×3 convolution" if run.encoder == "light" else f"{run.decoder}, {run.encoder}"
        rows.append(
            [
                network,
                run.backend,
                run.precision,
                f"{run.side}²",
                f"{row['pixels'] / row['seconds'] / 1e6:.2f}",
                *(f"{row[a] / row[b]:.2f}" if run.encoder != "light" else "–" for a, b in RATIOS),
                f"{row['redundancy']:.2f}",
                f"{row['peak_mib']:.0f}",
            ]
        )
    head = [
        *("network", "backend", "precision", "scene", "Mpx/s", "efficiency", "of processor time", "redundancy"),
        "peak memory, MiB",
    ]
    print(table(head, rows))
    print(f"\nWindows of {LATTICE.size} pixels, overlap {LATTICE.overlap}, {CLASSES} classes.")
    print(f"{options.threads} threads. {machine()}")


if __name__ == "__main__":
    main()
