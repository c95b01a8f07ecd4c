"""A label mended without a review: what is more likely wrong than right carries the proposed class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mapmend.audit.examining import Examined
from mapmend.audit.held_out import Bytes
from mapmend.audit.measuring import View, moved_back
from mapmend.change.patches import Ints, StripPatches
from mapmend.core.legend import NODATA

KEPT, LEFT, REPLACED = -1, 0, 1
"""What becomes of a part: its label is right; nothing is known against it; its label is wrong."""

_LIKELY = 0.5

Choices = npt.NDArray[np.int8]


def choices_of(found: Examined) -> Choices:
    """What becomes of each part, by how likely its label is wrong."""
    return np.where(found.chances >= _LIKELY, REPLACED, LEFT).astype(np.int8)


def mended(view: View, patches: StripPatches, rows: Ints, choices: Choices, shift: tuple[int, int]) -> Bytes:
    """The mended label of a window, legend indices.

    A label that certainly lies off is moved back first, and stays as it is where nothing comes to lie. Parts whose
    label is wrong get the proposed class, those whose label is right keep it.

    Args:
        view: label and probabilities, with a halo as wide as the shift.
        patches: the window's parts, see `parts_of`.
        rows: for each part of the window its row in `choices`, -1 for parts that are too small to be judged.
        choices: what becomes of each part.
        shift: (down, right) pixels by which the label lies off.
    """
    own = view.label[view.own]
    rows_at, cols_at = (np.arange(size) + view.halo for size in own.shape)
    back = moved_back(view.label, shift, (rows_at[:, None], cols_at[None]))
    result = np.where(back == NODATA, own, back)
    choice = np.append(choices, np.int8(LEFT))[rows][patches.label]
    flat, proposed = result.reshape(-1), view.probabilities[:, *view.own].argmax(axis=0).reshape(-1)
    for meaning, values in ((REPLACED, proposed), (KEPT, own.reshape(-1))):
        at = patches.at[choice == meaning]
        flat[at] = values[at]
    return result
