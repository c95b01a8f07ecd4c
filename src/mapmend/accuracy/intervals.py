"""Confidence intervals of accuracies and areas: MOVER-Jeffreys, which keeps its level, and Wald, which often does not.

The classical interval (`wald`), p̂ ± z·SE, is too short where few or no errors were sampled in a large stratum. MOVER
(method of variance estimates recovery; Zou and Donner 2008, Stat. Med. 27) takes a confidence interval of each
stratum's proportion instead of its variance. These are Jeffreys intervals, as in Brown, Cai and DasGupta 2001
(Stat. Sci. 16): the lower limit is 0 where nothing was found, the upper one 1 where all was.

A ratio R = A / (A + B) of two areas is found by inversion. R is above p where T(p) = (1 − p) A − p B is above 0; the
interval holds every p for which the MOVER interval of T(p), with the correlation of both counts in a stratum, holds 0.
With r = p / (1 − p) each limit is a root of a quadratic (compare Donner and Zou 2012, Stat. Methods Med. Res. 21, for
independent A and B). Where the map's classes are the strata, the user's accuracy has one stratum, the correlation is
−1, and the interval becomes the plain Jeffreys interval; the producer's accuracy has A and B in different strata.

Finite populations are taken as infinite, which errs on the side of caution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainccinv, betaincinv, ndtri

from mapmend.accuracy.estimators import Estimate, Floats, checked_matrix
from mapmend.core.errors import SampleError


@dataclass(frozen=True)
class Interval:
    """Lower and upper confidence limit."""

    lower: float
    upper: float


@dataclass(frozen=True)
class AccuracyIntervals:
    """MOVER-Jeffreys intervals, in the order of `AccuracyEstimates`; None where the estimate is undefined."""

    overall: Interval
    users: tuple[Interval | None, ...]
    producers: tuple[Interval | None, ...]
    areas: tuple[Interval, ...]
    cells: tuple[tuple[Interval, ...], ...]


def checked_level(level: float) -> float:
    """A confidence level between 0 and 1.

    Raises:
        SampleError: it is not.
    """
    if not 0 < level < 1:
        raise SampleError(f"the level {level:g} is not between 0 and 1", where="level", fix="give 0.95 for 95 %")
    return level


def z_of(level: float) -> float:
    """The normal distribution's two-sided quantile, Φ⁻¹((1 + level) / 2)."""
    return float(-ndtri((1 - checked_level(level)) / 2))


def wald(estimate: Estimate, level: float = 0.95) -> Interval | None:
    """The classical interval p̂ ± z·SE, not cut at 0 and 1; None where the standard error is undefined."""
    if estimate.value is None or estimate.se is None:
        return None
    half = z_of(level) * estimate.se
    return Interval(estimate.value - half, estimate.value + half)


