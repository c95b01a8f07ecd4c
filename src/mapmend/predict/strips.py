"""A block's halo'd pixels, read once in strips of one row of windows, and cut into batches of one fixed shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mapmend.core.classes import NODATA
from mapmend.core.grid import Grid, Window
from mapmend.predict.lattice import Lattice
from mapmend.predict.scene import Bool, Pixels, SceneReader


@dataclass(frozen=True)
class RowOfWindows:
    """A row of the lattice whose windows come next.

    Attributes:
        number: of the row in the lattice.
        window: the part of the block that no later row of windows sees.
        wanted: where the map of each date gets a class, D×H×W of `window`.
        used: of a scene that may lack images, which modalities are valid there, H×W: 1 for the first, 2 for the second,
            4 for the third, …, added up; None of others.
    """

    number: int
    window: Window
    wanted: Bool
    used: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Batch:
    """Windows that are predicted together.

    Attributes:
        places: (row, column) of the windows in the lattice; fewer than N where the last ones are padding.
        pixels: N×C×W×W in the stored type, 0 where invalid.
        valid: N×C×W×W, or N×1×W×W where all channels share one validity.
    """

    places: tuple[tuple[int, int], ...]
    pixels: Pixels
    valid: Bool


def read_batches(
    reader: SceneReader, block: Window, grid: Grid, lattice: Lattice, size: int
) -> Iterator[RowOfWindows | Batch]:
    """Rows and batches of a block in the order of the lattice.

    A row is announced before its windows come; a batch may hold windows of several rows. Windows that show nothing
    the map wants are left out, and are not read where a file says that nothing was written there. No more than a strip
    of stored pixels, one window high, is held.

    Args:
        reader: of the scene.
        block: what is to be mapped.
        grid: of the map.
        lattice: the windows.
        size: windows per batch.
    """
    height, width = (int(n) for n in grid.shape)
    rows = lattice.touching(block.row, block.row_end, height)
    cols = lattice.touching(block.col, block.col_end, width)
    left = cols[0] * lattice.stride
    across = cols[-1] * lattice.stride + lattice.size - left
    pending = _Pending(reader, lattice.size, size)
    strip = _Strip(reader, Window(rows[0] * lattice.stride, left, lattice.size, across))
    for row in rows:
        end = block.row_end if row == rows[-1] else (row + 1) * lattice.stride
        seen = Window(row * lattice.stride, left, lattice.size, across)
        shared = seen.intersect(block)
        assert shared is not None
        wanted = np.zeros((reader.dates, seen.height, seen.width), bool)
        here = (slice(None), *shared.shift(-seen.row, -seen.col).slices)
        wanted[here] = reader.inside(shared)
        if wanted.any() and reader.empty(shared):
            wanted[:] = False
        if wanted.any():
            pixels, valid = strip.move(seen)
            of_dates = valid.reshape(reader.dates, -1, *valid.shape[1:])
            counts = np.logical_or if reader.partial else np.logical_and
            wanted[here] &= counts.reduce(of_dates, axis=1)[here]
        final = shared.intersect(Window(seen.row, left, end - seen.row, across))
        if final is not None:
            inside = final.shift(-seen.row, -seen.col).slices
            used = _modalities(valid[:, *inside], wanted[0, *inside]) if reader.partial and wanted.any() else None
            yield RowOfWindows(row, final, wanted[:, *inside], used)
        for col in cols:
            part = slice(col * lattice.stride - left, col * lattice.stride - left + lattice.size)
            if wanted[:, :, part].any():
                pending.add((row, col), pixels[:, :, part], valid[:, :, part])
                if pending.full:
                    yield pending.take()
    if pending.places:
        yield pending.take()


def _modalities(valid: Bool, wanted: Bool) -> npt.NDArray[np.uint8]:
    """`RowOfWindows.used` of validity M×H×W, 255 where no class is wanted."""
    bits = np.array([1 << number for number in range(len(valid))], np.uint8)
    return np.where(wanted, (valid * bits[:, None, None]).sum(0), NODATA).astype(np.uint8)


@dataclass
class _Strip:
    """The pixels of one row of windows; what the next row shares with it is not read again."""

    reader: SceneReader
    window: Window
    pixels: Pixels | None = None
    valid: Bool | None = None

    def move(self, window: Window) -> tuple[Pixels, Bool]:
        kept = self.window.row_end - window.row
        if self.pixels is None or self.valid is None or kept <= 0 or window.row == self.window.row:
            self.pixels, self.valid = self.reader.read(window)
        else:
            below = Window(window.row + kept, window.col, window.height - kept, window.width)
            pixels, valid = self.reader.read(below)
            self.pixels = np.concatenate([self.pixels[:, -kept:], pixels], axis=1)
            self.valid = np.concatenate([self.valid[:, -kept:], valid], axis=1)
        self.window = window
        return self.pixels, self.valid


@dataclass
class _Pending:
    """Windows that wait until they fill a batch."""

    reader: SceneReader
    side: int
    size: int
    places: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._clear()

    @property
    def full(self) -> bool:
        return len(self.places) == self.size

    def add(self, place: tuple[int, int], pixels: Pixels, valid: Bool) -> None:
        number = len(self.places)
        self.pixels[number] = pixels
        self.valid[number] = valid if len(valid) == 1 else np.repeat(valid, self.reader.counts, axis=0)
        self.places.append(place)

    def take(self) -> Batch:
        batch = Batch(tuple(self.places), self.pixels, self.valid)
        self._clear()
        return batch

    def _clear(self) -> None:
        counts = self.reader.counts
        channels = sum(counts)
        self.places = []
        self.pixels = np.zeros((self.size, channels, self.side, self.side), self.reader.dtype)
        self.valid = np.zeros((self.size, channels if len(counts) > 1 else 1, self.side, self.side), bool)
