"""The noise matrix T: how often the label says each class where the truth is another, from held-out predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mapmend.audit.measuring import Bytes
from mapmend.audit.table import Parts
from mapmend.change.patches import Floats, Ints
from mapmend.core.legend import NODATA
from mapmend.core.stored import STEPS

_SURE = 0.5
_INSIDE = 3.0  # pixels from the proposed map's boundaries: nearer ones may be mixed
_LEAST_PIXELS = 500  # of a class that are confidently proposed, and
_LEAST_BLOCKS = 2  # blocks that they lie in: else its row would rest on what no model has seen
_LEAST_AGREED = 0.5  # of a class's labelled pixels, for which the class is proposed: else no model can tell its errors
_CELL = 256  # pixels: side of the blocks that are drawn for intervals
_GROUPS = 64  # at most, of blocks that are drawn together: bounds the memory of legends of many classes
_DRAWS = 400
_LEVEL = 0.95


@dataclass(frozen=True)
class NoiseMatrix:
    """P(label | truth); None where a class is not confidently proposed anywhere, or seldom where the label has it.

    Attributes:
        shares: K×K, [truth][label].
        low: lower limits of 95 % intervals.
        high: upper limits.
        pixels: of each class that are confidently proposed.
    """

    shares: tuple[tuple[float, ...] | None, ...]
    low: tuple[tuple[float, ...] | None, ...]
    high: tuple[tuple[float, ...] | None, ...]
    pixels: tuple[int, ...]


def confident_pixels(label: Bytes, probabilities: Bytes) -> Ints:
    """How many labelled pixels of a window each of the K classes is confidently proposed for.

    That is with a probability of at least one half, three pixels or more inside of a patch of the class.
    """
    proposed = probabilities.argmax(axis=0)
    edge = np.zeros(label.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = proposed[one] != proposed[other]
        edge[one] |= differ
        edge[other] |= differ
    sure = (label != NODATA) & (probabilities[0] != NODATA) & (probabilities.max(axis=0) >= _SURE * STEPS)
    if edge.any():
        sure &= ndimage.distance_transform_edt(~edge) >= _INSIDE
    return np.bincount(proposed[sure], minlength=len(probabilities))


def noise_matrix(parts: Parts, wrong: Floats, confident: Sequence[Ints], rng: np.random.Generator) -> NoiseMatrix:
    """The matrix of a label's parts, each of which counts by how likely its label is wrong.

    Where label and proposal agree, the truth is taken for both. Where they differ, the truth is the proposal with
    P(wrong) and the label's class with the rest: else each error of the model would be one of the label. Intervals come
    from drawing blocks anew.

    Args:
        parts: of the label.
        wrong: P(wrong) of each; 0 where label and proposal agree.
        confident: of each block, `confident_pixels`.
        rng: of the draws.
    """
    classes = len(confident[0])
    group = _groups(parts, rng)
    counts = np.zeros((int(group.max(initial=0)) + 1, classes, classes))
    np.add.at(counts, (group, parts.proposed, parts.label), np.where(parts.differs, wrong, 1.0) * parts.pixels)
    np.add.at(counts, (group, parts.label, parts.label), np.where(parts.differs, 1 - wrong, 0.0) * parts.pixels)
    total = counts.sum(axis=0)
    limits = np.quantile([_drawn(counts, total, rng) for _ in range(_DRAWS)], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], 0)
    seen = np.array(confident)
    known = (seen.sum(axis=0) >= _LEAST_PIXELS) & ((seen > 0).sum(axis=0) >= _LEAST_BLOCKS)
    agreed, labelled = (
        np.bincount(parts.label, parts.pixels * counted, minlength=classes)
        for counted in (~parts.differs, np.ones(len(parts)))
    )
    known &= agreed >= _LEAST_AGREED * labelled

    def rows(values: Floats) -> tuple[tuple[float, ...] | None, ...]:
        return tuple(tuple(row.tolist()) if there else None for row, there in zip(values, known, strict=True))

    pixels = tuple(int(count) for count in seen.sum(axis=0))
    return NoiseMatrix(rows(_shares(total)), rows(limits[0]), rows(limits[1]), pixels)


def _groups(parts: Parts, rng: np.random.Generator) -> Ints:
    """A number for the block in which each part's middle lies; blocks in at most 64 groups."""
    middle = (parts.box[::2] + parts.box[1::2]) // 2 // _CELL
    _, block = np.unique(np.stack([parts.site, *middle]), axis=1, return_inverse=True)
    block = block.ravel()
    count = int(block.max(initial=-1)) + 1
    groups: Ints = (rng.permutation(count) % _GROUPS)[block]
    return groups


def _drawn(counts: Floats, total: Floats, rng: np.random.Generator) -> Floats:
    """Shares of blocks drawn anew; a draw without any pixel of a class says nothing of it."""
    times = np.bincount(rng.integers(len(counts), size=len(counts)), minlength=len(counts))
    drawn = np.tensordot(times, counts, axes=1)
    result: Floats = np.where(drawn.sum(axis=1, keepdims=True) > 0, _shares(drawn), _shares(total))
    return result


def _shares(counts: Floats) -> Floats:
    whole = counts.sum(axis=-1, keepdims=True)
    result: Floats = np.divide(counts, whole, out=np.zeros_like(counts), where=whole > 0)
    return result
