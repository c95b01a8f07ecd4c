"""Why a part of a label is doubted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mapmend.audit.table import Parts
from mapmend.change.patches import Floats

IMAGE, OUTDATED, SHIFTED, MISSING, BOUNDARY = (
    "image disagrees",
    "outdated",
    "shifted",
    "missing",
    "boundary only",
)
REASONS = (IMAGE, OUTDATED, SHIFTED, MISSING, BOUNDARY)

_MOST = 0.5  # "most of its pixels"
_SAME = 0.8  # of an outline across which the label does not change: it lies inside one object of the label
_ALONE = 0.05  # of an outline may touch objects of the proposed class
_THIN = 2.0  # pixels that a thin part is deep, at most
_COMPACT = 0.15  # of 4π·pixels / outline²: 1 for a disc, π/4 for a square, .1 for a strip 30 times as long as wide


def reasons_of(parts: Parts, shifted: bool) -> npt.NDArray[np.object_]:
    """A reason for each part whose classes differ.

    The first that holds: `outdated`, where there is an earlier image and the model sees the label in most of it there;
    `shifted`, where the label certainly lies off and, moved back, gives the proposed class to most of it;
    `boundary only`, at most two pixels deep and at the side of an object of the proposed class; `missing`, a compact
    part inside one object of the label that touches no object of the proposed class; else `image disagrees`.

    Args:
        parts: to be explained.
        shifted: whether the label lies off by the shift for which the parts were measured.
    """
    known = parts.share("earlier_known", "earlier_known") > 0
    outdated = known & (parts.share("earlier_agrees", "earlier_known") > _MOST)
    moved = shifted & (parts.mean("moved_back") > _MOST)
    touching = parts.share("touching", "outline")
    boundary = (parts.depth <= _THIN) & (touching > _ALONE)
    inside = 1 - parts.share("outline_label", "outline") >= _SAME
    missing = inside & (touching <= _ALONE) & (compactness(parts) >= _COMPACT)
    return np.select(
        [outdated, moved, boundary, missing], [OUTDATED, SHIFTED, BOUNDARY, MISSING], default=IMAGE
    ).astype(object)


def compactness(parts: Parts) -> Floats:
    """4π · pixels / outline², the outline in pixel sides."""
    outline = parts.mean("outline") * parts.pixels
    result: Floats = 4 * np.pi * parts.pixels / np.maximum(outline, 1) ** 2
    return result
