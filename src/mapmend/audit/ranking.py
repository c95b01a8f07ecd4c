"""How much a part is like planted errors of a kind: a score learned from errors planted into the held-out label.

The held-out model has not seen the labels it judges, so errors planted into them need no new training. A logistic
regression tells planted parts from right ones; with both sides weighing the same, its logit is the log of the ratio of
their densities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapmend.audit.table import Parts
from mapmend.change.patches import Floats

_RIDGE = 1e-2  # of standardised coefficients, per unit of weight: keeps apart what could be told apart by one part
_ROUNDS = 30
_ENOUGH = 1e-8


@dataclass(frozen=True)
class Ranking:
    """A fitted score.

    Attributes:
        mean: of each feature.
        spread: standard deviation of each.
        weights: an intercept, and one for each feature in units of its spread.
    """

    mean: Floats
    spread: Floats
    weights: Floats

    def score(self, features: Floats) -> Floats:
        """Scores N of features N×F: the larger, the more like a planted error."""
        result: Floats = self.weights[0] + ((features - self.mean) / self.spread) @ self.weights[1:]
        return result


def features_of(parts: Parts) -> Floats:
    """Features P×F of all parts of a label; those of the object a part lies in are sums over its parts.

    Evidence and probabilities are those of pixels, on average. Small and thin parts are less to be trusted, so evidence
    also counts by the part's size. An object of the label that is disbelieved as a whole makes its parts suspicious,
    one that is believed makes them errors of the model.
    """
    evidence, size = parts.mean("evidence"), np.log(parts.pixels)
    whole = int(parts.object.max(initial=-1)) + 1
    pixels = np.bincount(parts.object, parts.pixels, minlength=whole)

    def of_object(sums: Floats) -> Floats:
        total = np.bincount(parts.object, sums, minlength=whole)
        return total[parts.object] / pixels[parts.object]

    pair = parts.object * 256 + parts.proposed
    _, place = np.unique(pair, return_inverse=True)
    alike = np.bincount(place.ravel(), parts.pixels)[place.ravel()] / pixels[parts.object]
    object_evidence = of_object(evidence * parts.pixels)
    object_size = np.log(pixels[parts.object])
    differs = parts.differs.astype(np.float64)
    return np.stack(
        [
            evidence,
            parts.mean("p_label"),
            parts.mean("p_proposed"),
            size,
            evidence * size,
            parts.depth,
            differs,
            differs * size,
            differs * evidence,
            object_evidence,
            of_object(parts.mean("p_label") * parts.pixels),
            object_size,
            object_evidence * object_size,
            alike,
            parts.pixels / pixels[parts.object],
            parts.share("outline_label", "outline"),
            parts.share("touching", "outline"),
            differs * parts.mean("moved_back"),
            parts.mean("moved_other"),
        ],
        axis=1,
    )


def fit_ranking(planted: Floats, observed: Floats, right: Floats, ridge: float = _RIDGE) -> Ranking:
    """Learn to tell planted from right parts; both sides weigh the same.

    Args:
        planted: features N×F of planted parts.
        observed: features M×F of the label's parts.
        right: how likely each of these is right, their weights.
        ridge: of coefficients of standardised features, per unit of weight.
    """
    x = np.concatenate([planted, observed])
    y = np.repeat([1.0, 0.0], [len(planted), len(observed)])
    weight = np.concatenate([np.full(len(planted), 0.5 / len(planted)), 0.5 * right / right.sum()])
    mean = weight @ x
    spread = np.sqrt(weight @ (x - mean) ** 2)
    spread[spread < _ENOUGH] = 1.0
    z = np.column_stack([np.ones(len(x)), (x - mean) / spread])
    pull = np.diag(np.r_[0.0, np.full(x.shape[1], ridge)])
    weights = np.zeros(z.shape[1])
    for _ in range(_ROUNDS):  # Newton's steps
        p = 1 / (1 + np.exp(-np.clip(z @ weights, -30, 30)))
        curve = (z * (weight * np.maximum(p * (1 - p), 1e-9))[:, None]).T @ z + pull
        step = np.linalg.solve(curve, z.T @ (weight * (y - p)) - pull @ weights)
        weights = weights + step
        if np.abs(step).max() < _ENOUGH:
            break
    return Ranking(mean, spread, weights)
