"""Class shares of places that a model was not trained on, and maps that take them into account (label shift).

A model learns how common each class is. Where classes are more or less common and look as they did, its posteriors
p(y | x) are wrong by the ratio of the shares, which are found without labels (Saerens, Latinne and Decaestecker 2002):

    r(y | x) ∝ p(y | x) · π(y) / π₀(y),   π(y) ← mean of r(y | x) over the places.

This needs posteriors that are calibrated (Alexandari, Kundaje and Shrikumar 2020), and fails where a place differs in
more than its shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from mapmend.core.calibration import Calibration, with_class_weights
from mapmend.core.errors import ModelError
from mapmend.core.grid import windows
from mapmend.core.thinning import evenly
from mapmend.predict.combined import Combined
from mapmend.predict.pair import fitted
from mapmend.predict.predictor import Predictor
from mapmend.predict.probabilities import blended_probabilities
from mapmend.predict.scene import Scene

Floats = npt.NDArray[np.float64]

_WINDOWS = 64  # that are looked at, spread over all places
_PIXELS = 4096  # of each
_ROUNDS = 200
_ENOUGH = 1e-6
_LEAST = 1e-6  # share of a class: none is impossible


class Recalibrated(Combined):
    """A predictor with another calibration than its own.

    Args:
        member: whose probabilities they are.
        calibration: of its blended probabilities.
    """

    kind = "calibrated"

    def __init__(self, member: Predictor, calibration: Calibration) -> None:
        super().__init__([member], {"calibration": calibration.to_dict()})
        self.calibration = calibration

    def over(self, members: Sequence[Predictor]) -> Recalibrated:
        """As in `Combined`."""
        assert self.calibration is not None
        return Recalibrated(members[0], self.calibration)

    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Those of the member; shapes as in `Predictor`."""
        return self.members[0].probabilities(pixels, valid)


def class_shares(predictor: Predictor, learned: Floats, scenes: Sequence[Scene]) -> Floats:
    """Shares K of the classes over scenes of one date, estimated from at most 64 windows of them.

    Args:
        predictor: whose posteriors count, calibrated where it has a calibration.
        learned: shares K of the classes in the labels that it learned from.
        scenes: the places.

    Raises:
        MapmendError: pixels cannot be read, memory is out, or the predictor fails.
    """
    every = [(scene, window) for scene in scenes for window in windows(scene.grid, predictor.lattice.size)]
    found = []
    for scene, window in evenly(every, _WINDOWS):
        able, place = fitted(predictor, scene)
        try:
            shares, wanted = blended_probabilities(able, place, window)
        except torch.OutOfMemoryError:
            raise ModelError("memory is out", where=f"scene '{scene.name}'", fix="choose a smaller --batch") from None
        seen = shares[: len(predictor.legend), wanted[-1]]
        thinned = seen[:, :: max(1, -(-seen.shape[1] // _PIXELS))].astype(np.float64)
        found.append(thinned if predictor.calibration is None else predictor.calibration.apply(thinned))
    posteriors = np.concatenate(found, axis=1) if found else np.zeros((len(learned), 0))
    return estimated_shares(posteriors, learned)


def estimated_shares(posteriors: Floats, learned: Floats) -> Floats:
    """The fixed point π of the module's equations; `learned` where there is no pixel.

    Args:
        posteriors: K×N, over the classes they sum to one.
        learned: π₀, K.
    """
    learned = np.maximum(learned / learned.sum(), _LEAST)
    shares = learned
    if not posteriors.shape[1]:
        return shares
    for _ in range(_ROUNDS):
        weighed = posteriors * (shares / learned)[:, None]
        now = np.maximum((weighed / weighed.sum(axis=0)).mean(axis=1), _LEAST)
        moved, shares = np.abs(now - shares).max(), now / now.sum()
        if moved < _ENOUGH:
            break
    return shares


def with_class_shares(predictor: Predictor, learned: Floats, shares: Floats) -> Predictor:
    """The predictor for places with other class shares than those that it learned from.

    Raises:
        ModelError: its calibration is a table, which cannot be combined with shares.
    """
    ratio = np.maximum(shares, _LEAST) / np.maximum(learned / learned.sum(), _LEAST)
    return Recalibrated(predictor, with_class_weights(predictor.calibration, tuple(float(one) for one in ratio)))


def described(names: Sequence[str], learned: Floats, shares: Floats) -> Mapping[str, Mapping[str, float]]:
    """Both shares of each class, as plain values."""
    before = learned / learned.sum()
    return {
        name: {"learned": round(float(one), 6), "estimated": round(float(other), 6)}
        for name, one, other in zip(names, before, shares, strict=True)
    }
