"""One block of a map, from pixels to files: a pure function of predictor, scene and block."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from affine import Affine

from mapmend.core.classes import NODATA
from mapmend.core.errors import ModelError
from mapmend.core.grid import Grid, Window, make_grid
from mapmend.predict.ahead import ahead
from mapmend.predict.blend import Bytes, RowBlend
from mapmend.predict.blocks import TILE, Block, batch_size
from mapmend.predict.layers import Layers
from mapmend.predict.pair import change_of, channels, disagrees
from mapmend.predict.predictor import Predictor
from mapmend.predict.prior import PriorReader
from mapmend.predict.scene import Scene, SceneReader
from mapmend.predict.strips import Batch, RowOfWindows, read_batches
from mapmend.raster.writing import TiledWriter

_READ_AHEAD = 2  # batches


@dataclass(frozen=True)
class BlockResult:
    """What a block became.

    Attributes:
        files: one per layer, in the order of `Layers.all`.
        windows: that were predicted.
        pixels: that got a class; of two dates, at the later one.
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
    layers: Layers | None = None,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> BlockResult:
    """Map one block: `<id>.class.tif` (legend ids) and `<id>.confidence.tif` (round(200·p)), both uint8, nodata 255.

    Of a scene of two dates these are the later date's; `class_before` and `confidence_before` are the earlier one's,
    and `change` is the probability that the class changed, round(200·p). Probabilities are calibrated where the
    predictor has a calibration; those of single classes are written where `layers` has them.

    A thread reads and cuts ahead, another one compresses and writes. Memory depends on the block's width and not on
    its height: one row of windows is held at a time.

    Args:
        predictor: gives probabilities.
        scene: what is mapped.
        block: which part.
        folder: where the files go; each appears when it is complete.
        layers: what is written; by default all but the probabilities of single classes.
        on_rows: told after every batch how many rows of the block it finished; what it raises ends the block.

    Raises:
        MapmendError: pixels cannot be read, probabilities are not numbers, files cannot be written.
    """
    started = time.perf_counter()
    lattice, window = predictor.lattice, block.window
    layers = layers or Layers(scene.dates, used=scene.partial, disagreement=disagrees(predictor))
    files = layers.of_block(block, folder)
    blend = RowBlend(
        window,
        scene.grid,
        lattice,
        len(predictor.legend),
        change_of(predictor),
        channels(predictor),
        predictor.calibration,
        layers.classes,
        layers.entropy,
        layers.disagreement,
        PriorReader(scene.prior, scene.grid, predictor.legend).weights if scene.prior is not None else None,
    )
    waiting: deque[RowOfWindows] = deque()
    windows = pixels = 0
    size = batch_size(scene.grid, lattice, predictor.batch)
    batches = read_batches(SceneReader(scene), window, scene.grid, lattice, size)
    with (
        torch.inference_mode(),
        _writer(files, scene.grid, block) as write,
        closing(ahead(batches, _READ_AHEAD)) as items,
    ):

        def finish_before(row: float) -> int:
            rows = 0
            while waiting and waiting[0].number < row:
                done = waiting.popleft()
                made = blend.finish(done.number, done.window, done.wanted)
                for number in range(scene.dates):
                    made[2 * number] = predictor.legend.id_lut[made[2 * number]]
                if layers.used:
                    nothing = np.full(made[0].shape, NODATA, np.uint8)
                    made.insert(2, done.used if done.used is not None else nothing)
                write(made)
                rows += done.window.height
            return rows

        for item in items:
            if isinstance(item, RowOfWindows):
                waiting.append(item)
                pixels += int(item.wanted[-1].sum())
                continue
            finished = 0
            probabilities = _predicted(predictor, item)
            for place, one in zip(item.places, probabilities, strict=False):
                finished += finish_before(place[0])
                blend.add(place, one)
            windows += len(item.places)
            on_rows(finished)
        on_rows(finish_before(math.inf))
    return BlockResult(files, windows, pixels, time.perf_counter() - started)


def _predicted(predictor: Predictor, batch: Batch) -> torch.Tensor:
    try:
        return predictor.probabilities(batch.pixels, batch.valid)
    except torch.OutOfMemoryError:
        raise ModelError(
            f"memory is out with {len(batch.pixels)} windows at once",
            fix="stop what else uses the device, or begin anew with a smaller --batch",
        ) from None


@contextmanager
def _writer(paths: tuple[Path, ...], grid: Grid, block: Block) -> Iterator[Callable[[Sequence[Bytes]], None]]:
    """Takes rows of a block as they are finished; a thread writes them, whole tiles at a time.

    A tile that is written in two goes would be compressed twice.
    """
    window = block.window
    corner = grid.transform @ Affine.translation(window.col, window.row)
    own_grid = make_grid((window.height, window.width), corner, grid.crs)
    held: list[np.ndarray] = []
    jobs: deque[Future[None]] = deque()
    row = 0

    def flush(rows: int) -> None:
        nonlocal row
        ready = np.concatenate(held, axis=1)
        held[:] = [ready[:, rows:]]
        while len(jobs) > 1:
            jobs.popleft().result()
        jobs.append(pool.submit(save, Window(row, 0, rows, window.width), ready[:, :rows]))
        row += rows

    def save(where: Window, rows_of_layers: np.ndarray) -> None:
        for file, layer in zip(files, rows_of_layers, strict=True):
            file.write(where, layer)

    def take(made: Sequence[Bytes]) -> None:
        held.append(np.stack(made))
        full = sum(part.shape[1] for part in held) // TILE * TILE
        if full:
            flush(full)

    with ExitStack() as stack:
        files = [
            stack.enter_context(TiledWriter(path, own_grid, 1, "uint8", nodata=NODATA, quick=True)) for path in paths
        ]
        pool = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="writer"))
        yield take
        if sum(part.shape[1] for part in held):
            flush(window.height - row)
        for job in jobs:
            job.result()
