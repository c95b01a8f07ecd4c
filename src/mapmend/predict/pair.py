"""Two dates mapped together: by a model of one, by one that has learned change too, or by one that knows change alone.

Of a model of one date, the probability of change follows from both posteriors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mapmend.core.errors import ModelError
from mapmend.core.legend import Legend
from mapmend.core.sensor import Sensor
from mapmend.predict.combined import Combined
from mapmend.predict.lattice import Lattice
from mapmend.predict.predictor import Predictor, TorchPredictor
from mapmend.predict.scene import Scene

if TYPE_CHECKING:  # it imports timm: seconds that other predictors do not need
    from mapmend.nn.pair_network import PairNetwork


class PairPredictor:
    """Both dates of a place, by a predictor of one date; how likely the class changed follows from both posteriors.

    Args:
        single: maps one date.

    Attributes:
        channels: of `probabilities`.

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
        self.channels = 2 * len(single.legend)
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


class LearnedPairPredictor(PairPredictor):
    """Both dates of a place, and the change between them, by a network that learned both.

    Args:
        single: maps one date, with a network of pairs.
    """

    def __init__(self, single: TorchPredictor) -> None:
        super().__init__(single)
        self._torch, self._network = single, cast("PairNetwork", single.network)
        self.channels = 2 * len(single.legend) + 1
        self.identity = {**single.identity, "change": "learned"}

    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Class probabilities of both dates, the earlier first, then that of change: N×(2K+1)×W×W."""

        def say(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            output = self._network.pair(_by_date(image), _by_date(mask))
            assert output.classes is not None
            return torch.cat([output.classes.softmax(2).flatten(1, 2), output.change.sigmoid()[:, None]], 1)

        return self._torch.computed(pixels, valid, say)

    def change_probability(self, means: torch.Tensor) -> torch.Tensor:
        """How likely the place changed, H×W, as the network says it; `means` (2K+1)×H×W."""
        return means[-1].clone()


class ChangePredictor(TorchPredictor):
    """Change alone: both dates are stacked as the images of one, and the map is of unchanged and changed.

    Args and Raises as in `TorchPredictor`; the sensors are those of one date.
    """

    def __init__(
        self, network: nn.Module, legend: Legend, sensors: Sequence[Sensor], *others: Any, **settings: Any
    ) -> None:
        super().__init__(network, legend, (*sensors, *sensors), *others, **settings)

    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Of unchanged and changed N×2×W×W; pixels N×2C×W×W, the earlier date first."""

        def say(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(_by_date(image), _by_date(mask))
            return logits.float().softmax(1)

        return self.computed(pixels, valid, say)


def fitted(predictor: Predictor, scene: Scene) -> tuple[Predictor, Scene]:
    """The predictor and the scene as they go together: of one date, of two, or of two that are stacked as one.

    Raises:
        ModelError: the scene has one date, and the model knows nothing but change.
    """
    if isinstance(predictor, Combined):
        members = [fitted(member, scene) for member in predictor.members]
        scenes = [of_one for _, of_one in members]
        if len({of_one.partial for of_one in scenes}) > 1:
            raise ModelError(
                "only some of the models have learned to do without an image",
                where=f"scene '{scene.name}'",
                fix="combine models with `modality_dropout`, or models without",
            )
        return predictor.over([member for member, _ in members]), scenes[0]
    if isinstance(predictor, ChangePredictor):
        if scene.dates < 2:
            told = "the model knows the change between two dates, and one is to be mapped"
            raise ModelError(told, where=f"scene '{scene.name}'", fix="map a pair: `dates: pair`, or --before")
        return predictor, replace(scene, sources=(*scene.before, *scene.sources), before=())
    if scene.dates < 2 or isinstance(predictor, PairPredictor):
        learned = isinstance(predictor, TorchPredictor) and takes_any(predictor.network)
        partial = scene.dates < 2 and len(predictor.sensors) > 1 and learned
        return predictor, replace(scene, partial=partial)
    if isinstance(predictor, TorchPredictor) and knows_pairs(predictor.network):
        return LearnedPairPredictor(predictor), scene
    return PairPredictor(predictor), scene


def knows_pairs(network: nn.Module) -> bool:
    """Whether a network takes both dates at once."""
    return getattr(getattr(network, "spec", None), "pair", "") != ""


def takes_any(network: nn.Module) -> bool:
    """Whether a network has learned to do without one of its images."""
    return bool(getattr(getattr(network, "spec", None), "partial", False))


def _by_date(maps: torch.Tensor) -> torch.Tensor:
    """N×2C×W×W → N×2×C×W×W."""
    return maps.reshape(len(maps), 2, -1, *maps.shape[2:])


def dates_of(predictor: Predictor) -> int:
    """How many dates a predictor gives classes of: 1 or 2."""
    if isinstance(predictor, Combined):
        return dates_of(predictor.members[0])
    return 2 if isinstance(predictor, PairPredictor) else 1


def disagrees(predictor: Predictor) -> bool:
    """Whether the last channel is how much the members of an ensemble disagree."""
    return isinstance(predictor, Combined) and predictor.disagrees


def channels(predictor: Predictor) -> int:
    """Numbers per pixel: a probability per class and date, one of a change that was learned, and a disagreement."""
    if isinstance(predictor, Combined):
        inner = predictor.members[0]
        return channels(inner) + (predictor.disagrees and not disagrees(inner))
    return predictor.channels if isinstance(predictor, PairPredictor) else len(predictor.legend)


def change_of(predictor: Predictor) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What makes the change probability H×W of blended means C×H×W; None for a predictor of one map."""
    if isinstance(predictor, Combined):
        return change_of(predictor.members[0])
    return predictor.change_probability if isinstance(predictor, PairPredictor) else None
