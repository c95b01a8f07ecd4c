"""The windows a network sees, on one lattice anchored at the output grid's origin, and the taper that blends them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.core.errors import ProjectError

_LEAST_WEIGHT = 1e-6  # of a pixel that another window sees well; alone at the grid's edge it still counts fully


@dataclass(frozen=True)
class Lattice:
    """Square windows of `size` pixels that start at every multiple of `size - overlap`.

    The first window starts at pixel 0 and the last one reaches to the grid's end or beyond it. Windows belong to the
    grid, not to the block that is at work: a pixel is seen by the same windows whatever is computed around it.

    Attributes:
        size: side of a window in pixels.
        overlap: pixels that neighbouring windows share, at most half of `size`.

    Raises:
        ProjectError: the overlap does not fit the window.
    """

    size: int
    overlap: int

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.overlap <= self.size // 2:
            raise ProjectError(
                f"an overlap of {self.overlap} does not fit a window of {self.size} pixels",
                where="predict",
                fix=f"choose 0 to {max(self.size, 0) // 2}",
            )

    @property
    def stride(self) -> int:
        """Pixels from one window's start to the next one's."""
        return self.size - self.overlap

    def count(self, length: int) -> int:
        """How many windows cover an axis of `length` pixels."""
        return max(1, math.ceil((length - self.overlap) / self.stride))

    def touching(self, start: int, end: int, length: int) -> range:
        """Numbers of the windows that see any of the pixels start..end-1 of an axis of `length` pixels."""
        first = max(0, (start - self.size) // self.stride + 1)
        return range(first, min(self.count(length), (end - 1) // self.stride + 1))

    def taper(self) -> npt.NDArray[np.float32]:
        """Weights along one axis of a window: 1 in the middle, positive everywhere.

        They rise as a raised cosine over the middle half of the overlap, so that neighbours sum to 1, and the outer
        quarter weighs next to nothing: what a network says at its window's edge, where it sees least, is left to the
        neighbour. Hence a network that looks no further than a quarter of the overlap maps a scene in windows as it
        would in one piece.
        """
        margin = self.overlap // 4
        ramp = self.overlap - 2 * margin
        place = np.clip((np.arange(self.overlap) + 0.5 - margin) / max(ramp, 1), 0, 1)
        rise = np.maximum(np.sin(np.pi / 2 * place) ** 2, _LEAST_WEIGHT)
        weights = np.ones(self.size)
        weights[: self.overlap] = rise
        weights[self.size - self.overlap :] = rise[::-1]
        return weights.astype(np.float32)

    def total(self, start: int, end: int, length: int) -> npt.NDArray[np.float32]:
        """Sum of all windows' weights at the pixels start..end-1 of an axis of `length` pixels."""
        taper, total = self.taper(), np.zeros(end - start)
        for number in self.touching(start, end, length):
            offset = number * self.stride - start
            low, high = max(offset, 0), min(offset + self.size, end - start)
            total[low:high] += taper[low - offset : high - offset]
        return total.astype(np.float32)
