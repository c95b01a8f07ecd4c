"""Classes that a map shall not show, such as a background that is no land cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from mapmend.core.errors import LegendError
from mapmend.predict.combined import Combined
from mapmend.predict.pair import dates_of
from mapmend.predict.predictor import Predictor


class Suppressed(Combined):
    """Probabilities of the other classes, given that it is none of those that are suppressed.

    Args:
        member: whose probabilities they are made of.
        names: names or ids of the classes that get none.

    Raises:
        LegendError: there is no such class, or fewer than two are left.
    """

    kind = "suppressed"

    def __init__(self, member: Predictor, names: Sequence[str]) -> None:
        legend = member.legend
        self._names = tuple(names)
        self._gone = sorted({legend.index_of(name) for name in names})
        if len(legend) - len(self._gone) < 2:
            raise LegendError("fewer than two classes are left for the map", fix="suppress fewer classes")
        super().__init__([member], {"suppressed": [legend.names[index] for index in self._gone]})

    def over(self, members: Sequence[Predictor]) -> Suppressed:
        """As in `Combined`."""
        return Suppressed(members[0], self._names)

    @torch.inference_mode()
    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """p_k / Σ p over the classes that are left, all of them alike where nothing is; shapes as in `Predictor`.

        Of a pair this is so at each date; the change between them is left as it is, and so is how much the members of
        an ensemble disagree.
        """
        probabilities, classes = self.members[0].probabilities(pixels, valid), len(self.legend)
        for start in range(0, dates_of(self) * classes, classes):
            of_date = probabilities[:, start : start + classes]
            of_date[:, self._gone] = 0
            total = of_date.sum(1, keepdim=True)
            even = torch.full((1, classes, 1, 1), 1 / (classes - len(self._gone)), device=of_date.device)
            even[:, self._gone] = 0
            smallest = torch.finfo(of_date.dtype).tiny
            of_date.copy_(torch.where(total > smallest, of_date / total.clamp(min=smallest), even))
        return probabilities
