"""Ratios where the strata are used after the draw, or known from a larger sample only.

Both take units as `stratified.stratified_ratio` does, and go into `stratified.accuracies` for all estimates of a map.
The variance of a ratio is that of its residuals y − R x.
"""

from __future__ import annotations

import numpy.typing as npt

from mapmend.accuracy.estimators import UNDEFINED, Estimate, estimate_of
from mapmend.accuracy.stratified import residuals


def post_stratified_ratio(
    stratum: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike, sizes: npt.ArrayLike, *, correction: bool = True
) -> Estimate:
    """Σ y / Σ x from a *simple random* sample whose units are weighted by strata of known size.

    How many units fell into a stratum is chance, which adds a second term to the variance (Cochran 1977, Sampling
    Techniques, equation 5A.42, with the finite-population correction in both terms):
    V = (1 − f) (Σ W_h s²_h / n + Σ (1 − W_h) s²_h / n²).

    Args:
        stratum: index of each unit's stratum.
        y: a value of each unit.
        x: another one; ones for a mean of y.
        sizes: units of each stratum in the population.
        correction: for a finite population.

    Raises:
        SampleError: as in `stratified_ratio`.
    """
    found = residuals(stratum, y, x, sizes)
    if found is None:
        return UNDEFINED
    number, population = found.samples.sum(), found.sizes.sum()
    weights = found.sizes / population
    terms = weights @ found.spreads / number + (1 - weights) @ found.spreads / number**2
    left = 1 - number / population if correction else 1.0
    return estimate_of(found.ratio, float(left * terms * (population / found.total) ** 2))


def two_phase_ratio(stratum: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike, first_phase: npt.ArrayLike) -> Estimate:
    """Σ y / Σ x where a large simple random sample gives the strata, and y and x come from a subsample of each.

    With n' units in the first phase, n'_h of them in stratum h, w_h = n'_h / n' and n_h in the second phase,
    V = S² / n' + Σ w_h² (1 / n_h − 1 / n'_h) s²_h (Cochran 1977, section 12.2). S² is that of the population; it is
    estimated without bias from within and between the strata, less what the second phase adds between them.
    The population is taken as infinite.

    Args:
        stratum: index of each second-phase unit's stratum.
        y: a value of each of these units.
        x: another one; ones for a mean of y.
        first_phase: units of each stratum in the first phase, those of the second among them.

    Raises:
        SampleError: as in `stratified_ratio`.
    """
    found = residuals(stratum, y, x, first_phase)
    if found is None:
        return UNDEFINED
    number = found.sizes.sum()
    weights = found.sizes / number
    within = found.spreads * (1 / found.samples - 1 / found.sizes)
    second = float(weights**2 @ within)
    squares = (found.sizes - 1) @ found.spreads + found.sizes @ (found.means - weights @ found.means) ** 2
    total = float(squares - found.sizes @ within + number * second) / (number - 1)
    return estimate_of(found.ratio, (total / number + second) * float(number / found.total) ** 2)
