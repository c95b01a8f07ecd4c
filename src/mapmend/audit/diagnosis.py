"""What kind of noise a label has, and the shares on which that rests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.audit.lattice import Blockiness
from mapmend.audit.odds import KindOdds
from mapmend.audit.reasons import BOUNDARY, OUTDATED, REASONS
from mapmend.audit.table import Parts
from mapmend.change.patches import Floats
from mapmend.data.label_shift import Shift

NONE, SWAP, MISSED, COARSE, SHIFTED = "none found", "swap", "missing", "coarse", "shifted"

_LEAST = 0.01  # of the labelled pixels that must be wrong for a kind of noise to be named
_KINDS = {OUTDATED: "outdated", BOUNDARY: "boundary"}


@dataclass(frozen=True)
class Diagnosis:
    """The kinds of noise of a label.

    Attributes:
        kind: the main one.
        kinds: all that were found, the main one first.
        wrong: expected share of the labelled pixels that are wrong, boundaries included.
        shares: by reason, of the labelled pixels: expected to be wrong for it.
        planted: by kind of planted errors, the share of suspicious objects that are like them.
        cell: side of the label's large pixels in pixels of the image; 0 where it has none.
        cell_phase: 0 to 1, how much of its boundaries lies on their lattice.
        shift: (right, down) pixels by which the label certainly lies off; None where it does not.
        shift_metres: length of that on the ground; None where it is unknown.
        explained: shares of the image's variance that the label explains as it lies, and moved back.
    """

    kind: str
    kinds: tuple[str, ...]
    wrong: float
    shares: Mapping[str, float]
    planted: Mapping[str, float]
    cell: float
    cell_phase: float
    shift: tuple[float, float] | None
    shift_metres: float | None
    explained: tuple[float, float]


def diagnose(
    parts: Parts,
    fitted: Sequence[KindOdds],
    chances: Floats,
    reasons: npt.NDArray[np.object_],
    labelled: int,
    blockiness: Blockiness,
    shift: Shift,
    pixel: tuple[float, float] | None,
) -> Diagnosis:
    """Name the noise.

    Large pixels and a shift are seen in the label itself, and explain the errors along boundaries that they make. Wrong
    and missing objects are named where suspicious parts are like planted ones. Outdated and boundary errors are named
    where they are expected to make a hundredth of the labelled pixels wrong.

    Args:
        parts: whose classes differ.
        fitted: kinds of errors that were planted, and their shares of these parts.
        chances: P(wrong) of each.
        reasons: of each.
        labelled: pixels that were judged.
        blockiness: of the label.
        shift: of the label.
        pixel: width and height of a pixel in metres; None where unknown.
    """
    wrong = chances * parts.pixels / max(labelled, 1)
    shares = {reason: float(wrong[reasons == reason].sum()) for reason in REASONS}
    kinds = [COARSE] if blockiness.coarse else []
    if shift.certain:
        kinds.append(SHIFTED)
    told = {kind.name: kind.share if kind.present else 0.0 for kind in fitted}
    kinds += [name for name in sorted((SWAP, MISSED), key=lambda name: -told.get(name, 0.0)) if told.get(name, 0.0) > 0]
    kinds += [_KINDS[reason] for reason in _KINDS if shares[reason] >= _LEAST]
    metres = float(np.hypot(shift.dx * pixel[0], shift.dy * pixel[1])) if shift.certain and pixel else None
    return Diagnosis(
        kinds[0] if kinds else NONE,
        tuple(kinds),
        float(wrong.sum()),
        shares,
        {kind.name: round(kind.share, 4) for kind in fitted},
        blockiness.cell,
        round(blockiness.phase, 3),
        (round(shift.dx, 2), round(shift.dy, 2)) if shift.certain else None,
        round(metres, 3) if metres is not None else None,
        (round(shift.explained_at_zero, 4), round(shift.explained_at_best, 4)),
    )
