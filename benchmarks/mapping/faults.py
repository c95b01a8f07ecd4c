"""Mapping: jobs that are killed at random moments, and files that were damaged at random.

    python benchmarks/mapping/faults.py [--kills N] [--files N]

*Kills*: one job of sixteen blocks is started and killed (SIGKILL) after a random time, again and again until it is
finished, then the next one begins, until there were N kills; the rasters of every finished job are compared with those
of one that was never killed. *Files*: small rasters of five formats, whose bytes were changed, cut or swapped at
random, are read by a process of their own with 1 GiB of memory more than it has; what is no typed error and no picture
counts as a crash, what takes more than 30 seconds as a hang.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import rasterio
import torch

from mapmend.core.errors import MapmendError
from mapmend.core.grid import full_window
from mapmend.core.legend import Legend, LegendClass
from mapmend.core.sensor import Band, Sensor
from mapmend.predict.job import predict_scene
from mapmend.predict.lattice import Lattice
from mapmend.predict.predictor import TorchPredictor
from mapmend.predict.scene import Scene
from mapmend.raster.opening import raster_info
from mapmend.raster.reading import ImageSource, Reader

SIDE, BLOCK = 192, 48
CARD = Sensor("camera", tuple(Band(f"b{number}") for number in range(3)))
FORMATS = {"a.tif": "GTiff", "b.png": "PNG", "c.jpg": "JPEG", "d.jp2": "JP2OpenJPEG", "e.bmp": "BMP"}
HANG = 30.0  # seconds
GRACE = 2**30  # bytes


class Edges(torch.nn.Module):
    """A network without weights of its own."""

    def forward(self, image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Logits of two classes."""
        return torch.stack([image[:, 0] - 100, image[:, 1] - image[:, 2]], dim=1) / 50


def make_scene(folder: Path) -> Scene:
    """A generated scene with a hole."""
    pixels = np.random.default_rng(0).integers(1, 250, (3, SIDE, SIDE), np.uint8)
    pixels[:, :60, :60] = 0
    path, at = folder / "scene.tif", rasterio.Affine(1, 0, 500_000, 0, -1, 4_000_000)
    profile = {"driver": "GTiff", "height": SIDE, "width": SIDE, "count": 3, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=at, **profile) as file:
        file.write(pixels)
    return Scene("scene", (ImageSource((str(path),), CARD.band_names, CARD),), raster_info(path).grid)


def map_scene(scene: Scene, out: Path) -> None:
    """The job."""
    torch.set_num_threads(1)
    legend = Legend("two", (LegendClass(1, "low", "#101010"), LegendClass(2, "high", "#f0f0f0")))
    model = TorchPredictor(Edges(), legend, (), Lattice(32, 8), device="cpu", batch=2)
    predict_scene(model, scene, out, block=BLOCK, progress=False)


def map_started(started: Event, scene: Scene, out: Path) -> None:
    """The job, of a process that has imported everything."""
    started.set()
    map_scene(scene, out)


def kill_jobs(kills: int, folder: Path) -> list[list[str]]:
    """Jobs, kills, and how many rasters differ."""
    scene, draws = make_scene(folder), random.Random(0)
    start = time.monotonic()
    map_scene(scene, folder / "calm")
    typical = time.monotonic() - start
    calm, done, jobs, differing = _hashes(folder / "calm"), 0, 0, 0
    while done < kills:
        out = folder / "map"
        shutil.rmtree(out, ignore_errors=True)
        while True:
            started = CONTEXT.Event()
            child = CONTEXT.Process(target=map_started, args=(started, scene, out))
            child.start()
            started.wait()
            child.join(draws.uniform(0, typical * 0.7))
            if child.is_alive():
                child.kill()
                done += 1
            child.join()
            if child.exitcode == 0:
                break
            if done >= kills:
                map_scene(scene, out)
                break
        jobs += 1
        differing += _hashes(out) != calm
        print(f"{done} kills, {jobs} jobs, {differing} differ", file=sys.stderr)
    return [["kills", str(done)], ["jobs finished", str(jobs)], ["jobs with other bytes", str(differing)]]


def _hashes(folder: Path) -> list[str]:
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("class.tif", "confidence.tif")]


def mutate_files(number: int, folder: Path) -> list[list[str]]:
    """What became of so many damaged files."""
    originals = {name: _original(folder / name, driver) for name, driver in FORMATS.items()}
    draws, outcome = random.Random(1), Counter[str]()
    for count in range(number):
        name, content = draws.choice(list(originals.items()))
        (folder / name).write_bytes(_damaged(bytearray(content), draws))
        outcome[_read_apart(folder / name)] += 1
        if count % 100 == 99:
            print(f"{count + 1} files: {dict(outcome)}", file=sys.stderr)
    return [[f"files: {kind}", str(outcome[kind])] for kind in ("typed error", "picture", "crash", "hang")]


def _original(path: Path, driver: str) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (3, 64, 64), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver=driver, height=64, width=64, count=3, dtype="uint8") as file:
            file.write(pixels)
    return path.read_bytes()


def _damaged(content: bytearray, draws: random.Random) -> bytes:
    kind = draws.randrange(4)
    head = draws.random() < 0.5
    for _ in range(draws.randint(1, 8)):
        at = draws.randrange(min(len(content), 256) if head else len(content))
        if kind == 0:
            content[at] = draws.randrange(256)
        elif kind == 1:
            content[at : at + 4] = draws.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f"])
        elif kind == 2:
            other = draws.randrange(len(content))
            content[at], content[other] = content[other], content[at]
    return bytes(content[: draws.randrange(1, len(content))] if kind == 3 else content)


def _read_apart(path: Path) -> str:
    child = CONTEXT.Process(target=_read, args=(str(path),))
    child.start()
    child.join(HANG)
    if child.is_alive():
        child.kill()
        child.join()
        return "hang"
    return {0: "picture", 3: "typed error"}.get(child.exitcode or 0, "crash")


def _read(path: str) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + GRACE, held + GRACE))
    warnings.simplefilter("ignore")
    try:
        reader = Reader(ImageSource((path,), CARD.band_names, CARD))
        window = full_window(reader.grid)
        reader.read(type(window)(0, 0, min(window.height, 512), min(window.width, 512)))
    except MapmendError:
        os._exit(3)
    os._exit(0)


CONTEXT = multiprocessing.get_context("forkserver")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    CONTEXT.set_forkserver_preload(["mapmend.predict.job", "mapmend.raster.reading"])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if options.kills:
            rows += kill_jobs(options.kills, Path(folder))
        if options.files:
            rows += mutate_files(options.files, Path(folder))
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from trials import machine, table  # not above: every child process would import it

    print(table(["what", "number"], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
