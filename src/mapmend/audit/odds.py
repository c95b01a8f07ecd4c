"""How likely a part is wrong, and how many errors a number of looks will find, without knowing the truth.

For each kind of error, scores of the label's suspicious parts are a mixture f = (1 − π) f0 + π f1 of others and of
errors of that kind, and planted errors show f1. Since f ≥ π f1, the share π is at most P(score > t) / P1(score > t) for
every t. Where the label has errors of the kind, that bound stays level towards high scores, and its mean over some t
stands for π; where it has none, the bound falls to nothing (compare Blanchard, Lee and Scott 2010; Elkan and Noto
2008). Then

    P(wrong | score) = π f1 / (π f1 + (1 − π) f0),

with f0 from the label's own parts, each weighed by how likely it is right: an expectation-maximisation of few rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.audit.ranking import Ranking, fit_ranking
from mapmend.change.patches import Floats

Bool = npt.NDArray[np.bool_]

SURE = 0.9  # no part is called wrong with more: nothing tells errors from parts that no model gets right

_LEVEL_AT = (0.5, 0.6, 0.7, 0.8)  # quantiles of planted scores above which the bound should stay level, and
_FURTHER = (0.9, 0.95)  # where it has fallen to nothing if the kind is absent
_LEVEL = 0.5  # of its value at the median, that the bound keeps where the kind is present
_LEAST_SHARE = 1e-4
_LEAST_RIGHT = 0.02  # weight of a part that is certainly wrong: the others may not vanish altogether
_ROUNDS = 3
_FIRM = 1e-3  # ridge of the one coefficient of a scale
_MOST = 20.0  # of a logit
_RANGE = 0.9
_DRAWS = 200


@dataclass(frozen=True)
class KindOdds:
    """How a kind of error is told.

    Attributes:
        name: of the kind.
        ranking: gives the score.
        scale: log of the ratio f1 / f0 of suspicious parts, by the score.
        share: π, of the suspicious parts.
        error: its standard error.
        present: whether the label has errors of this kind.
    """

    name: str
    ranking: Ranking
    scale: Ranking
    share: float
    error: float
    present: bool

    def ratio(self, features: Floats) -> Floats:
        """Log of f1 / f0 of suspicious parts with these features."""
        return self.scale.score(self.ranking.score(features)[:, None])


@dataclass(frozen=True)
class Budget:
    """What looking at the first so many objects finds: errors that are expected, and the range of 90 % of draws."""

    looks: int
    expected: float
    low: float
    high: float


def fit_kind(name: str, planted: Floats, doubted: Bool, observed: Floats, differs: Bool) -> KindOdds:
    """Learn a kind of error from planted parts.

    Args:
        name: of the kind.
        planted: features N×F of planted parts.
        doubted: N, which of them have another class proposed.
        observed: features M×F of the label's parts.
        differs: M, which of these have another class proposed: the suspicious ones.
    """
    right = np.ones(len(observed))
    if not doubted.any() or not differs.any():
        as_it_is = Ranking(np.zeros(1), np.ones(1), np.array([0.0, 1.0]))
        return KindOdds(name, fit_ranking(planted, observed, right), as_it_is, _LEAST_SHARE, _LEAST_SHARE, False)
    for number in range(_ROUNDS + 1):
        ranking = fit_ranking(planted, observed, right)
        high, scores = ranking.score(planted[doubted]), ranking.score(observed[differs])
        scale = fit_ranking(high[:, None], scores[:, None], right[differs], _FIRM)
        share, error, present = _share(high, scores)
        ratio = scale.score(scores[:, None])
        if number == 0:  # against all parts, not yet the right ones
            wrong = np.minimum(SURE, share * np.exp(np.minimum(ratio, _MOST)))
        else:
            wrong = chance(ratio + np.log(share / (1 - share)))
        right[differs] = np.maximum(1 - wrong, _LEAST_RIGHT)
    return KindOdds(name, ranking, scale, share, error, present)


def chance(logits: Floats) -> Floats:
    """P(wrong), at most `SURE`."""
    result: Floats = np.minimum(SURE, 1 / (1 + np.exp(-np.clip(logits, -_MOST, _MOST))))
    return result


def best_logits(kinds: Sequence[KindOdds], ratios: Sequence[Floats], rng: np.random.Generator | None = None) -> Floats:
    """The largest of the kinds' logits: a part is wrong in the way that suits it best.

    Args:
        kinds: that are known.
        ratios: of each kind, its `ratio` of the parts.
        rng: draws each share within its error instead of taking it as it is.
    """

    def prior(kind: KindOdds) -> float:
        share = kind.share if rng is None else _inside(kind.share + kind.error * rng.standard_normal())
        return float(np.log(share / (1 - share)))

    result: Floats = np.max([ratio + prior(kind) for kind, ratio in zip(kinds, ratios, strict=True)], axis=0)
    return result


def budget_of(
    chances: Floats, draws: Sequence[Floats], looks: Sequence[int], rng: np.random.Generator
) -> tuple[Budget, ...]:
    """Budgets of a ranked list.

    Args:
        chances: P(wrong) of the objects, in the order of the list.
        draws: the same for drawn shares.
        looks: numbers of objects; those beyond the list's end are left out.
        rng: draws whether each object is wrong.
    """
    found = []
    for number in [one for one in looks if one <= len(chances)]:
        counts = [
            float((rng.random(number) < of_draw[:number]).sum())
            for of_draw in draws
            for _ in range(_DRAWS // len(draws))
        ]
        low, high = np.quantile(counts, [(1 - _RANGE) / 2, (1 + _RANGE) / 2])
        found.append(Budget(number, float(chances[:number].sum()), float(low), float(high)))
    return tuple(found)


def _share(planted: Floats, observed: Floats) -> tuple[float, float, bool]:
    """π with its standard error, from the scores of suspicious parts, and whether the bound stays level.

    The error is as large as the bound's spread where it should be level, if that is more than chance makes.
    """

    def bounds(quantiles: tuple[float, ...]) -> tuple[Floats, Floats]:
        above = np.array([(observed > np.quantile(planted, quantile)).sum() for quantile in quantiles], float)
        whole = len(observed) * (1 - np.array(quantiles))
        return above / whole, above**0.5 / whole

    level, error = bounds(_LEVEL_AT)
    firm = np.maximum(level - error, 0.0)  # a chance dip is no bound that can be relied on
    if firm.min() > 0 and firm.min() >= _LEVEL * firm[0]:
        return _inside(level.mean()), max(float(level.std()), float(error.mean())), True
    fallen, error = bounds((*_LEVEL_AT, *_FURTHER))
    lowest = int(fallen.argmin())
    return _inside(fallen[lowest]), float(error[lowest]), False


def _inside(share: float) -> float:
    return float(np.clip(share, _LEAST_SHARE, 1 - _LEAST_SHARE))
