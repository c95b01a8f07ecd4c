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


class PairPredictor:
    """Both dates of a place, by a predictor of one date; how likely the class changed follows from both posteriors.

    Args:
        single: maps one date.

    Raises:
        ModelError: the legend has but one class.
    """

    def __init__(self, single: Predictor) -> None:
        if len(single.legend) < 2:
            raise ModelError("a legend of one class has no change", fix="give the legend a second class")
        self._single = single
        self.legend: Legend = single.legend
        self.sensors: Sequence[Sensor] = single.sensors
        self.lattice: Lattice = single.lattice
        self.batch = single.batch
        self.calibration = single.calibration
        self.identity: Mapping[str, object] = {**single.identity, "change": "coupled posteriors"}

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

        With p and q the posteriors of the dates,

            P(change) = 1 - Σ min(p(c), q(c)) = ½ Σ |p(c) - q(c)|,

        the smallest probability that fits both posteriors (their maximal coupling; the total variation distance). One
        model's doubts at one place are not independent: it hesitates between grass and soil at both dates, because its
        labels confused them. Shared doubt is therefore no change here; under independence, 1 - Σ p(c) q(c), it would
        be one. A distance of posteriors decides in change vector analysis in posterior probability space too (Chen et
        al. 2011, which takes the Euclidean one).

        Args:
            means: 2K×H×W blended class probabilities, the earlier date first.
        """
        classes = len(self.legend)
        return 1 - torch.minimum(means[:classes], means[classes:]).sum(dim=0)


def channels(predictor: Predictor) -> int:
    """Probabilities per pixel: one per class and date."""
    return len(predictor.legend) * (2 if isinstance(predictor, PairPredictor) else 1)
