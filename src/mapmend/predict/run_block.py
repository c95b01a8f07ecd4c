"""One block of a map, from pixels to files: a pure function of predictor, scene and block."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from affine import Affine

from mapmend.core.classes import NODATA
from mapmend.core.grid import Grid, Window, make_grid
from mapmend.predict.ahead import ahead
from mapmend.predict.blend import Bytes, RowBlend
from mapmend.predict.blocks import TILE, Block, batch_size
from mapmend.predict.predictor import Predictor
from mapmend.predict.scene import Scene, SceneReader
from mapmend.predict.strips import RowOfWindows, read_batches
from mapmend.raster.writing import TiledWriter

LAYERS: tuple[Literal["class", "confidence"], ...] = ("class", "confidence")

_READ_AHEAD = 2  # batches


@dataclass(frozen=True)
class BlockResult:
    """What a block became.

    Attributes:
        files: one per layer, in the order of LAYERS.
        windows: that were predicted.
        pixels: that got a class.
        seconds: it took.
    """

    files: tuple[Path, ...]
    windows: int
    pixels: int
    seconds: float


def run_block(
    predictor: Predictor,
    scene: Scene,
    block: Block,
    folder: Path,
    *,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> BlockResult:
    """Map one block: `<id>.class.tif` (legend ids) and `<id>.confidence.tif` (round(200·p)), both uint8, nodata 255.

    A thread reads and cuts ahead, another one compresses and writes. Memory depends on the block's width and not on
    its height: one row of windows is held at a time.

    Args:
        predictor: gives probabilities.
        scene: what is mapped.
        block: which part.
        folder: where the files go; each appears when it is complete.
        on_rows: told after every batch how many rows of the block it finished; what it raises ends the block.

    Raises:
        MapmendError: pixels cannot be read, probabilities are not numbers, files cannot be written.
    """
    started = time.perf_counter()
    lattice, window = predictor.lattice, block.window
    blend = RowBlend(window, scene.grid, lattice, len(predictor.legend))
    waiting: deque[RowOfWindows] = deque()
    windows = pixels = 0
    size = batch_size(scene.grid, lattice, predictor.batch)
    batches = read_batches(SceneReader(scene), window, scene.grid, lattice, size)
    with (
        torch.inference_mode(),
        _writer(folder, scene.grid, block) as write,
        closing(ahead(batches, _READ_AHEAD)) as items,
    ):

        def finish_before(row: float) -> int:
            rows = 0
            while waiting and waiting[0].number < row:
                done = waiting.popleft()
                index, confidence = blend.finish(done.number, done.window, done.wanted)
                write(predictor.legend.id_lut[index], confidence)
                rows += done.window.height
            return rows

        for item in items:
            if isinstance(item, RowOfWindows):
                waiting.append(item)
                pixels += int(item.wanted.sum())
                continue
            finished = 0
            probabilities = predictor.probabilities(item.pixels, item.valid)
            for place, one in zip(item.places, probabilities, strict=False):
                finished += finish_before(place[0])
                blend.add(place, one)
            windows += len(item.places)
            on_rows(finished)
        on_rows(finish_before(math.inf))
    return BlockResult(layer_files(block, folder), windows, pixels, time.perf_counter() - started)


def layer_files(block: Block, folder: Path) -> tuple[Path, ...]:
    """The files of a block, in the order of LAYERS."""
    return tuple(folder / f"{block.id}.{layer}.tif" for layer in LAYERS)


@contextmanager
def _writer(folder: Path, grid: Grid, block: Block) -> Iterator[Callable[[Bytes, Bytes], None]]:
    """Takes rows of a block as they are finished; a thread writes them, whole tiles at a time.

    A tile that is written in two goes would be compressed twice.
    """
    window = block.window
    corner = grid.transform @ Affine.translation(window.col, window.row)
    own_grid = make_grid((window.height, window.width), corner, grid.crs)
    held: list[np.ndarray] = []
    jobs: deque[Future[None]] = deque()
    class_file, confidence_file = layer_files(block, folder)
    row = 0

    def flush(rows: int) -> None:
        nonlocal row
        stack = np.concatenate(held, axis=1)
        held[:] = [stack[:, rows:]]
        while len(jobs) > 1:
            jobs.popleft().result()
        jobs.append(pool.submit(save, Window(row, 0, rows, window.width), stack[:, :rows]))
        row += rows

    def save(where: Window, layers: np.ndarray) -> None:
        for file, layer in zip((classes, confidences), layers, strict=True):
            file.write(where, layer)

    def take(ids: Bytes, confidence: Bytes) -> None:
        held.append(np.stack([ids, confidence]))
        full = sum(part.shape[1] for part in held) // TILE * TILE
        if full:
            flush(full)

    with (
        TiledWriter(class_file, own_grid, 1, "uint8", nodata=NODATA) as classes,
        TiledWriter(confidence_file, own_grid, 1, "uint8", nodata=NODATA) as confidences,
        ThreadPoolExecutor(1, thread_name_prefix="writer") as pool,
    ):
        yield take
        if sum(part.shape[1] for part in held):
            flush(window.height - row)
        for job in jobs:
            job.result()
