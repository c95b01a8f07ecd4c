"""Two dates mapped by a model of one: both posteriors, and the probability of change that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from mapmend.core.errors import ModelError
from mapmend.core.legend import Legend
from mapmend.core.sensor import Sensor
from mapmend.predict.lattice import Lattice
from mapmend.predict.predictor import Predictor

CHANGE_PRIOR = 0.05


class PairPredictor:
    """Both dates of a place, by a predictor of one date; how likely the class changed follows from both posteriors.

    Args:
        single: maps one date.
        prior: the share of the ground that is expected to have changed.

    Raises:
        ModelError: `prior` is no share, or the legend has but one class.
    """

    def __init__(self, single: Predictor, prior: float = CHANGE_PRIOR) -> None:
        if not 0 < prior < 1:
            raise ModelError(f"a change prior of {prior} is no share of the ground", fix="choose it between 0 and 1")
        if len(single.legend) < 2:
            raise ModelError("a legend of one class has no change", fix="give the legend a second class")
        self._single, self._prior = single, prior
        self.legend: Legend = single.legend
        self.sensors: Sequence[Sensor] = single.sensors
        self.lattice: Lattice = single.lattice
        self.batch = single.batch
        self.identity: Mapping[str, object] = {**single.identity, "change": "posteriors", "change_prior": prior}

    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Class probabilities N×2K×W×W of pixels N×2C×W×W, the earlier date first."""
        half = pixels.shape[1] // 2
        parts = [
            self._single.probabilities(np.ascontiguousarray(pixels[:, part]), np.ascontiguousarray(valid[:, part]))
            for part in (slice(0, half), slice(half, None))
        ]
        return torch.cat(parts, dim=1)

    def change_probability(self, means: torch.Tensor) -> torch.Tensor:
        """How likely the classes of the two dates differ, H×W.

        With p and q the posteriors of the dates, independent given the classes, K classes that are equally frequent, a
        share `prior` of the ground changed and all K - 1 other classes equally likely there, Bayes' rule gives for
        s = Σ p(c) q(c), the probability of agreement under independence,

            P(change) = a (1 - s) / (a (1 - s) + (1 - prior) s)   with a = prior / (K - 1).

        (The joint classification of two dates: Swain 1978; Bruzzone and Serpico 1997.) Two posteriors that hesitate
        between the same classes are therefore no change, where the difference of two maps would see one.

        Args:
            means: 2K×H×W blended class probabilities, the earlier date first.
        """
        classes = len(self.legend)
        same = (means[:classes] * means[classes:]).sum(dim=0).clamp_(0, 1)
        changed = self._prior / (classes - 1) * (1 - same)
        return changed / (changed + (1 - self._prior) * same)


def channels(predictor: Predictor) -> int:
    """Probabilities per pixel: one per class and date."""
    return len(predictor.legend) * (2 if isinstance(predictor, PairPredictor) else 1)
