"""What several maps, and maybe a label, say of the same pixels together; and which of it is sure enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mapmend.core.classes import NODATA
from mapmend.core.stored import STEPS

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


def combined(maps: Sequence[tuple[Bytes, Bytes]], given: Bytes | None = None) -> tuple[Bytes, Bytes]:
    """Where all maps (and the given label) name one class, that class, and the mean of the maps' confidences.

    Args:
        maps: of each model, class H×W (indices, 255 = none) and confidence H×W, 0 to 200.
        given: a label H×W, or None.

    Returns:
        Class H×W, 255 where they do not agree, and confidence H×W, 255 there.
    """
    label = maps[0][0].copy()
    for other in [index for index, _ in maps[1:]] + ([given] if given is not None else []):
        label[label != other] = NODATA
    mean = np.rint(np.mean([confidence.astype(np.float64) for _, confidence in maps], axis=0)).astype(np.uint8)
    return label, np.where(label == NODATA, NODATA, mean).astype(np.uint8)


def histogram(label: Bytes, confidence: Bytes, classes: int) -> Ints:
    """Pixels by class and confidence, K×201."""
    known = label != NODATA
    flat = label[known].astype(np.int64) * (STEPS + 1) + confidence[known]
    return np.bincount(flat, minlength=classes * (STEPS + 1)).reshape(classes, STEPS + 1)


def thresholds(counts: Ints, keep: float) -> tuple[int, ...]:
    """Of each class, the highest confidence from which on at least a share `keep` of its pixels lie.

    Zou et al. ("Class-Balanced Self-Training", ECCV 2018) choose pseudo-labels by such a quantile of each class, so
    that classes a model is never sure of are not lost.

    Args:
        counts: K×201, of `histogram`.
        keep: 1 keeps all.
    """
    at_least = counts[:, ::-1].cumsum(1)[:, ::-1]  # of each confidence, the pixels that have it or more
    wanted = keep * counts.sum(1, keepdims=True)
    return tuple(int(np.flatnonzero(row).max()) for row in (at_least >= wanted - 1e-9))


def selected(label: Bytes, confidence: Bytes, least: Sequence[int]) -> tuple[Bytes, Bytes]:
    """The label and its confidence where that is at least its class's threshold, 255 elsewhere."""
    needed = np.full(256, 256, np.int64)
    needed[: len(least)] = least
    chosen = (label != NODATA) & (confidence >= needed[label])
    return np.where(chosen, label, NODATA).astype(np.uint8), np.where(chosen, confidence, NODATA).astype(np.uint8)
