"""Several models as one: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from mapmend.core.errors import ModelError
from mapmend.predict.combined import Combined
from mapmend.predict.entropy import normalised_entropy
from mapmend.predict.pair import dates_of
from mapmend.predict.predictor import Predictor


class Ensemble(Combined):
    """The mean of the members' probabilities, each of equal weight.

    Memory: beside the members, the probabilities of two batches of windows, however many members and however large
    the scene.

    Args:
        members: the predictors, at least two.
        disagreement: say as one channel more how much they disagree.

    Raises:
        ModelError: they differ in legend, sensors or windows.
    """

    kind = "mean"

    def __init__(self, members: Sequence[Predictor], *, disagreement: bool = False) -> None:
        check_members(members)
        super().__init__(members, {"disagreement": True} if disagreement else {})
        self.disagrees = disagreement

    def over(self, members: Sequence[Predictor]) -> Ensemble:
        """As in `Combined`."""
        return Ensemble(members, disagreement=self.disagrees)

    @torch.inference_mode()
    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """The mean; shapes as in `Predictor`.

        With `disagreement`, one channel more:

            H(mean) − mean H

        with H the entropy of the classes (of a pair, those of the later date) ÷ that of equal ones: what the members'
        mean is unsure of less what each of them is unsure of, 0 where all say the same (mutual information of class
        and member: Houlsby et al. 2011; Lakshminarayanan et al. 2017).

        Raises:
            ModelError: of a pair of dates, one member has learned the change and another has not.
        """
        total = self.members[0].probabilities(pixels, valid)
        unsure = normalised_entropy(total[:, self._later], 1) if self.disagrees else None
        for member in self.members[1:]:
            more = member.probabilities(pixels, valid)
            if more.shape != total.shape:
                raise ModelError(
                    "some of the models have learned change and others have not", fix="combine models of one method"
                )
            total.add_(more)
            if unsure is not None:
                unsure.add_(normalised_entropy(more[:, self._later], 1))
        total.div_(len(self.members))
        if unsure is None:
            return total
        apart = normalised_entropy(total[:, self._later], 1).sub_(unsure.div_(len(self.members))).clamp_(min=0)
        return torch.cat([total, apart[:, None]], dim=1)

    @property
    def _later(self) -> slice:
        """Channels of the classes, of a pair those of the later date."""
        start = len(self.legend) * (dates_of(self.members[0]) - 1)
        return slice(start, start + len(self.legend))


def check_members(members: Sequence[Predictor]) -> None:
    """Refuse models that do not speak of the same classes, images and windows.

    Raises:
        ModelError: they do not, or there are fewer than two.
    """
    if len(members) < 2:
        raise ModelError("one model is no ensemble", fix="give at least two, or the model alone")
    first = members[0]
    for number, member in enumerate(members[1:], start=2):
        where = f"model {number}"
        if (member.legend.ids, member.legend.names) != (first.legend.ids, first.legend.names):
            names = "; ".join(", ".join(one.legend.names) for one in (first, member))
            raise ModelError(
                f"its legend '{member.legend.name}' is not the first model's '{first.legend.name}' ({names})",
                where=where,
                fix="combine models of one legend",
            )
        ours, theirs = ([card.band_names for card in one.sensors] for one in (first, member))
        meant = all(a.differs_in(b) is None for a, b in zip(first.sensors, member.sensors, strict=False))
        if ours != theirs or not meant:
            raise ModelError(
                "it reads other images than the first model", where=where, fix="combine models of the same sensors"
            )
        if member.lattice != first.lattice:
            raise ModelError(
                f"its windows of {member.lattice.size} pixels (overlap {member.lattice.overlap}) are not the first "
                f"model's {first.lattice.size} ({first.lattice.overlap})",
                where=where,
                fix="give all of them one window and overlap",
            )
