"""Honest intervals where whole patches were drawn, or where a larger first sample gives the strata's sizes.

`cluster_limits`: a stratum's share has an effective number of units (Korn and Graubard 1998, Surv. Methodol. 24), the
number of independent ones that would give the variance between the patches; its Jeffreys limits are those of as many.
The variance of a class that few patches hold tells little, so one patch of the worst kind, all of the class or nothing
of it, is added to the k patches that hold it: with q the ratio of the variance to that of all-or-nothing patches,
m patches are worth m (k + 1) / (k q + 1) units. Few patches estimate q badly; Student's t makes it larger, up to 1.
Where nothing was found, a patch is worth one unit. Patches of one pixel give the intervals of units.

`two_phase_limits`: MOVER-Jeffreys within the strata, and the variance of the strata's estimated weights beside it.

Both take one sample or, in leading axes, many draws at once. Finite populations are taken as infinite.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from mapmend.accuracy.estimators import Floats
from mapmend.accuracy.intervals import PRODUCERS_PRIOR, AccuracyIntervals, AccuracyLimits, of_limits
from mapmend.accuracy.mover import Limits, jeffreys, mover_jeffreys_ratios, ratio_limits, z_of
from mapmend.core.errors import SampleError

Shares = tuple[Floats, Floats, Floats]


def of_clusters(
    totals: npt.ArrayLike, stratum: npt.ArrayLike, sizes: npt.ArrayLike, level: float = 0.95
) -> AccuracyIntervals:
    """The intervals that go with `stratified.clusters`; arguments as in `cluster_limits`."""
    return of_limits(cluster_limits(totals, stratum, sizes, level))


def of_two_phase(table: npt.ArrayLike, first_phase: npt.ArrayLike, level: float = 0.95) -> AccuracyIntervals:
    """The intervals that go with `two_phase.two_phase_ratio`; arguments as in `two_phase_limits`."""
    return of_limits(two_phase_limits(table, first_phase, level))


def cluster_limits(
    totals: npt.ArrayLike, stratum: npt.ArrayLike, sizes: npt.ArrayLike, level: float = 0.95
) -> AccuracyLimits:
    """Limits where whole patches were drawn and every pixel of theirs was labelled.

    Args:
        totals: …×P×K×K pixels of each sampled patch [map, reference], as `intervals.counted` gives them for patches.
        stratum: P, index of each patch's stratum.
        sizes: H, *patches* of each stratum in the population.
        level: of confidence.

    Raises:
        SampleError: the patches and strata do not fit, or a level outside 0 to 1.
    """
    pixels, size = np.asarray(totals, np.float64), np.asarray(sizes, np.float64)
    index = np.asarray(stratum, np.intp)
    if index.shape != pixels.shape[-3:-2] or index.size == 0 or index.min() < 0 or index.max() >= size.size:
        raise SampleError("the patches' strata do not fit", fix=f"give each patch an index below {size.size}")
    member = np.equal.outer(index, np.arange(size.size)).astype(np.float64)
    area = pixels.sum(axis=(-2, -1))[..., None, :]
    hits = np.moveaxis(np.diagonal(pixels, axis1=-2, axis2=-1), -1, -2)
    mapped, reference = (np.moveaxis(pixels.sum(axis=axis), -1, -2) for axis in (-1, -2))
    cells = np.moveaxis(pixels, -3, -1)

    def limits(above: Floats, below: Floats) -> Limits:
        return _cluster_ratios(above, below, area, member, size, level)

    correct = hits.sum(axis=-2, keepdims=True)
    low, high = limits(correct, area - correct)
    shape = cells.shape[:-1]
    flat = cells.reshape(*shape[:-2], -1, index.size)
    return AccuracyLimits(
        overall=(low[..., 0], high[..., 0]),
        users=limits(hits, mapped - hits),
        producers=limits(hits, reference - hits),
        areas=limits(reference, area - reference),
        cells=_shaped(limits(flat, area - flat), shape),
    )


def two_phase_limits(table: npt.ArrayLike, first_phase: npt.ArrayLike, level: float = 0.95) -> AccuracyLimits:
    """Limits where a large simple random sample gives the strata, and a subsample of each its classes.

    Args:
        table: …×H×K×K counts [stratum, map, reference] of the second phase's units.
        first_phase: H or …×H, units of each stratum in the first phase, those of the second among them.
        level: of confidence.
    """
    counts, first = np.asarray(table, np.float64), np.asarray(first_phase, np.float64)
    samples = counts.sum(axis=(-2, -1))[..., None, :]
    number = first.sum(axis=-1, keepdims=True)
    weights = (first / number)[..., None, :]
    hits = np.swapaxes(np.diagonal(counts, axis1=-2, axis2=-1), -1, -2)
    mapped, reference = (np.swapaxes(counts.sum(axis=axis), -1, -2) for axis in (-1, -2))
    cells = np.moveaxis(counts, -3, -1)
    square = z_of(level) ** 2 / number

    def limits(above: Floats, below: Floats, prior: float = 0.5) -> Limits:
        a, b = (found / np.where(samples > 0, samples, 1) for found in (above, below))
        mean_a, mean_b = ((weights * share).sum(axis=-1) for share in (a, b))
        common = (
            square * ((weights * a * a).sum(axis=-1) - mean_a**2),
            square * ((weights * b * b).sum(axis=-1) - mean_b**2),
            square * ((weights * a * b).sum(axis=-1) - mean_a * mean_b),
        )
        return mover_jeffreys_ratios(weights, above, weights, below, samples, level, prior, common)

    correct = hits.sum(axis=-2, keepdims=True)
    low, high = limits(correct, samples - correct)
    shape = cells.shape[:-1]
    flat = cells.reshape(*shape[:-2], -1, first.shape[-1])
    return AccuracyLimits(
        overall=(low[..., 0], high[..., 0]),
        users=limits(hits, mapped - hits),
        producers=limits(hits, reference - hits, PRODUCERS_PRIOR),
        areas=limits(reference, samples - reference),
        cells=_shaped(limits(flat, samples - flat), shape),
    )


def _cluster_ratios(above: Floats, below: Floats, area: Floats, member: Floats, sizes: Floats, level: float) -> Limits:
    """Limits of Σ above / Σ (above + below), from patches' totals …×Q×P and the strata that they are members of."""
    patches = member.sum(axis=0)
    number = np.maximum(patches, 1)
    pixels = np.where(patches > 0, area @ member / number, 1.0)
    weights = sizes * pixels / (sizes * pixels).sum(axis=-1, keepdims=True)
    degrees = float(np.maximum(patches - 1, 0).sum())
    wider = (float(stdtrit(degrees, (1 + level) / 2)) / z_of(level)) ** 2 if degrees else 1.0

    def shares(total: Floats) -> Shares:
        share = total @ member / (number * pixels)
        worst = share * (1 - share)
        holding = np.minimum((total > 0) @ member, (total < area) @ member)
        spread = _scatter(total, total, member, number) / (number * pixels**2)
        ratio = np.where(worst > 0, spread / np.where(worst > 0, worst, 1), 1.0)
        ratio = np.minimum(ratio * wider, np.maximum(ratio, 1))
        units = np.where(patches > 1, number * np.minimum((holding + 1) / (holding * ratio + 1), pixels), number)
        return share, *jeffreys(share * units, units, level)

    a, b = shares(above), shares(below)
    both = _scatter(above, below, member, number)
    alone = np.sqrt(_scatter(above, above, member, number) * _scatter(below, below, member, number))
    correlation = np.where(alone > 0, both / np.where(alone > 0, alone, 1), 0.0)
    # what one has the other lacks, and a single patch may be such
    correlation = np.where(((above + below - area) @ member == 0) | (patches == 1), -1.0, correlation)
    lower, upper = ratio_limits(weights, a, weights, b, correlation)
    unknown = (patches == 0).any()
    return np.where(unknown, np.nan, lower), np.where(unknown, np.nan, upper)


def _scatter(first: Floats, second: Floats, member: Floats, number: Floats) -> Floats:
    """Sums of products of deviations from the strata's means; exact zeros for whole numbers that do not vary."""
    return (number * ((first * second) @ member) - (first @ member) * (second @ member)) / number


def _shaped(limits: Limits, shape: tuple[int, ...]) -> Limits:
    return limits[0].reshape(shape), limits[1].reshape(shape)
