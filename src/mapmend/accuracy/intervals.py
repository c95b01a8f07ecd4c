"""Confidence intervals of accuracies and areas: MOVER-Jeffreys, which keeps its level, and Wald, which often does not.

The classical interval (`wald`), p̂ ± z·SE, is too short where few or no errors were sampled in a large stratum. MOVER
takes a confidence interval of each stratum's proportion instead of its variance; `mover` says how. A sample that is
stratified after the draw (a simple random one whose strata's sizes are known) is one of `of_table`: given how many
units fell into each stratum, they were drawn as in a stratified sample. Clusters and two-phase samples are in
`design_intervals`.

Finite populations are taken as infinite, which errs on the side of caution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.estimators import Estimate, checked_matrix
from mapmend.accuracy.mover import (
    Limits,
    checked_level,
    jeffreys,
    mover_jeffreys_ratios,
    mover_jeffreys_sums,
    z_of,
)
from mapmend.core.errors import SampleError

# Of the limits that a producer's accuracy is made of. Jeffreys' ½ is too short where one omission in a large stratum
# decides: 96 % of random classes were covered 93 % of the time or more; with ⅓ 99.8 %, for 5 % more width.
PRODUCERS_PRIOR = 1 / 3

__all__ = [
    "PRODUCERS_PRIOR",
    "AccuracyIntervals",
    "AccuracyLimits",
    "Interval",
    "checked_level",
    "counted",
    "interval_of",
    "jeffreys",
    "matrix_limits",
    "mover_jeffreys_ratio",
    "mover_jeffreys_ratios",
    "mover_jeffreys_sum",
    "mover_jeffreys_sums",
    "of_limits",
    "of_matrix",
    "of_table",
    "wald",
    "z_of",
]


@dataclass(frozen=True)
class Interval:
    """Lower and upper confidence limit."""

    lower: float
    upper: float


@dataclass(frozen=True)
class AccuracyIntervals:
    """Honest intervals, in the order of `AccuracyEstimates`; None where the estimate is undefined."""

    overall: Interval | None
    users: tuple[Interval | None, ...]
    producers: tuple[Interval | None, ...]
    areas: tuple[Interval | None, ...]
    cells: tuple[tuple[Interval | None, ...], ...]


@dataclass(frozen=True)
class AccuracyLimits:
    """Lower and upper limits of one sample or of many draws, NaN where the estimate is undefined.

    Attributes:
        overall: … arrays.
        users: …×K.
        producers: …×K.
        areas: …×K.
        cells: …×K×K [map, reference].
    """

    overall: Limits
    users: Limits
    producers: Limits
    areas: Limits
    cells: Limits


def wald(estimate: Estimate, level: float = 0.95) -> Interval | None:
    """The classical interval p̂ ± z·SE, not cut at 0 and 1; None where the standard error is undefined."""
    if estimate.value is None or estimate.se is None:
        return None
    half = z_of(level) * estimate.se
    return Interval(estimate.value - half, estimate.value + half)


def mover_jeffreys_sum(
    weights: npt.ArrayLike, hits: npt.ArrayLike, samples: npt.ArrayLike, level: float = 0.95
) -> Interval | None:
    """`mover_jeffreys_sums` of one sample; None where a stratum with a weight has no sample."""
    return interval_of(mover_jeffreys_sums(weights, hits, samples, level))


def mover_jeffreys_ratio(
    weights_hits: npt.ArrayLike,
    hits: npt.ArrayLike,
    weights_misses: npt.ArrayLike,
    misses: npt.ArrayLike,
    samples: npt.ArrayLike,
    level: float = 0.95,
    prior: float = 0.5,
) -> Interval | None:
    """`mover_jeffreys_ratios` of one sample; None where neither was found, or a stratum with a weight has no sample."""
    return interval_of(mover_jeffreys_ratios(weights_hits, hits, weights_misses, misses, samples, level, prior))


def matrix_limits(counts: npt.ArrayLike, sizes: npt.ArrayLike, level: float = 0.95) -> AccuracyLimits:
    """Limits where the strata are the map's classes, for one matrix of counts or for many draws at once.

    Args:
        counts: …×K×K [map, reference] of the sampled units.
        sizes: K, units of each map class.
        level: of confidence.
    """
    matrix, size = np.asarray(counts, np.float64), np.asarray(sizes, np.float64)
    weights, samples = size / size.sum(), matrix.sum(axis=-1)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    own = np.eye(len(size))
    by_reference = np.swapaxes(matrix, -1, -2)
    one, of_one = weights[:, None], samples[..., None]
    return AccuracyLimits(
        overall=mover_jeffreys_sums(weights, hits, samples, level),
        users=mover_jeffreys_ratios(one, hits[..., None], one, (samples - hits)[..., None], of_one, level),
        producers=mover_jeffreys_ratios(
            weights * own,
            by_reference * own,
            weights * (1 - own),
            by_reference * (1 - own),
            samples[..., None, :],
            level,
            PRODUCERS_PRIOR,
        ),
        areas=mover_jeffreys_sums(weights, by_reference, samples[..., None, :], level),
        cells=mover_jeffreys_sums(one[:, None], matrix[..., None], of_one[..., None], level),
    )


def of_matrix(counts: npt.ArrayLike, sizes: npt.ArrayLike, level: float = 0.95) -> AccuracyIntervals:
    """Intervals where the strata are the map's classes; arguments as in `estimators.olofsson`."""
    matrix, size = checked_matrix(counts, sizes)
    return of_limits(matrix_limits(matrix, size, level))


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
            nothing to the width, and does not depend on whether the stratum was sampled. Default: all may be.

    Raises:
        SampleError: a stratum without units, or a level outside 0 to 1.
    """
    cells, size = np.asarray(table, np.float64), np.asarray(sizes, np.float64)
    if np.any(size <= 0):
        raise SampleError("a stratum has no units", fix="leave it out, and number the others anew")
    weights, samples = size / size.sum(), cells.sum(axis=(1, 2))
    may = np.ones(cells.shape[:2], bool) if possible is None else possible
    by_map = (weights[:, None] * may).T
    others = (weights[:, None] * (may.sum(axis=1, keepdims=True) > may)).T
    hits = np.einsum("hkk->kh", cells)
    mapped, reference = cells.sum(axis=2).T, cells.sum(axis=1).T
    return of_limits(
        AccuracyLimits(
            overall=mover_jeffreys_sums(weights, hits.sum(axis=0), samples, level),
            users=mover_jeffreys_ratios(by_map, hits, by_map, mapped - hits, samples, level),
            producers=mover_jeffreys_ratios(by_map, hits, others, reference - hits, samples, level, PRODUCERS_PRIOR),
            areas=mover_jeffreys_sums(weights, reference, samples, level),
            cells=mover_jeffreys_sums(by_map[:, None], np.moveaxis(cells, 0, -1), samples, level),
        )
    )


def counted(
    stratum: npt.ArrayLike, mapped: npt.ArrayLike, reference: npt.ArrayLike, strata: int, classes: int
) -> npt.NDArray[np.int64]:
    """The table that `of_table` wants, from sampled units' indices of stratum, map and reference."""
    table = np.zeros((strata, classes, classes), np.int64)
    np.add.at(table, tuple(np.asarray(each, np.intp) for each in (stratum, mapped, reference)), 1)
    return table


def of_limits(limits: AccuracyLimits) -> AccuracyIntervals:
    """The intervals of one sample."""

    def each(pair: Limits) -> tuple[Interval | None, ...]:
        return tuple(interval_of((low, high)) for low, high in zip(*pair, strict=True))

    return AccuracyIntervals(
        overall=interval_of(limits.overall),
        users=each(limits.users),
        producers=each(limits.producers),
        areas=each(limits.areas),
        cells=tuple(each(row) for row in zip(*limits.cells, strict=True)),
    )


def interval_of(limits: tuple[npt.ArrayLike, npt.ArrayLike]) -> Interval | None:
    """The interval between two limits; None where they are undefined."""
    lower, upper = (float(np.asarray(limit)) for limit in limits)
    return None if np.isnan(lower) else Interval(lower, upper)
