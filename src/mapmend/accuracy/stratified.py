"""Estimates from the units of a stratified sample, where the matrix of counts of `estimators.olofsson` does not do.

- `stehman`: strata need not be the map's classes (Stehman 2014, Int. J. Remote Sens. 35).
- `clusters`: whole patches were drawn; the patch is the unit, because pixels of one patch are not independent.
- `model_assisted`: a model's probabilities everywhere, corrected by the sample (difference estimator).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.estimators import UNDEFINED, AccuracyEstimates, Estimate, Floats, estimate_of
from mapmend.core.errors import SampleError

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Residuals:
    """What the variance of a ratio R = Σ y / Σ x is made of.

    Attributes:
        ratio: R.
        total: Σ x.
        sizes: units of each stratum.
        samples: units sampled in it.
        means: of y − R x in each stratum.
        spreads: variances of y − R x, NaN where a stratum has one sample.
    """

    ratio: float
    total: float
    sizes: Floats
    samples: Floats
    means: Floats
    spreads: Floats


def residuals(stratum: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike, sizes: npt.ArrayLike) -> Residuals | None:
    """The residuals of a ratio from units with strata; None where it divides by nothing.

    Raises:
        SampleError: as in `stratified_ratio`.
    """
    index, size, samples = _strata(stratum, sizes)
    above, below = np.asarray(y, np.float64), np.asarray(x, np.float64)
    if above.shape != index.shape or below.shape != index.shape:
        raise SampleError("the units' values and strata differ in number", fix="give each unit one of each")
    if not (np.isfinite(above).all() and np.isfinite(below).all()):
        raise SampleError("a unit's value is not a number", fix="leave out units without a reference by design only")
    total = float(_sums(below, index, samples) / samples @ size)
    if total == 0:
        return None
    ratio = float(_sums(above, index, samples) / samples @ size / total)
    rest = above - ratio * below
    means = _sums(rest, index, samples) / samples
    squares = _sums((rest - means[index]) ** 2, index, samples)
    spreads = np.where(samples > 1, squares / np.maximum(samples - 1, 1), np.nan)
    return Residuals(ratio, total, size, samples, means, spreads)


def stratified_ratio(
    stratum: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike, sizes: npt.ArrayLike, *, correction: bool = True
) -> Estimate:
    """Σ y / Σ x over the population, from a stratified random sample (Stehman 2014, equations 27 and 28).

    The variance s²_y + R² s²_x − 2 R s_xy of a stratum is that of the residuals y − R x.

    Args:
        stratum: index of each unit's stratum.
        y: a value of each unit.
        x: another one; ones for a mean of y.
        sizes: units of each stratum in the population.
        correction: for finite populations, 1 − n/N.

    Raises:
        SampleError: shapes differ; a stratum is unknown, has no sample, or fewer units than samples.
    """
    found = residuals(stratum, y, x, sizes)
    if found is None:
        return UNDEFINED
    factors = 1 - found.samples / found.sizes if correction else np.ones_like(found.sizes)
    parts = np.where(factors > 0, found.sizes**2 * factors * found.spreads / found.samples, 0.0)
    return estimate_of(found.ratio, float(parts.sum() / found.total**2))


def stratified_mean(
    stratum: npt.ArrayLike, y: npt.ArrayLike, sizes: npt.ArrayLike, *, correction: bool = True
) -> Estimate:
    """The population's mean of y (Stehman 2014, equations 25 and 26); arguments as in `stratified_ratio`."""
    return stratified_ratio(stratum, y, np.ones(np.shape(y)), sizes, correction=correction)


def stehman(
    stratum: npt.ArrayLike,
    mapped: npt.ArrayLike,
    reference: npt.ArrayLike,
    sizes: npt.ArrayLike,
    classes: int,
    *,
    correction: bool = True,
) -> AccuracyEstimates:
    """Estimates from sampled units whose strata need not be the map's classes.

    Args:
        stratum: index of each unit's stratum.
        mapped: index of each unit's class in the map.
        reference: index of its class in the reference.
        sizes: units of each stratum in the population.
        classes: how many classes there are.
        correction: for finite populations.

    Raises:
        SampleError: as in `stratified_ratio`, and a class that does not exist.
    """
    return accuracies(
        mapped, reference, classes, lambda y, x: stratified_ratio(stratum, y, x, sizes, correction=correction)
    )


