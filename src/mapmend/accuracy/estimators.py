"""Accuracy and area from a probability sample: design-based estimates and their standard errors.

`olofsson` takes a matrix of counts where the strata are the map's classes (Olofsson et al. 2014, Remote Sens. Environ.
148); the module `stratified` has other designs.

Areas are shares of the population; multiply by its area. A standard error is None where a stratum that it depends on
has a single unit, and an estimate is None where it would divide by nothing or where a stratum that it depends on has no
unit: neither is ever NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.core.errors import SampleError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """An estimate and its standard error, None where undefined."""

    value: float | None
    se: float | None


UNDEFINED = Estimate(None, None)


@dataclass(frozen=True)
class AccuracyEstimates:
    """Estimates of a map of K classes.

    Attributes:
        overall: overall accuracy.
        users: user's accuracy of each class; undefined for a class that the map lacks.
        producers: producer's accuracy of each class; undefined for a class that the reference lacks.
        areas: share of the population that is truly of the class.
        cells: [map][reference], share of the population mapped as one class and truly of the other.
    """

    overall: Estimate
    users: tuple[Estimate, ...]
    producers: tuple[Estimate, ...]
    areas: tuple[Estimate, ...]
    cells: tuple[tuple[Estimate, ...], ...]


def checked_matrix(counts: npt.ArrayLike, sizes: npt.ArrayLike) -> tuple[Floats, Floats]:
    """A sample's counts, K×K [map, reference], and the K strata's sizes in units, as floats.

    A row of zeros stands for a class that the map does not have, where the size of its stratum is zero too, or for a
    stratum without an answer. A size may be a fraction: an area in units of the mean pixel.

    Raises:
        SampleError: not square, counts that are not whole, negative; sizes that do not fit; no sample at all.
    """
    table, size = np.asarray(counts, np.float64), np.asarray(sizes, np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < 2:
        shape = " × ".join(map(str, table.shape))
        raise SampleError(f"the matrix is {shape}", fix="give as many rows (map) as columns (reference), two or more")
    if size.shape != table.shape[:1]:
        raise SampleError(f"{len(table)} classes, and sizes of {size.size} strata", fix="give a size for each row")
    for what, values in (("count", table), ("size of a stratum", size)):
        wrong = ~np.isfinite(values) | (values < 0)
        wrong |= (values != np.round(values)) & (what == "count")
        if wrong.any():
            raise SampleError(f"{values[wrong][0]:g} is no {what}", fix="give whole numbers, zero or more")
    samples = table.sum(axis=1)
    for row in range(len(table)):
        if samples[row] > size[row]:
            raise SampleError(
                f"row {row + 1} of the matrix has {samples[row]:.0f} samples, and its stratum {size[row]:.0f} pixels",
                fix="give the strata's sizes in the order of the rows",
            )
    if not size.any():
        raise SampleError("all strata are empty", fix="give the strata's sizes in pixels")
    if not samples.any():
        raise SampleError("the matrix has no sample", fix="give the counts of sampled units")
    return table, size


def olofsson(counts: npt.ArrayLike, sizes: npt.ArrayLike) -> AccuracyEstimates:
    """Estimates where the strata are the map's classes, without finite-population correction.

    Args:
        counts: K×K [map, reference] of the sampled units.
        sizes: K, units of each map class.

    Returns:
        Where a stratum has no sample, all but the other classes' user's accuracies and cells is undefined.

    Raises:
        SampleError: see `checked_matrix`.
    """
    table, size = checked_matrix(counts, sizes)
    classes = range(len(table))
    samples, weights = table.sum(axis=1), size / size.sum()
    missing = (samples == 0) & (size > 0)
    whole = not missing.any()
    shares = table / np.maximum(samples, 1)[:, None]
    single = (samples == 1) & (size > 1)  # a stratum of one unit that was looked at is known
    variances = np.where(single[:, None], np.nan, shares * (1 - shares) / np.maximum(samples - 1, 1)[:, None])
    proportions = weights[:, None] * shares
    parts = weights[:, None] ** 2 * variances
    areas = proportions.sum(axis=0)
    producers = []
    for k in classes:
        if areas[k] == 0 or not whole:
            producers.append(UNDEFINED)
            continue
        accuracy = proportions[k, k] / areas[k]
        omitted = parts[:, k].sum() - parts[k, k] if not single[k] else np.nan
        variance = ((1 - accuracy) ** 2 * parts[k, k] + accuracy**2 * omitted) / areas[k] ** 2
        producers.append(estimate_of(accuracy, variance))
    return AccuracyEstimates(
        overall=estimate_of(np.trace(proportions), np.trace(parts)) if whole else UNDEFINED,
        users=tuple(estimate_of(shares[k, k], variances[k, k]) if samples[k] else UNDEFINED for k in classes),
        producers=tuple(producers),
        areas=tuple(estimate_of(areas[k], parts[:, k].sum()) if whole else UNDEFINED for k in classes),
        cells=tuple(
            tuple(UNDEFINED if missing[i] else estimate_of(proportions[i, j], parts[i, j]) for j in classes)
            for i in classes
        ),
    )


def estimate_of(value: float, variance: float) -> Estimate:
    """An estimate and the root of its variance, which NaN says is undefined."""
    return Estimate(float(value), float(np.sqrt(variance)) if np.isfinite(variance) else None)
