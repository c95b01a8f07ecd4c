"""The plane on which a landscape is drawn: named random streams, and fields of noise in metres."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse

_CUBIC_SD = 0.479  # standard deviation of a uniform cubic B-spline surface with unit normal coefficients
_STRIP = 64  # rows treated at once, so that the work fits the processor's cache


@dataclass(frozen=True)
class Canvas:
    """H×W pixels of `gsd` metres. Everything random is drawn from a stream that has a name, so parts stay apart."""

    height: int
    width: int
    gsd: float
    seed: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width in metres."""
        return self.height * self.gsd, self.width * self.gsd

    @property
    def rows(self) -> np.ndarray:
        """Metres below the upper edge, H×1."""
        return ((np.arange(self.height, dtype=np.float32) + 0.5) * self.gsd)[:, None]

    @property
    def cols(self) -> np.ndarray:
        """Metres right of the left edge, 1×W."""
        return ((np.arange(self.width, dtype=np.float32) + 0.5) * self.gsd)[None, :]

    def stream(self, name: str) -> np.random.Generator:
        """The random numbers of one part of the landscape."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def chance(self, ids: np.ndarray, name: str) -> np.ndarray:
        """A uniform number in [0, 1) for each id: equal ids have equal numbers; float32, shape of `ids`."""
        salt = zlib.crc32(f"{self.seed}:{name}".encode())
        return (scramble(ids, salt) >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)

    def smooth(self, name: str, wavelength: float) -> np.ndarray:
        """Noise of one scale, H×W float32, mean 0 and standard deviation 1 over a large area.

        Args:
            name: of the stream.
            wavelength: metres; below four pixels it turns into blurred white noise.
        """
        rng, pixels = self.stream(name), wavelength / self.gsd
        if pixels < 4:
            field = rng.standard_normal(self.shape, np.float32)
            if pixels > 2:
                field = ndimage.gaussian_filter(field, pixels / 4, mode="wrap")
                field /= max(float(field.std()), 1e-6)
            return field
        spacing = pixels / 2
        counts = tuple(int(np.ceil(n / spacing)) + 4 for n in self.shape)
        nodes = rng.standard_normal(counts, np.float32) / np.float32(_CUBIC_SD)
        down, across = (
            _cubic_weights(n, m, spacing, float(rng.random())) for n, m in zip(self.shape, counts, strict=True)
        )
        return np.ascontiguousarray((across @ (down @ nodes).T).T)

    def fractal(self, name: str, wavelength: float, octaves: int = 4, roughness: float = 0.5) -> np.ndarray:
        """Noise of several scales, each half as long and `roughness` as strong; H×W float32, standard deviation 1."""
        weights = roughness ** np.arange(octaves)
        weights /= np.linalg.norm(weights)
        field = np.zeros(self.shape, np.float32)
        for octave, weight in enumerate(weights):
            field += np.float32(weight) * self.smooth(f"{name}/{octave}", wavelength / 2**octave)
        return field


def scramble(ids: np.ndarray, salt: int) -> np.ndarray:
    """A 32-bit hash of whole numbers; every bit of the input moves every bit of the output."""
    x = (ids.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32(salt & 0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(16)
    return x


def _cubic_weights(count: int, nodes: int, spacing: float, phase: float) -> sparse.csr_array:
    """The matrix, count×nodes, that evaluates a uniform cubic B-spline at every pixel."""
    position = np.arange(count) / spacing + phase
    first = np.floor(position).astype(np.int64)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
    columns = first[:, None] + np.arange(4)
    indptr = np.arange(0, 4 * count + 1, 4)
    return sparse.csr_array((weights.ravel().astype(np.float32), columns.ravel(), indptr), shape=(count, nodes))


@dataclass(frozen=True)
class Cells:
    """Nearest of scattered points at every pixel, H×W each.

    Attributes:
        id: of the nearest point.
        distance: to it, metres.
        row: its row, metres.
        col: its column, metres.
        border: distance to the line midway to the second nearest point, metres.
        other: id of the second nearest point.
    """

    id: np.ndarray
    distance: np.ndarray
    row: np.ndarray
    col: np.ndarray
    border: np.ndarray
    other: np.ndarray


def scatter(canvas: Canvas, name: str, spacing: float, rows: np.ndarray, cols: np.ndarray) -> Cells:
    """Cells of points on a jittered lattice (Worley 1996), looked up at positions `rows`, `cols` (H×W, metres)."""
    low_row, low_col = float(rows.min()) - spacing, float(cols.min()) - spacing
    lines = int((float(rows.max()) - low_row) / spacing) + 2
    across = int((float(cols.max()) - low_col) / spacing) + 2
    rng = canvas.stream(name)
    jitter = 0.08 + 0.84 * rng.random((2, lines, across), np.float32)
    point_row = ((np.arange(lines, dtype=np.float32)[:, None] + jitter[0]) * spacing + low_row).ravel()
    point_col = ((np.arange(across, dtype=np.float32)[None, :] + jitter[1]) * spacing + low_col).ravel()
    shape = canvas.shape
    nearest, second = (np.empty(shape, np.float32) for _ in range(2))
    ids, others = (np.empty(shape, np.int32) for _ in range(2))
    rows, cols = np.broadcast_to(rows, shape), np.broadcast_to(cols, shape)
    for top in range(0, shape[0], _STRIP):
        part = slice(top, top + _STRIP)
        found = _two_nearest(rows[part], cols[part], point_row, point_col, (low_row, low_col), spacing, across)
        nearest[part], second[part], ids[part], others[part] = found
    row, col = point_row[ids], point_col[ids]
    apart = np.hypot(row - point_row[others], col - point_col[others])
    border = (second - nearest) / (2 * np.maximum(apart, 1e-3))
    return Cells(ids, np.sqrt(nearest), row, col, border, others)


def _two_nearest(
    rows: np.ndarray,
    cols: np.ndarray,
    point_row: np.ndarray,
    point_col: np.ndarray,
    low: tuple[float, float],
    spacing: float,
    across: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Squared distances to the two nearest points among the 3×3 lattice cells around each position, and their ids."""
    line = ((rows - np.float32(low[0])) / np.float32(spacing)).astype(np.int32)
    base = line * across + ((cols - np.float32(low[1])) / np.float32(spacing)).astype(np.int32)
    nearest = np.full(rows.shape, np.inf, np.float32)
    second = nearest.copy()
    ids, others = np.zeros(rows.shape, np.int32), np.zeros(rows.shape, np.int32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            index = np.clip(base + (down * across + right), 0, len(point_row) - 1)
            squared = (rows - point_row[index]) ** 2 + (cols - point_col[index]) ** 2
            closer = squared < nearest
            runner_up = ~closer & (squared < second)
            np.copyto(others, ids, where=closer)
            np.copyto(others, index, where=runner_up)
            np.copyto(second, nearest, where=closer)
            np.copyto(second, squared, where=runner_up)
            np.copyto(ids, index, where=closer)
            np.copyto(nearest, squared, where=closer)
    return nearest, second, ids, others
