"""How well probabilities fit what is found: expected calibration error, Brier score, negative log-likelihood.

Equal-width bins of the probability, each with its upper edge in it and 0 in the first (Guo et al. 2017). With n pixels
in a bin, a their share that is right and c their mean probability: L1 is Σ n|a − c| / N, L2 is √(Σ n(a − c)² / N), max
is the largest |a − c| of the bins that hold pixels.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.confusion import IGNORE
from mapmend.core.errors import MapmendError

Floats = npt.NDArray[np.float64]

_LEAST = 1e-12  # below it, a probability counts as this in the log-likelihood: 0 would outweigh everything


class CalibrationCounts:
    """Sums over pixels by bin of probability.

    Args:
        classes: K.
        bins: of equal width.

    Attributes:
        top: bins×3, of the largest probability: pixels, sum of probabilities, pixels that are right.
        each: K×bins×3, of each class's probability: pixels, sum of probabilities, pixels of the class.
        brier: sum over pixels and classes of (p − [is the class])².
        nll: sum of −ln p of the true class.
        pixels: how many have a reference.
    """

    def __init__(self, classes: int, bins: int = 15) -> None:
        if classes < 1 or bins < 1:
            raise MapmendError(f"calibration of {classes} classes in {bins} bins", fix="give at least one of each")
        self.classes, self.bins = classes, bins
        self.top: Floats = np.zeros((bins, 3))
        self.each: Floats = np.zeros((classes, bins, 3))
        self.brier = self.nll = 0.0
        self.pixels = 0

    def update(self, probabilities: npt.NDArray[np.floating[Any]], reference: npt.NDArray[np.uint8]) -> None:
        """Count one window.

        Args:
            probabilities: K×…, over the classes they sum to one.
            reference: …, class indices, 255 where there is none.

        Raises:
            ValueError: shapes differ.
            MapmendError: a class outside, or what is no probability, where there is a reference; nothing is counted.
        """
        if probabilities.shape != (self.classes, *reference.shape):
            raise ValueError(f"probabilities {probabilities.shape} do not fit the reference {reference.shape}")
        known = reference != IGNORE
        true, p = reference[known].astype(np.intp), probabilities[:, known].astype(np.float64)
        if np.any(true >= self.classes):
            raise MapmendError("a class outside the legend", fix=f"give class indices below {self.classes}")
        if not np.all((p >= 0) & (p <= 1)) or not np.allclose(p.sum(0), 1, atol=0.02):  # 8 bits round by 1/400 a class
            raise MapmendError("values that are no probabilities", fix="give 0 to 1, that sum to one over the classes")
        is_class = true == np.arange(self.classes)[:, None]
        best = p.argmax(0)
        self.top += self._binned(p.max(0), best == true)
        for index in range(self.classes):
            self.each[index] += self._binned(p[index], is_class[index])
        self.brier += float(((p - is_class) ** 2).sum())
        self.nll -= float(np.log(np.maximum(p[true, np.arange(true.size)], _LEAST)).sum())
        self.pixels += true.size

    def __add__(self, other: Self) -> Self:
        """Two disjoint parts together.

        Raises:
            MapmendError: other classes or bins.
        """
        if (self.classes, self.bins) != (other.classes, other.bins):
            raise MapmendError("calibrations of different classes or bins cannot be added", fix="count both alike")
        total = type(self)(self.classes, self.bins)
        for name in ("top", "each", "brier", "nll", "pixels"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def _binned(self, p: Floats, right: npt.NDArray[np.bool_]) -> Floats:
        bins = np.clip(np.ceil(p * self.bins).astype(np.intp) - 1, 0, self.bins - 1)
        sums = [np.bincount(bins, weights, self.bins) for weights in (None, p, right)]
        return np.stack(sums, axis=1).astype(np.float64)


@dataclass(frozen=True)
class CalibrationMetrics:
    """Figures of calibration; None without a reference.

    Attributes:
        pixels: how many have a reference.
        bins: of equal width.
        ece_l1: of the largest probability; what is mostly called ECE.
        ece_l2: the same, root of the mean square.
        ece_max: the worst bin, also called MCE.
        classwise_ece_l1: mean over the classes of the L1 of each class's probability.
        brier: mean over pixels of the sum over classes; 0 to 2.
        nll: mean −ln of the true class's probability.
        classes: L1 of each class's probability.
    """

    pixels: int
    bins: int
    ece_l1: float | None
    ece_l2: float | None
    ece_max: float | None
    classwise_ece_l1: float | None
    brier: float | None
    nll: float | None
    classes: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "classes": list(self.classes)}


def calibration_metrics(counts: CalibrationCounts) -> CalibrationMetrics:
    """The figures of calibration from its sums."""
    if not counts.pixels:
        return CalibrationMetrics(0, counts.bins, None, None, None, None, None, None, ())
    weights, gaps = _gaps(counts.top)
    by_class = [_gaps(table) for table in counts.each]
    classes = tuple(float((share * gap).sum()) for share, gap in by_class)
    return CalibrationMetrics(
        pixels=counts.pixels,
        bins=counts.bins,
        ece_l1=float((weights * gaps).sum()),
        ece_l2=math.sqrt(float((weights * gaps**2).sum())),
        ece_max=float(gaps.max()),
        classwise_ece_l1=math.fsum(classes) / len(classes),
        brier=counts.brier / counts.pixels,
        nll=counts.nll / counts.pixels,
        classes=classes,
    )


def _gaps(table: Floats) -> tuple[Floats, Floats]:
    """Share of the pixels in each bin that holds any, and its |right − probability|."""
    pixels, confidence, right = table[table[:, 0] > 0].T
    return pixels / pixels.sum(), np.abs(right - confidence) / pixels
