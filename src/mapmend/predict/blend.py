"""Windows' probabilities, tapered, summed and reduced to a class and how sure it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mapmend.core.classes import NODATA
from mapmend.core.errors import ModelError
from mapmend.core.grid import Grid, Window
from mapmend.predict.lattice import Lattice

CONFIDENCE_STEPS = 200  # confidence 1 is stored as 200: steps of half a per cent

Bytes = npt.NDArray[np.uint8]


class RowBlend:
    """Running sums of tapered probabilities over one row of windows of a block.

    Windows are added in the order of the lattice, one after the other, and product and sum are rounded each on its
    own (no fused multiply-add): hence the sums of a pixel are the same numbers in whatever block it lies.

    Memory: K × window × block width × 4 bytes, on the device of the probabilities.
    """

    def __init__(self, block: Window, grid: Grid, lattice: Lattice, classes: int) -> None:
        self._block, self._grid, self._lattice, self._classes = block, grid, lattice, classes
        taper = torch.from_numpy(lattice.taper())
        self._taper = taper[:, None] * taper[None, :]
        self._row: int | None = None
        self._sums: torch.Tensor | None = None
        self._cols = torch.from_numpy(lattice.total(block.col, block.col_end, int(grid.shape[1])))

    def add(self, place: tuple[int, int], probabilities: torch.Tensor) -> None:
        """Add a window: (row, column) in the lattice and K×W×W float32, which is overwritten."""
        size, stride = self._lattice.size, self._lattice.stride
        self._move(place[0], probabilities.device)
        assert self._sums is not None
        seen = Window(place[0] * stride, place[1] * stride, size, size)
        shared = seen.intersect(self._block)
        assert shared is not None
        probabilities.mul_(self._taper)
        rows, cols = shared.shift(-seen.row, -seen.col).slices
        to_rows, to_cols = shared.shift(-seen.row, -self._block.col).slices
        self._sums[:, to_rows, to_cols] += probabilities[:, rows, cols]

    def finish(self, row: int, window: Window, wanted: npt.NDArray[np.bool_]) -> tuple[Bytes, Bytes]:
        """Reduce rows of the block that no later window sees.

        Args:
            row: number of the row of windows that sees them last.
            window: these rows, as wide as the block.
            wanted: H×W, where there is to be a class.

        Returns:
            Class index and confidence, round(200·p), both H×W with 255 where not wanted.

        Raises:
            ModelError: a wanted pixel's probability is not a number.
        """
        if self._sums is None or not wanted.any():
            nothing = np.full(wanted.shape, NODATA, np.uint8)
            return nothing, nothing.copy()
        self._move(row, self._sums.device)
        first = window.row - row * self._lattice.stride
        best, index = _largest(self._sums[:, first : first + window.height])
        height = int(self._grid.shape[0])
        rows = torch.from_numpy(self._lattice.total(window.row, window.row_end, height))
        total = (rows[:, None] * self._cols[None, :]).to(best.device)
        mask = torch.from_numpy(wanted).to(best.device)
        confidence = best.div_(total)
        if not bool(torch.isfinite(confidence.sum())):
            raise ModelError("gives probabilities that are not numbers", fix="train it again, or use float32 precision")
        steps = confidence.mul_(CONFIDENCE_STEPS).round_().clamp_(0, CONFIDENCE_STEPS)
        return tuple(  # type: ignore[return-value]
            layer.masked_fill_(~mask, NODATA).cpu().numpy() for layer in (index, steps.to(torch.uint8))
        )

    def _move(self, row: int, device: torch.device) -> None:
        """Make the sums those of a later row of windows: keep what it shares with the one before."""
        shape = (self._classes, self._lattice.size, self._block.width)
        if self._sums is None:
            self._sums = torch.zeros(shape, device=device)
            self._taper = self._taper.to(device)
        elif self._row is not None and row > self._row:
            down = (row - self._row) * self._lattice.stride
            kept = self._lattice.size - down
            if kept > 0:
                self._sums[:, :kept] = self._sums[:, down:].clone()
            self._sums[:, max(kept, 0) :] = 0
        self._row = row


def _largest(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest of K values H×W, and the index of the first that has it, uint8; a third of `torch.max`'s time."""
    best = values.amax(dim=0)
    index = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    below = torch.ones_like(index)
    for value in values[:-1]:
        below &= (value != best).view(torch.uint8)
        index += below
    return best, index
