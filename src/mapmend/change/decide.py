"""What two dates' classes, their confidences and the change probability say about each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.core.classes import NODATA
from mapmend.core.stored import STEPS

Bytes = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Decision:
    """Per pixel: what it was and became if it changed, and what it is at both dates if not.

    Attributes:
        before: class of the earlier date.
        after: class of the later date.
        settled: class of both dates where nothing changed; NODATA where not valid.
        valid: whether both dates are known.
        changed: whether it changed, before small patches are dropped.
    """

    before: Bytes
    after: Bytes
    settled: Bytes
    valid: Bool
    changed: Bool

    def classes(self, changed: Bool) -> tuple[Bytes, Bytes]:
        """The class of both dates where these pixels changed and no others; NODATA where not valid."""
        return np.where(changed, self.before, self.settled), np.where(changed, self.after, self.settled)


def decide(
    before: Bytes,
    after: Bytes,
    confidences: tuple[Bytes, Bytes] | None = None,
    probability: Bytes | None = None,
    threshold: float = 0.5,
) -> Decision:
    """Decide about each pixel, all arrays H×W.

    A pixel changed where its classes differ and the change probability reaches the threshold; without a probability,
    where its classes differ. One whose classes differ and that did not change has one class at both dates: that of
    the more confident date, and of the earlier one where they are equally sure or no confidences are given (the map
    stands until there is evidence). With two candidates a and b this is the joint maximum argmax_c p1(c)·p2(c) of
    classes that exclude each other: p1(a)·(1 - p2(b)) > p2(b)·(1 - p1(a)) if and only if p1(a) > p2(b).

    A pixel of which either date, or the change probability, is missing is not valid: it is missing in all results, so
    that the from-to table's margins are the two maps.

    Args:
        before: class of the earlier date, any code; NODATA where there is none.
        after: class of the later date.
        confidences: of both dates' classes, round(200·p); NODATA counts as 0.
        probability: of change, round(200·p).
        threshold: of the probability, 0 to 1.
    """
    valid = (before != NODATA) & (after != NODATA)
    if probability is not None:
        valid &= probability != NODATA
    changed = valid & (before != after)
    settled = np.where(valid, before, np.uint8(NODATA))
    differing = np.flatnonzero(changed)  # few pixels of most pairs; the rest needs no more thought
    if confidences is not None:
        first, second = (_known(steps.ravel()[differing]) for steps in confidences)
        surer = differing[second > first]
        np.put(settled, surer, after.ravel()[surer])
    if probability is not None:
        reached = np.arange(256) / STEPS >= threshold
        np.put(changed, differing, reached[probability.ravel()[differing]])
    return Decision(before, after, settled, valid, changed)


def certainty(confidences: tuple[Bytes, Bytes] | None, probability: Bytes | None) -> Bytes | None:
    """How sure a change is, round(200·p): its probability, else the less sure date's confidence, else unknown."""
    if probability is not None:
        return probability
    if confidences is None:
        return None
    return np.minimum(_known(confidences[0]), _known(confidences[1]))


def _known(steps: Bytes) -> Bytes:
    return np.where(steps == NODATA, np.uint8(0), steps)
