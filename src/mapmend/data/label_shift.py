"""How far a label lies beside the image it belongs to.

The measure is the correlation ratio (Roche, Malandain, Pennec, Ayache 1998): the share of the image's variance that
the label's classes explain, η² = Σ between classes / Σ total. It needs no model of what a class looks like. All
shifts up to a radius are tried at once: sums over the pixels of a class are cross-correlations, done by FFT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NONE = 255  # pixels without a class
_TILE = 64  # pixels, about: tiles have class means of their own, so that broad brightness gradients do not matter
_LEAST = 32  # pixels; a class with fewer in a tile explains noise
_FOLDS = 16
_SURE = 3.5  # standard errors by which the gain must exceed zero: 1 in 600 at 15 degrees of freedom, one-sided
_LEAST_TILES = 6  # with fewer there is no telling what is chance
_LEAST_GAIN = 0.1  # of what is explained in place; generalisation and errors of coarse labels make up to 0.06


@dataclass(frozen=True)
class Shift:
    """Where a label lies: `dx` pixels right of and `dy` pixels below its place in the image.

    Attributes:
        explained_at_zero: share of the image's variance that the classes explain as the label lies, 0 to 1.
        explained_at_best: the same with the label moved back by (dx, dy).
        certain: whether the gain is more than chance, and the shift more than half a pixel.
        at_edge: the best shift lies at the edge of the search: the true one may be larger.
    """

    dx: float
    dy: float
    explained_at_zero: float
    explained_at_best: float
    certain: bool
    at_edge: bool = False


@dataclass(frozen=True)
class TileSums:
    """Sums of squares of one tile for every shift, (2R+1)×(2R+1), rows by dy and columns by dx, both from -R."""

    between: np.ndarray
    total: np.ndarray


def estimate_shift(image: np.ndarray, valid: np.ndarray, classes: np.ndarray, radius: int) -> Shift:
    """Estimate how far a label lies beside an image.

    Args:
        image: C×H×W, any number type.
        valid: H×W bool, where the image may be used.
        classes: H×W, whole numbers from 0 to 254, and 255 where there is no class.
        radius: largest shift looked for, in pixels along each axis.

    Returns:
        The shift; (0, 0) and not certain where nothing can be said.
    """
    return conclude(tile_sums(image, valid, classes, radius))


def tile_sums(image: np.ndarray, valid: np.ndarray, classes: np.ndarray, radius: int) -> list[TileSums]:
    """What a window adds to an estimate; tiles with fewer than two classes add nothing.

    Labels within `radius` of the window's edge are left out, so that every shift is judged on the same labels.
    """
    height, width = classes.shape
    scaled = _standardised(image, valid)
    sums = []
    for top, bottom in _pieces(radius, height - radius):
        for left, right in _pieces(radius, width - radius):
            labels = classes[top:bottom, left:right]
            around = np.s_[top - radius : bottom + radius, left - radius : right + radius]
            tile = _sums(scaled[:, *around], valid[around], labels, radius)
            if tile is not None:
                sums.append(tile)
    return sums


def conclude(tiles: Sequence[TileSums]) -> Shift:
    """The shift that tiles of one or several windows speak for, and whether it is certain.

    A best shift always explains more than none on the pixels it was chosen on. So each sixteenth of the tiles judges
    the shift that the other tiles chose: under no shift its gain is at most zero on average. It is certain where the
    gains exceed zero by 3.5 standard errors, a tenth more is explained than in place, and every sixteenth's choice
    lies nearer to the best shift than to none.
    """
    if not tiles:
        return Shift(0.0, 0.0, 0.0, 0.0, False)
    between, total = (np.stack([getattr(tile, name) for tile in tiles]) for name in ("between", "total"))
    middle = between.shape[1] // 2
    surface = _ratio(between.sum(0), total.sum(0))
    row, col = _best(surface)
    dy, dx = row - middle + _peak(surface[:, col], row), col - middle + _peak(surface[row], col)
    here, best = float(surface[middle, middle]), float(surface[row, col])
    at_edge = bool({row, col} & {0, 2 * middle})
    certain = math.hypot(dx, dy) > 0.5 and (row, col) != (middle, middle) and len(tiles) >= _LEAST_TILES
    if certain:
        certain = best - here > _LEAST_GAIN * here and _holds(between, total, (row - middle, col - middle))
    return Shift(float(dx), float(dy), here, best, certain, at_edge)


def _holds(between: np.ndarray, total: np.ndarray, shift: tuple[int, int]) -> bool:
    """Whether a shift chosen on some tiles explains others better than none."""
    middle = between.shape[1] // 2
    fold = np.arange(len(between)) % min(_FOLDS, len(between))
    gains = []
    for number in range(fold.max() + 1):
        inside = fold == number
        row, col = _best(_ratio(between[~inside].sum(0), total[~inside].sum(0)))
        if math.dist((row - middle, col - middle), shift) > math.hypot(*shift) / 2:
            return False
        surface = _ratio(between[inside].sum(0), total[inside].sum(0))
        gains.append(surface[row, col] - surface[middle, middle])
    error = np.std(gains, ddof=1) / math.sqrt(len(gains))
    return bool(np.mean(gains) > _SURE * error)


def _standardised(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Bands with mean 0 and variance 1 over the valid pixels, 0 elsewhere; a constant band is 0."""
    scaled = np.zeros(image.shape)
    if not valid.any():
        return scaled
    values = image[:, valid].astype(np.float64)
    values -= values.mean(1, keepdims=True)
    spread = values.std(1, keepdims=True)
    scaled[:, valid] = np.divide(values, spread, out=np.zeros_like(values), where=spread > 0)
    return scaled