def jeffreys(hits: npt.ArrayLike, trials: npt.ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Limits of a proportion, the quantiles of Beta(hits + ½, trials − hits + ½).

    At levels below about 0.3 these quantiles may leave the observed share out; the limits are moved to it then, so
    that an interval always holds its estimate.

    Returns:
        Lower and upper limits, in the shape of `hits` and `trials`; 0 and 1 where there are no trials.
    """
    found, tried = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(trials, np.float64))
    tail = (1 - checked_level(level)) / 2
    share = found / np.maximum(tried, 1)
    lower = betaincinv(found + 0.5, tried - found + 0.5, tail)
    upper = betainccinv(found + 0.5, tried - found + 0.5, tail)
    lower = np.where(found == 0, 0.0, np.minimum(lower, share))
    upper = np.where(found == tried, 1.0, np.maximum(upper, share))
    return lower, upper


def mover_jeffreys_sum(
    weights: npt.ArrayLike, hits: npt.ArrayLike, samples: npt.ArrayLike, level: float = 0.95
) -> Interval:
    """The interval of Σ W_h p_h, for independent binomial samples.

    Args:
        weights: W_h ≥ 0 of each stratum.
        hits: units found in it.
        samples: units sampled in it.
        level: of confidence.
    """
    weight, found, tried = (np.asarray(each, np.float64) for each in (weights, hits, samples))
    share = found / tried
    lower, upper = jeffreys(found, tried, level)
    centre = float(weight @ share)
    down, up = (float(np.sqrt(weight**2 @ (limit - share) ** 2)) for limit in (lower, upper))
    return Interval(max(centre - down, 0.0), min(centre + up, float(weight.sum())))


def mover_jeffreys_ratio(
    weights_hits: npt.ArrayLike,
    hits: npt.ArrayLike,
    weights_misses: npt.ArrayLike,
    misses: npt.ArrayLike,
    samples: npt.ArrayLike,
    level: float = 0.95,
) -> Interval | None:
    """The interval of A / (A + B) with A = Σ W_h p_h and B = Σ W_h q_h, p_h and q_h shares that exclude each other.

    Args:
        weights_hits: W_h, or 0 where the stratum cannot hold a hit.
        hits: units of A found in each stratum.
        weights_misses: W_h, or 0 where the stratum cannot hold a miss.
        misses: units of B found in each stratum.
        samples: units sampled in it.
        level: of confidence.

    Returns:
        None where neither was found.
    """
    tried = np.asarray(samples, np.float64)
    weight_a, found_a = np.asarray(weights_hits, np.float64), np.asarray(hits, np.float64)
    weight_b, found_b = np.asarray(weights_misses, np.float64), np.asarray(misses, np.float64)
    share_a, share_b = found_a / tried, found_b / tried
    a, b = float(weight_a @ share_a), float(weight_b @ share_b)
    if a + b == 0:
        return None
    others = (1 - share_a) * (1 - share_b)
    correlated = np.sqrt(share_a * share_b / np.where(others > 0, others, 1))
    # minus the correlation of two counts of one multinomial sample; where nothing else was found, one tells the other
    against = np.where(found_a + found_b == tried, 1.0, correlated)
    low_a, up_a = (weight_a * (limit - share_a) for limit in jeffreys(found_a, tried, level))
    low_b, up_b = (weight_b * (limit - share_b) for limit in jeffreys(found_b, tried, level))

    down_a, up_b2 = float(low_a @ low_a), float(up_b @ up_b)
    middle = a * b - float(against @ (low_a * up_b))
    root = math.sqrt(max(middle**2 - (b**2 - up_b2) * (a**2 - down_a), 0.0))
    lower = _share(a**2 - down_a, middle + root)

    up_a2, down_b = float(up_a @ up_a), float(low_b @ low_b)
    middle = a * b - float(against @ (up_a * low_b))
    root = math.sqrt(max(middle**2 - (b**2 - down_b) * (a**2 - up_a2), 0.0))
    upper = 0.0 if not weight_a.any() else _share(middle + root, b**2 - down_b)
    estimate = a / (a + b)
    return Interval(min(lower, estimate), max(upper, estimate))


def of_matrix(counts: npt.ArrayLike, sizes: npt.ArrayLike, level: float = 0.95) -> AccuracyIntervals:
    """Intervals where the strata are the map's classes; arguments as in `estimators.olofsson`."""
    matrix, size = checked_matrix(counts, sizes)
    own = np.eye(len(matrix))
    present = size > 0
    table = own[:, :, None] * matrix[:, None, :]
    return of_table(table[present], size[present], level, possible=own[present] > 0)


def of_table(
    table: npt.ArrayLike,
    sizes: npt.ArrayLike,
    level: float = 0.95,
    *,
    possible: npt.NDArray[np.bool_] | None = None,
) -> AccuracyIntervals:
    """Intervals where the strata need not be the map's classes.

    Args:
        table: H×K×K counts [stratum, map, reference] of the sampled units.
        sizes: H, units of each stratum.
        level: of confidence.
        possible: H×K, whether the map has the class anywhere in the stratum. A class known to be missing there adds
            nothing to the width. Default: all may be.

    Raises:
        SampleError: a stratum without sample or units, or a level outside 0 to 1.
    """
    cells, size = np.asarray(table, np.float64), np.asarray(sizes, np.float64)
    samples = cells.sum(axis=(1, 2))
    if np.any(samples == 0) or np.any(size <= 0):
        raise SampleError("a stratum has no sample or no units", fix="sample every stratum that has units")
    weights = size / size.sum()
    may = np.ones(cells.shape[:2], bool) if possible is None else possible
    by_map = weights[:, None] * may
    classes = range(cells.shape[1])
    correct = np.einsum("hkk->h", cells)
    reference = cells.sum(axis=1)
    users, producers = [], []
    for k in classes:
        hits = cells[:, k, k]
        commission, omission = cells[:, k].sum(axis=1) - hits, reference[:, k] - hits
        others = weights * (may.sum(axis=1) > may[:, k])
        users.append(mover_jeffreys_ratio(by_map[:, k], hits, by_map[:, k], commission, samples, level))
        producers.append(mover_jeffreys_ratio(by_map[:, k], hits, others, omission, samples, level))
    return AccuracyIntervals(
        overall=mover_jeffreys_sum(weights, correct, samples, level),
        users=tuple(users),
        producers=tuple(producers),
        areas=tuple(mover_jeffreys_sum(weights, reference[:, k], samples, level) for k in classes),
        cells=tuple(
            tuple(mover_jeffreys_sum(by_map[:, i], cells[:, i, j], samples, level) for j in classes) for i in classes
        ),
    )


def counted(
    stratum: npt.ArrayLike, mapped: npt.ArrayLike, reference: npt.ArrayLike, strata: int, classes: int
) -> npt.NDArray[np.int64]:
    """The table that `of_table` wants, from sampled units' indices of stratum, map and reference."""
    table = np.zeros((strata, classes, classes), np.int64)
    np.add.at(table, tuple(np.asarray(each, np.intp) for each in (stratum, mapped, reference)), 1)
    return table


def _share(above: float, below: float) -> float:
    """R / (1 + R) of R = above / below, where nothing below is an R without bound."""
    above, below = max(above, 0.0), max(below, 0.0)
    return above / (above + below) if above + below else 1.0
