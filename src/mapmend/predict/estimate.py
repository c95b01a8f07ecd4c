"""What a mapping job would take: time, disk and memory."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mapmend.core.errors import ProjectError
from mapmend.predict.blocks import Block, batch_size, count_windows
from mapmend.predict.layers import Layers
from mapmend.predict.pair import channels
from mapmend.predict.predictor import Predictor
from mapmend.predict.scene import Scene, SceneReader

_BYTES_PER_PIXEL = 1.5  # of a layer, compressed, as blocks and as a map with overviews


@dataclass(frozen=True)
class Estimate:
    """What a job would take.

    Attributes:
        blocks: their number.
        windows: to be predicted if every pixel is valid.
        pixels: of the blocks.
        seconds: from one batch that was timed on this machine.
        disk: bytes at most, while blocks and map are both there.
        memory: bytes at the peak, the process as it is now included.
    """

    blocks: int
    windows: int
    pixels: int
    seconds: float
    disk: int
    memory: int


def disk_bytes(blocks: Sequence[Block], layers: Layers) -> int:
    """Disk space that a job's files need at the same time, for noise-like maps."""
    return int(_BYTES_PER_PIXEL * len(layers.all) * _pixels(blocks))


def estimate_job(predictor: Predictor, scene: Scene, blocks: Sequence[Block], layers: Layers) -> Estimate:
    """Time one batch of windows, and count the rest.

    Raises:
        MapmendError: the predictor fails.
    """
    lattice = predictor.lattice
    reader = SceneReader(scene)
    size = batch_size(scene.grid, lattice, predictor.batch)
    shape = (size, sum(reader.counts), lattice.size, lattice.size)
    pixels = np.zeros(shape, reader.dtype)
    valid = np.ones(shape if len(reader.counts) > 1 else (shape[0], 1, *shape[2:]), bool)
    seconds = min(_timed(predictor, pixels, valid) for _ in range(2))
    windows = [count_windows(block, scene.grid, lattice) for block in blocks]
    calls = sum(math.ceil(number / size) for number in windows)
    batches = 4 * (pixels.nbytes + valid.nbytes)
    return Estimate(
        blocks=len(blocks),
        windows=sum(windows),
        pixels=_pixels(blocks),
        seconds=calls * seconds,
        disk=disk_bytes(blocks, layers),
        memory=_peak() + _rows_bytes(predictor, scene, reader, blocks) + batches,
    )


def check_memory(predictor: Predictor, scene: Scene, blocks: Sequence[Block]) -> None:
    """Refuse blocks whose rows of windows do not fit into the memory that this machine has free.

    Raises:
        ProjectError: they do not.
    """
    needed, free = _rows_bytes(predictor, scene, SceneReader(scene), blocks), _free()
    if free is not None and needed > free:
        widest = max(block.window.width for block in blocks)
        raise ProjectError(
            f"blocks {widest} pixels wide need about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            where="--block",
            fix="choose a smaller one, or leave it out",
        )


def _rows_bytes(predictor: Predictor, scene: Scene, reader: SceneReader, blocks: Sequence[Block]) -> int:
    """Memory of one row of windows: running sums, stored pixels and their validity, twice while they move, priors."""
    side = predictor.lattice.size
    widest = max(block.window.width for block in blocks) + 2 * side
    stored = reader.dtype.itemsize * sum(reader.counts) + 2 * len(reader.counts)
    priors = 12 * len(predictor.legend) if scene.prior is not None else 0  # weights, and what they are made from
    return side * widest * (4 * channels(predictor) + 2 * stored + priors)


def _free() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None


def _timed(predictor: Predictor, pixels: np.ndarray, valid: np.ndarray) -> float:
    start = time.perf_counter()
    predictor.probabilities(pixels, valid).sum().item()  # a GPU has finished when a number has arrived
    return time.perf_counter() - start


def _pixels(blocks: Sequence[Block]) -> int:
    return sum(block.window.height * block.window.width for block in blocks)


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def total(estimates: Iterable[Estimate]) -> Estimate:
    """What several jobs take, one after the other."""
    every = list(estimates)
    return Estimate(
        blocks=sum(one.blocks for one in every),
        windows=sum(one.windows for one in every),
        pixels=sum(one.pixels for one in every),
        seconds=sum(one.seconds for one in every),
        disk=sum(one.disk for one in every),
        memory=max(one.memory for one in every),
    )
