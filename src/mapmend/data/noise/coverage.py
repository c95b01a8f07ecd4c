"""Labels with holes, and labels of another time."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy import ndimage

from mapmend.core.errors import LabelError
from mapmend.core.legend import NODATA
from mapmend.core.settings import settings
from mapmend.data.noise.injecting import Truth, injector


@injector("holes")
@settings
class Holes:
    """Places without a label, in patches.

    Attributes:
        rate: share of the labelled pixels, over all classes together.
        size: of the patches, in pixels, roughly.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    rate: Annotated[float, Field(ge=0, le=1)] = 0.2
    size: Annotated[float, Field(gt=0)] = 16.0

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """Where a random surface is highest."""
        out = truth.label.copy()
        surface = ndimage.gaussian_filter(rng.standard_normal(out.shape), self.size / 2, mode="wrap")
        places = np.flatnonzero(out != NODATA)
        highest = places[np.argsort(-surface.ravel()[places], kind="stable")[: round(self.rate * places.size)]]
        out.ravel()[highest] = NODATA
        return out, None


@injector("outdated")
@settings
class Outdated:
    """The label of an earlier date, on an image of the later one."""

    measures: ClassVar[Literal["lost"]] = "lost"

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """The earlier label where both dates have one.

        Raises:
            LabelError: there is no earlier one.
        """
        if truth.before is None:
            raise LabelError(
                "'outdated' needs the label of an earlier date", fix="give places with labels of two dates"
            )
        return np.where(truth.before == NODATA, truth.label, truth.before), None
