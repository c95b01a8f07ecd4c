"""How well outlines agree: Boundary IoU (Cheng et al. 2021) and the BF score (Csurka et al. 2013).

The ring of a class is its pixels less their 3×3 erosion, d times over, with nothing outside of the image: those that
have a pixel of another kind at most d rows and d columns away. A pixel without a reference is of no class in both maps.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.spatial import cKDTree

from mapmend.accuracy.confusion import IGNORE

Classes = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

RING_SHARE = 0.02  # of the image's diagonal: the width of Boundary IoU
TOLERANCE_SHARE = 0.0075  # of the image's diagonal: how far outlines of the BF score may lie apart


def ring_width(height: int, width: int) -> int:
    """The d of Boundary IoU that belongs to an image: 2 % of its diagonal, at least 1 pixel."""
    return max(1, round(RING_SHARE * math.hypot(height, width)))


def bf_tolerance(height: int, width: int) -> float:
    """How many pixels outlines of the BF score may lie apart: 0.75 % of the image's diagonal."""
    return TOLERANCE_SHARE * math.hypot(height, width)


def ring(classes: Classes, width: int) -> Bool:
    """Which pixels H×W of a class map lie within `width` of another class, of no class (255), or of the outside."""
    side = 2 * width + 1
    lowest = minimum_filter(classes, side, mode="constant", cval=IGNORE)
    highest = maximum_filter(classes, side, mode="constant", cval=IGNORE)
    found: Bool = (lowest != highest) & (classes != IGNORE)
    return found


def boundary_iou(reference: Bool, prediction: Bool, width: int | None = None) -> float | None:
    """Boundary IoU of two masks H×W; None where both are empty.

    Args:
        reference: the true mask.
        prediction: the mask to be judged.
        width: d in pixels; None: 2 % of the diagonal.
    """
    counts = BoundaryCounts(2)
    height, across = reference.shape
    masks = reference.astype(np.uint8), prediction.astype(np.uint8)
    counts.update(*masks, width=width or ring_width(height, across), tolerance=1)
    return counts.boundary_ious()[1]


def bf_score(reference: Bool, prediction: Bool, tolerance: float | None = None) -> float | None:
    """BF score of two masks H×W; None where both are empty.

    Args:
        reference: the true mask.
        prediction: the mask to be judged.
        tolerance: in pixels; None: 0.75 % of the diagonal.
    """
    counts = BoundaryCounts(2)
    masks = reference.astype(np.uint8), prediction.astype(np.uint8)
    counts.update(*masks, width=1, tolerance=bf_tolerance(*reference.shape) if tolerance is None else tolerance)
    return counts.bf_scores()[1]


class BoundaryCounts:
    """Counts of pixels in the rings of each class.

    Args:
        classes: K.

    Attributes:
        shared: K, pixels in the rings of both maps.
        either: K, pixels in the ring of either.
        outline_reference: K, outline pixels of the reference, and how many of them have the prediction's near: K×2.
        outline_prediction: K×2, the same of the prediction.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.shared: Counts = np.zeros(classes, np.int64)
        self.either: Counts = np.zeros(classes, np.int64)
        self.outline_reference: Counts = np.zeros((classes, 2), np.int64)
        self.outline_prediction: Counts = np.zeros((classes, 2), np.int64)

    def update(
        self,
        reference: Classes,
        prediction: Classes,
        *,
        width: int,
        tolerance: float,
        core: tuple[slice, slice] = (slice(None), slice(None)),
    ) -> None:
        """Count an image, or the core of a window that reaches beyond it by `reach(width, tolerance)` pixels.

        Args:
            reference: class indices H×W, 255 where there is none and outside of the image.
            prediction: the same of the prediction.
            width: d of Boundary IoU, in pixels.
            tolerance: of the BF score, in pixels.
            core: rows and columns to be counted.
        """
        prediction = np.where(reference == IGNORE, np.uint8(IGNORE), prediction)
        inside = np.zeros(reference.shape, bool)
        inside[core] = True
        rings = ring(reference, width) & inside, ring(prediction, width) & inside
        own = self._by_class(reference[rings[0]]) + self._by_class(prediction[rings[1]])
        both = self._by_class(reference[rings[0] & rings[1] & (reference == prediction)])
        self.shared += both
        self.either += own - both
        outlines = ring(reference, 1), ring(prediction, 1)
        held = set(np.unique(reference[outlines[0]])) | set(np.unique(prediction[outlines[1]]))
        for index in sorted(held):
            true, made = outlines[0] & (reference == index), outlines[1] & (prediction == index)
            self.outline_reference[index] += _near(true & inside, made, tolerance)
            self.outline_prediction[index] += _near(made & inside, true, tolerance)

    def __add__(self, other: Self) -> Self:
        """Counts of two disjoint parts together."""
        total = type(self)(self.classes)
        for name in ("shared", "either", "outline_reference", "outline_prediction"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def boundary_ious(self) -> list[float | None]:
        """Boundary IoU of each class; None where no map has it."""
        return [
            shared / either if either else None
            for shared, either in zip(self.shared.tolist(), self.either.tolist(), strict=True)
        ]

    def bf_scores(self) -> list[float | None]:
        """BF score of each class; None where no map has it, 0 where one has."""
        scores: list[float | None] = []
        for (true, found), (made, right) in zip(
            self.outline_reference.tolist(), self.outline_prediction.tolist(), strict=True
        ):
            precision, recall = right / made if made else 0.0, found / true if true else 0.0
            harmonic = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
            scores.append(harmonic if true or made else None)
        return scores

    def _by_class(self, values: Classes) -> Counts:
        return np.bincount(values, minlength=self.classes).astype(np.int64)


def reach(width: int, tolerance: float) -> int:
    """How many pixels beyond its core a window must hold, so that its counts are those of the whole image."""
    return max(width, math.floor(tolerance) + 1)


def _near(points: Bool, others: Bool, tolerance: float) -> tuple[int, int]:
    """How many points there are, and how many have one of the others within the tolerance."""
    places, targets = np.argwhere(points), np.argwhere(others)
    if not len(places) or not len(targets):
        return len(places), 0
    distances, _ = cKDTree(targets).query(places, distance_upper_bound=tolerance + 1e-9)
    return len(places), int(np.count_nonzero(np.isfinite(distances)))
