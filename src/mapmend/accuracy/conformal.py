"""Three-state maps: class, not class, cannot tell, with a promise about the errors in the first two.

Risk control by fixed-sequence testing (Angelopoulos et al. 2021, "Learn then Test"): thresholds are tested from the
safest one on, each at the full risk δ, until the first that does not pass; the last that passed is promised. Whole
blocks of pixels are the draws, because pixels of one field are right or wrong together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.block_tests import betting, bootstrap_t, student_t
from mapmend.core.classes import NODATA
from mapmend.core.errors import MapmendError
from mapmend.core.stored import STEPS
from mapmend.core.three_state import Method, ThreeState

_FEWEST = 10  # blocks with called pixels, below which a threshold is not tested
_DOUBT = 10  # times α: the share of errors in the one imagined block that the approximate tests add

Counts = npt.NDArray[np.int64]


class ThreeStateCounts:
    """Pixels of each calibration block by stored probability and truth; mergeable, its memory only grows with blocks.

    Attributes:
        blocks: id → 201×2 int64, [step, is not the class | is the class].
    """

    def __init__(self) -> None:
        self.blocks: dict[str, Counts] = {}

    def update(self, block: str, steps: npt.NDArray[np.uint8], truth: npt.NDArray[Any]) -> None:
        """Count pixels of a block; a block may come in parts.

        Args:
            block: id of the block: an area that is right or wrong together, several times larger than a field.
            steps: uint8 of any shape, round(200·p), 255 where there is no probability.
            truth: same shape; True or 1 where the pixel is the class, False or 0 where not, 255 where nobody knows.

        Raises:
            MapmendError: other numbers, or shapes that differ.
        """
        truth = np.asarray(truth).astype(np.uint8, copy=False)
        if steps.shape != truth.shape:
            raise MapmendError(f"probabilities of shape {steps.shape} and a truth of {truth.shape}", where=block)
        known = (steps != NODATA) & (truth != NODATA)
        steps, truth = steps[known], truth[known]
        if steps.size and (steps.max() > STEPS or truth.max() > 1):
            raise MapmendError(
                f"probabilities up to step {steps.max()} and truths up to {truth.max()}",
                where=block,
                fix=f"give round({STEPS}·p), and 0 or 1",
            )
        codes = steps.astype(np.intp) * 2 + truth
        counts = np.bincount(codes, minlength=2 * (STEPS + 1)).reshape(-1, 2)
        self.blocks[block] = self.blocks.get(block, 0) + counts

    def __add__(self, other: Self) -> Self:
        """Counts of two parts together; a block in both is one block."""
        found = type(self)()
        found.blocks = dict(self.blocks)
        for block, counts in other.blocks.items():
            found.blocks[block] = found.blocks.get(block, 0) + counts
        return found

    def thresholds(
        self,
        alpha: float = 0.05,
        delta: float = 0.05,
        method: Method = "bootstrap",
        *,
        omission: float | None = None,
        others: int | None = None,
        seed: int = 0,
    ) -> ThreeState:
        """The thresholds that abstain least among those that can be promised.

        Args:
            alpha: largest share of false "class".
            delta: risk that the promise does not hold.
            method: bootstrap (keeps its promise in simulations, from some 40 blocks on; below it mostly abstains), t
                (bolder, and it breaks its promise more often), betting (holds for any distribution; needs hundreds
                of blocks, and never promises anything below 59 at α = δ = .05).
            omission: largest share of false "not class"; None: as alpha.
            others: how many blocks of the same population, beside these, the promise is about; None: very many. The
                few others scatter on their own, which bootstrap and t allow for.
            seed: of the bootstrap's draws and of the order of bets.

        Raises:
            MapmendError: shares not between 0 and 1, another method, no other blocks, or no pixel was counted.
        """
        limits = (alpha, alpha if omission is None else omission)
        if not all(0 < value < 1 for value in (*limits, delta)):
            raise MapmendError(f"risks of {alpha:g}, {limits[1]:g} and {delta:g}", fix="give shares between 0 and 1")
        if method not in get_args(Method):
            raise MapmendError(f"method '{method}'", fix=f"use {', '.join(get_args(Method))}")
        if others is not None and others < 1:
            raise MapmendError(f"a promise about {others} other blocks", fix="give their number, or leave it out")
        counts = np.array([one for one in self.blocks.values() if one.any()], np.int64).reshape(-1, STEPS + 1, 2)
        if not len(counts):
            raise MapmendError("no pixel has both a probability and a truth", fix="give calibration blocks with labels")
        settings = (delta, method, others, seed)
        upper = _lowest(counts, limits[0], *settings)
        mirrored = _lowest(counts[:, ::-1, ::-1], limits[1], *settings)
        lower = None if mirrored is None else STEPS + 1 - mirrored
        if upper is not None and lower is not None and upper < lower:  # any threshold between keeps both promises
            upper = lower = min(max(STEPS // 2, upper), lower)
        total = counts.sum(0)
        called = total[STEPS + 1 if upper is None else upper :].sum(0)
        denied = total[: 0 if lower is None else lower].sum(0)
        pixels = int(total.sum())
        return ThreeState(
            upper,
            lower,
            *limits,
            delta,
            method,
            len(counts),
            pixels,
            abstains=1 - int(called.sum() + denied.sum()) / pixels,
            commission=int(called[0]) / int(called.sum()) if called.any() else None,
            false_omission=int(denied[1]) / int(denied.sum()) if denied.any() else None,
        )


def three_states(
    probabilities: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.integer[Any]],
    blocks: npt.NDArray[np.integer[Any]],
    risks: Sequence[float],
) -> list[list[ThreeState]]:
    """Thresholds of every class at several risks.

    Args:
        probabilities: N×K, which must not come from a fit to the same blocks.
        labels: N class indices.
        blocks: N, which block each pixel lies in.
        risks: the largest shares of errors, α.

    Returns:
        K lists, in the order of `risks`.
    """
    found = []
    steps = np.rint(probabilities * STEPS).astype(np.uint8)
    for k in range(probabilities.shape[1]):
        counts = ThreeStateCounts()
        for block in np.unique(blocks):
            here = blocks == block
            counts.update(str(block), steps[here, k], labels[here] == k)
        found.append([counts.thresholds(risk) for risk in risks])
    return found


def _lowest(counts: Counts, alpha: float, delta: float, method: Method, others: int | None, seed: int) -> int | None:
    """The lowest step whose upper part can be promised; None where not even the first can.

    The sequence starts at the highest step that enough blocks reach: above it there is nothing to test with. Errors
    need not fall as the threshold rises, so it ends at the first step that does not pass.
    """
    upward = counts[:, ::-1].cumsum(1)[:, ::-1]
    false, called = upward[..., 0].astype(np.float64), upward.sum(-1).astype(np.float64)
    reached = (called > 0).sum(0)
    tested = np.flatnonzero((reached >= _FEWEST) & counts.any((0, 2)))  # where no pixel is, the next step is the same
    if not tested.size:
        return None
    excess = (false - alpha * called)[:, tested]
    if method == "betting":
        passed = betting(excess, alpha, float(called[:, 0].max()), delta, seed) <= delta
    else:
        # Few blocks without an error say little of the blocks that were not drawn. One imagined block, of mean size,
        # with ten times the errors allowed, stands for these; its weight fades with the number of blocks.
        doubt = (min(1.0, _DOUBT * alpha) - alpha) * called[:, tested].sum(0) / reached[tested]
        widening = 1.0 if others is None else math.sqrt(1 + len(counts) / others)
        test = student_t(excess, doubt, widening) if method == "t" else bootstrap_t(excess, doubt, widening, seed)
        passed = test <= delta
    failed = np.flatnonzero(~passed)
    first = failed[-1] + 1 if failed.size else 0
    return int(tested[first]) if first < len(tested) else None