def _pieces(start: int, end: int) -> list[tuple[int, int]]:
    """A range cut into equal pieces of about `_TILE`."""
    if end - start < _TILE // 2:
        return []
    edges = np.linspace(start, end, max(1, round((end - start) / _TILE)) + 1).astype(int).tolist()
    return list(zip(edges, edges[1:], strict=False))


def _sums(image: np.ndarray, valid: np.ndarray, labels: np.ndarray, radius: int) -> TileSums | None:
    """Sums of a tile, whose image reaches `radius` further on every side than its labels."""
    counts = np.bincount(labels.ravel(), minlength=256)
    present = [index for index in np.flatnonzero(counts >= _LEAST).tolist() if index != NONE]
    if len(present) < 2 or not valid.any():
        return None
    masks = np.stack([labels == index for index in present]).astype(np.float64)
    layers = np.concatenate([valid[None], image, (image**2).sum(0, keepdims=True)])
    height, width = valid.shape
    spectra = np.conj(np.fft.rfft2(masks, (height, width)))[:, None] * np.fft.rfft2(layers)[None]
    # place (i, j) is the sum of a layer over a class that is moved i rows down and j columns right of the corner
    moved = np.fft.irfft2(spectra, (height, width))[..., : 2 * radius + 1, : 2 * radius + 1]
    moved = moved[..., ::-1, ::-1]  # a label that lies dy below its place is moved -dy to get there
    number = np.rint(moved[:, 0])
    sums, squares = moved[:, 1:-1], moved[:, -1].sum(0)
    every = number.sum(0)
    overall = (sums.sum(0) ** 2).sum(0) / np.maximum(every, 1)
    between = ((sums**2).sum(1) / np.maximum(number, 1)).sum(0) - overall
    return TileSums(np.maximum(between, 0), np.maximum(squares - overall, 0))


def _ratio(between: np.ndarray, total: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(between, total, out=np.zeros_like(between), where=total > 1e-6)
    return ratio


def _best(surface: np.ndarray) -> tuple[int, int]:
    """Place of the highest value; of equals the one nearest to the middle."""
    rows, cols = np.nonzero(surface >= surface.max() - 1e-12)
    middle = surface.shape[0] // 2
    nearest = int(np.argmin(np.hypot(rows - middle, cols - middle)))
    return int(rows[nearest]), int(cols[nearest])


def _peak(line: np.ndarray, at: int) -> float:
    """Offset of the top of a parabola through a maximum and its neighbours, -0.5 to 0.5."""
    if not 0 < at < len(line) - 1:
        return 0.0
    low, top, high = line[at - 1 : at + 2]
    bend = low - 2 * top + high
    return float(np.clip((low - high) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
