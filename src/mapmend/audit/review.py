"""Chances recalibrated by verdicts."""

from __future__ import annotations

import numpy as np

from mapmend.change.patches import Floats

_EDGE = 0.01  # chances are taken for at least this, and at most one less this
_ROUNDS = 25


def recalibrated(chances: Floats, reviewed: Floats, wrong: Floats) -> Floats:
    """Chances that fit what a review found: logit P' = a + b · logit P (Platt 1999), which keeps their order.

    With (a, b) drawn towards (0, 1) as if by normal priors of standard deviations 3 and 1/4: verdicts come from the top
    of the list mostly, and say more of how many errors there are than of how fast they grow fewer.

    Args:
        chances: to be changed.
        reviewed: chances, as they were, of the objects that have a verdict.
        wrong: 1 where the verdict is that the label is wrong, else 0.
    """
    if not len(reviewed):
        return chances
    x = np.column_stack([np.ones(len(reviewed)), _logit(reviewed)])
    prior, firm = np.array([0.0, 1.0]), np.diag([1 / 9, 16.0])
    ab = prior.copy()
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-x @ ab))
        curve = (x * (p * (1 - p))[:, None]).T @ x + firm
        ab = ab + np.linalg.solve(curve, x.T @ (wrong - p) - firm @ (ab - prior))
    a, b = ab[0], max(float(ab[1]), 0.0)
    result: Floats = 1 / (1 + np.exp(-(a + b * _logit(chances))))
    return result


def _logit(chances: Floats) -> Floats:
    p = np.clip(chances, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(p / (1 - p)))
