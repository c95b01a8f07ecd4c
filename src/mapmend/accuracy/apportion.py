"""Shares a number of samples out among strata, between a least and a greatest number for each."""

from __future__ import annotations

import heapq
import math

import numpy as np

from mapmend.accuracy.estimators import Floats
from mapmend.core.errors import SampleError


def apportion(weights: Floats, lower: list[int], upper: list[int], total: int) -> tuple[int, ...]:
    """Whole numbers between bounds that sum to `total` and for which Σ w² / n is least.

    One more unit goes to where the sum falls most, which is the best there is in whole numbers (Wright 2012, The
    American Statistician 66).

    Args:
        weights: H, w > 0.
        lower: H, least number of each.
        upper: H, greatest.
        total: of all.

    Raises:
        SampleError: bounds between which the total cannot lie.
    """
    if total < sum(lower):
        raise SampleError(
            f"{total} samples are too few: {len(lower)} strata take {sum(lower)} at least",
            fix=f"draw {sum(lower)} or more, or lower the minimum per stratum",
        )
    if total > sum(upper):
        raise SampleError(f"{total} samples, and {sum(upper)} units in all", fix="draw fewer")
    bounds = np.array(lower, np.float64), np.array(upper, np.float64)
    # the whole numbers that are best lie less than H from the best fractions, so the search starts there
    start = np.floor(fractions(weights, *bounds, total)) - len(lower)
    numbers = [int(one) for one in np.clip(start, *bounds)]

    def gain(h: int) -> tuple[float, float, int]:
        n, weight = numbers[h], float(weights[h])
        return (-weight / math.sqrt(n * (n + 1)) if n else -math.inf, -weight, h)

    queue = [gain(h) for h in range(len(numbers)) if numbers[h] < upper[h]]
    heapq.heapify(queue)
    for _ in range(total - sum(numbers)):
        h = queue[0][2]
        numbers[h] += 1
        if numbers[h] < upper[h]:
            heapq.heapreplace(queue, gain(h))
        else:
            heapq.heappop(queue)
    return tuple(numbers)


def fractions(weights: Floats, lower: Floats, upper: Floats, total: float) -> Floats:
    """Numbers in proportion to the weights, between bounds, that sum to `total`; arguments as in `apportion`."""
    factors = np.sort(np.concatenate([lower / weights, upper / weights]))  # where a number meets a bound
    sums = np.clip(factors[:, None] * weights, lower, upper).sum(axis=1)
    return np.asarray(np.clip(np.interp(total, sums, factors) * weights, lower, upper))
