"""The noise matrix T: how often the label says each class where the truth is another, from held-out predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mapmend.audit.measuring import Bytes
from mapmend.change.decide import STEPS
from mapmend.change.patches import Floats, Ints
from mapmend.core.legend import NODATA

_INSIDE = 3.0  # pixels from the proposed map's boundaries: nearer ones may be mixed
_LEAST_PIXELS = 100  # confident ones of a class, and
_LEAST_BLOCKS = 2  # blocks that they lie in
_DRAWS = 400
_LEVEL = 0.95


@dataclass(frozen=True)
class NoiseMatrix:
    """P(label | truth); None where a class has no confident pixels.

    Attributes:
        shares: K×K, [truth][label].
        low: lower limits of 95 % intervals.
        high: upper limits.
        pixels: confident ones of each class.
    """

    shares: tuple[tuple[float, ...] | None, ...]
    low: tuple[tuple[float, ...] | None, ...]
    high: tuple[tuple[float, ...] | None, ...]
    pixels: tuple[int, ...]


def class_histograms(label: Bytes, probabilities: Bytes) -> Ints:
    """How often each class is proposed with each probability, K×201, well inside of its patches."""
    proposed, steps, inside = _proposals(label, probabilities)
    flat = proposed[inside].astype(np.int64) * (STEPS + 1) + steps[inside]
    classes = len(probabilities)
    return np.bincount(flat, minlength=classes * (STEPS + 1)).reshape(classes, STEPS + 1)


def thresholds_of(histograms: Ints) -> Ints:
    """The median probability of each class where it is proposed: confident are those at or above it, at least 1/2."""
    total = histograms.sum(axis=1)
    median = (histograms.cumsum(axis=1) * 2 < total[:, None]).sum(axis=1)
    thresholds: Ints = np.maximum(median, STEPS // 2)
    return thresholds


def confident_counts(label: Bytes, probabilities: Bytes, thresholds: Ints) -> Ints:
    """Confident pixels K×K, [proposed][label]."""
    proposed, steps, inside = _proposals(label, probabilities)
    classes = len(probabilities)
    sure = inside & (steps >= thresholds[np.minimum(proposed, classes - 1)])
    flat = proposed[sure].astype(np.int64) * classes + label[sure]
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)


def noise_matrix(counts: Sequence[Ints], rng: np.random.Generator) -> NoiseMatrix:
    """The matrix of blocks' confident counts; intervals by drawing blocks anew."""
    every = np.array(counts)
    total = every.sum(axis=0)
    drawn = np.array([every[rng.integers(len(every), size=len(every))].sum(axis=0) for _ in range(_DRAWS)])
    # a draw without any block of a class says nothing of it
    drawn_shares = np.where(drawn.sum(axis=2, keepdims=True) > 0, _shares(drawn), _shares(total))
    limits = np.quantile(drawn_shares, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    known = (total.sum(axis=1) >= _LEAST_PIXELS) & ((every.sum(axis=2) > 0).sum(axis=0) >= _LEAST_BLOCKS)

    def rows(values: Floats) -> tuple[tuple[float, ...] | None, ...]:
        return tuple(tuple(row.tolist()) if there else None for row, there in zip(values, known, strict=True))

    pixels = tuple(int(count) for count in total.sum(axis=1))
    return NoiseMatrix(rows(_shares(total)), rows(limits[0]), rows(limits[1]), pixels)


def _proposals(label: Bytes, probabilities: Bytes) -> tuple[Bytes, Bytes, npt.NDArray[np.bool_]]:
    """Proposed class, its probability, and which pixels are labelled and lie well inside of a proposed patch."""
    proposed = probabilities.argmax(axis=0).astype(np.uint8)
    edge = np.zeros(label.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = proposed[one] != proposed[other]
        edge[one] |= differ
        edge[other] |= differ
    known = (label != NODATA) & (probabilities[0] != NODATA)
    inside = known & (ndimage.distance_transform_edt(~edge) >= _INSIDE) if edge.any() else known
    return proposed, probabilities.max(axis=0), inside


def _shares(counts: Ints) -> Floats:
    whole = counts.sum(axis=-1, keepdims=True)
    result: Floats = counts / np.maximum(whole, 1)
    return result
