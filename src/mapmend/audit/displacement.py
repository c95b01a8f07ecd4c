"""How far a label lies beside its image, told by the image itself or by what held-out models see in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mapmend.audit.held_out import Bytes
from mapmend.audit.views import SiteViews
from mapmend.core.grid import Window
from mapmend.core.legend import NODATA
from mapmend.data.label_shift import Shift, TileSums, conclude, tile_sums

_RADIUS = 16  # pixels


def displacement(tiles: Sequence[tuple[SiteViews, Window]]) -> Shift:
    """The shift of a label, from images and from held-out probabilities, whichever explains more if it is certain.

    Training turns and mirrors its windows at random: a model cannot learn on which side of a thing its label lies, and
    proposes it in the middle. So the probabilities can stand for the image in the correlation ratio, of which they
    leave less unexplained.

    Raises:
        MapmendError: pixels cannot be read.
    """
    of_image: list[TileSums] = []
    of_model: list[TileSums] = []
    for site, window in tiles:
        view = site.view(window)
        known = np.asarray(view.probabilities[0] != NODATA)
        pixels, valid = site.reader.image(window)
        of_image += tile_sums(pixels, np.asarray(valid.all(axis=0)), view.label, _RADIUS)
        of_model += tile_sums(_informative(view.probabilities, known), known, view.label, _RADIUS)
    found = [conclude(of_model), conclude(of_image)]
    return max(found, key=lambda shift: (shift.certain, shift.explained_at_best))


def _informative(probabilities: Bytes, known: np.ndarray) -> np.ndarray:
    """The classes whose probability varies: the others say nothing, and take their share of the time."""
    varies = np.array([float(np.ptp(one[known])) if known.any() else 0.0 for one in probabilities])
    return probabilities[varies > 0] if (varies > 0).any() else probabilities[:1]
