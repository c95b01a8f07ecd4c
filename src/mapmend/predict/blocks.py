"""Blocks: the squares of a map that are computed, stored and repeated one at a time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mapmend.core.errors import JobError
from mapmend.core.grid import Grid, Window, full_window
from mapmend.predict.lattice import Lattice

TILE = 512  # side of the tiles of the rasters written; a block of whole tiles is copied into the map tile by tile
_LARGEST_SIDE = 8192
_MOST_SUMS = 2**29  # bytes of the running sums of one row of windows


@dataclass(frozen=True)
class Block:
    """A rectangle of the output grid; its id says where it lies, so that it means the same in every run."""

    window: Window

    @property
    def id(self) -> str:
        """Name of the block's files: first row, first column, height and width."""
        w = self.window
        return f"r{w.row:07d}_c{w.col:07d}_{w.height}x{w.width}"


def block_of_id(name: str) -> Block:
    """The block of an id.

    Raises:
        JobError: it is none.
    """
    match = re.fullmatch(r"r(\d+)_c(\d+)_(\d+)x(\d+)", name, re.ASCII)
    if match is None:
        raise JobError(f"'{name}' is no block", fix="delete the job's folder and start again")
    return Block(Window(*map(int, match.groups())))


def block_side(lattice: Lattice, channels: int, wanted: int | None = None) -> int:
    """The side of a block: a multiple of the stride, and of the tile where that is possible.

    Args:
        lattice: the windows.
        channels: of probabilities: the classes of every date.
        wanted: the side is at most this, or the smallest possible; without it, about 8000 pixels and no more than fits
            in half a gigabyte of running sums.
    """
    limit = wanted or min(_LARGEST_SIDE, _MOST_SUMS // (4 * channels * lattice.size))
    for unit in (math.lcm(lattice.stride, TILE), lattice.stride):
        if unit <= limit:
            return limit // unit * unit
    return lattice.stride


def plan_blocks(grid: Grid, side: int, within: Window | None = None) -> list[Block]:
    """The blocks of a grid in row-major order.

    Args:
        grid: the output grid.
        side: of a block in pixels; the last ones of a row or column are smaller.
        within: only blocks that touch this window.
    """
    whole = full_window(grid)
    blocks = []
    for row in range(0, whole.height, side):
        for col in range(0, whole.width, side):
            window = Window(row, col, side, side).intersect(whole)
            assert window is not None
            if within is None or window.intersect(within) is not None:
                blocks.append(Block(window))
    return blocks


def count_windows(block: Block, grid: Grid, lattice: Lattice) -> int:
    """How many windows of the lattice a block needs where every pixel is valid."""
    w, (height, width) = block.window, grid.shape
    rows = lattice.touching(w.row, w.row_end, int(height))
    return len(rows) * len(lattice.touching(w.col, w.col_end, int(width)))


def batch_size(grid: Grid, lattice: Lattice, most: int) -> int:
    """Windows per call of a predictor: `most`, or all that the grid has, so that small scenes are not mostly padding.

    It follows from the grid alone and not from the block: every call for a map has the same shape.
    """
    height, width = grid.shape
    return min(most, lattice.count(int(height)) * lattice.count(int(width)))