def clusters(
    patch: npt.ArrayLike,
    stratum: npt.ArrayLike,
    mapped: npt.ArrayLike,
    reference: npt.ArrayLike,
    sizes: npt.ArrayLike,
    classes: int,
    *,
    correction: bool = True,
) -> AccuracyEstimates:
    """Estimates where whole patches were drawn and every pixel of theirs was labelled.

    The patch is the unit: what varies is its totals. Patches of one size give V = Σ W_h² (1 − f_h) s²_between,h / m_h;
    with other sizes all estimates are ratios of totals, areas as a share of the pixels.

    Args:
        patch: of each pixel, any numbers.
        stratum: index of the pixel's stratum, the same throughout a patch.
        mapped: index of the pixel's class in the map.
        reference: index of its class in the reference.
        sizes: *patches* of each stratum in the population.
        classes: how many classes there are.
        correction: for finite populations.

    Raises:
        SampleError: as in `stehman`, and a patch in two strata.
    """
    _, first, member = np.unique(np.asarray(patch), return_index=True, return_inverse=True)
    index = _indices(stratum, np.size(sizes), "stratum")
    if index.shape != member.shape:
        raise SampleError("the pixels' patches and strata differ in number", fix="give each pixel one of each")
    if np.any(index[first][member] != index):
        raise SampleError("a patch lies in two strata", fix="give all pixels of a patch the stratum it was drawn from")

    def ratio(y: Floats, x: Floats) -> Estimate:
        if len(y) != len(member):
            raise SampleError("the pixels' classes and patches differ in number", fix="give each pixel one of each")
        totals = np.bincount(member, y), np.bincount(member, x)
        return stratified_ratio(index[first], *totals, sizes, correction=correction)

    return accuracies(mapped, reference, classes, ratio)


def model_assisted(
    stratum: npt.ArrayLike,
    y: npt.ArrayLike,
    predicted: npt.ArrayLike,
    population_mean: float,
    sizes: npt.ArrayLike,
    *,
    correction: bool = True,
) -> Estimate:
    """The difference estimator: the predictions' mean over the population, plus the sample's mean residual.

    The predictions must not be fitted or calibrated on this sample: its residuals would be too small.

    Args:
        stratum: index of each unit's stratum.
        y: what is true of each unit, such as 1 where it is of the class.
        predicted: what the model says of each unit, such as the class's probability.
        population_mean: of the predictions, over all units.
        sizes: units of each stratum in the population.
        correction: for finite populations.

    Raises:
        SampleError: as in `stratified_ratio`, and predictions that are missing.
    """
    truth, model = np.asarray(y, np.float64), np.asarray(predicted, np.float64)
    if truth.shape != model.shape or not np.isfinite(population_mean):
        raise SampleError("predictions are missing", fix="give one for each unit, and their mean over the population")
    residual = stratified_mean(stratum, truth - model, sizes, correction=correction)
    assert residual.value is not None  # a mean divides by the population
    return Estimate(population_mean + residual.value, residual.se)


def accuracies(
    mapped: npt.ArrayLike, reference: npt.ArrayLike, classes: int, ratio: Callable[[Floats, Floats], Estimate]
) -> AccuracyEstimates:
    """All estimates from units' classes, each as a ratio of two totals.

    Args:
        mapped: index of each unit's class in the map.
        reference: index of its class in the reference.
        classes: how many classes there are.
        ratio: the design's estimator of Σ y / Σ x, from the units' y and x.

    Raises:
        SampleError: a class that does not exist, and what `ratio` raises.
    """
    found = _indices(mapped, classes, "class"), _indices(reference, classes, "class")
    if found[0].shape != found[1].shape:
        raise SampleError("the units' classes in map and reference differ in number", fix="give each unit one of each")
    is_mapped, is_true = (np.eye(classes)[index] for index in found)
    units = np.ones(len(is_mapped))
    each = range(classes)
    both = [[is_mapped[:, i] * is_true[:, j] for j in each] for i in each]
    return AccuracyEstimates(
        overall=ratio((is_mapped * is_true).sum(axis=1), units),
        users=tuple(ratio(both[k][k], is_mapped[:, k]) for k in each),
        producers=tuple(ratio(both[k][k], is_true[:, k]) for k in each),
        areas=tuple(ratio(is_true[:, k], units) for k in each),
        cells=tuple(tuple(ratio(both[i][j], units) for j in each) for i in each),
    )


def _indices(values: npt.ArrayLike, number: int, what: str) -> Indices:
    given: npt.NDArray[np.generic] = np.asarray(values)
    if given.ndim != 1 or given.size == 0 or not np.issubdtype(given.dtype, np.integer):
        raise SampleError(f"the units' {what} is not given by an index each", fix=f"give indices below {number}")
    found = given.astype(np.intp)
    if found.min() < 0 or found.max() >= number:
        raise SampleError(f"a unit of a {what} that does not exist", fix=f"give indices below {number}")
    return found


def _strata(stratum: npt.ArrayLike, sizes: npt.ArrayLike) -> tuple[Indices, Floats, Floats]:
    size: Floats = np.atleast_1d(np.asarray(sizes, np.float64))
    index = _indices(stratum, size.size, "stratum")
    samples: Floats = np.bincount(index, minlength=size.size).astype(np.float64)
    if not np.isfinite(size).all() or np.any(size < 1):
        raise SampleError("a stratum has no units", fix="leave it out, and number the others anew")
    if np.any(samples == 0):
        raise SampleError(f"stratum {int(np.argmin(samples))} has no sample", fix="sample every stratum")
    if np.any(samples > size):
        raise SampleError("a stratum has more samples than units", fix="give the strata's sizes in units")
    return index, size, samples


def _sums(values: Floats, index: Indices, like: Floats) -> Floats:
    return np.bincount(index, values, minlength=like.size).astype(np.float64)
