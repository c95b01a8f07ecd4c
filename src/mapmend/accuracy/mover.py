"""Limits of sums and ratios of shares in strata: MOVER with Jeffreys limits, for one sample or for many draws at once.

MOVER (method of variance estimates recovery; Zou and Donner 2008, Stat. Med. 27) takes a confidence interval of each
stratum's proportion instead of its variance. These are Jeffreys intervals, as in Brown, Cai and DasGupta 2001
(Stat. Sci. 16): the lower limit is 0 where nothing was found, the upper one 1 where all was.

A ratio R = A / (A + B) of two areas is found by inversion. R is above p where T(p) = (1 − p) A − p B is above 0; the
interval holds every p for which the MOVER interval of T(p), with the correlation of both counts in a stratum, holds 0.
With r = p / (1 − p) each limit is a root of a quadratic (compare Donner and Zou 2012, Stat. Methods Med. Res. 21, for
independent A and B). Where the map's classes are the strata, the user's accuracy has one stratum, the correlation is
−1, and the interval becomes the plain Jeffreys interval; the producer's accuracy has A and B in different strata.

The last axis of all arrays is that of the H strata. What depends on a stratum without a sample is NaN: no value of it
is known, and `intervals` makes None of it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import betainccinv, betaincinv, ndtri

from mapmend.accuracy.estimators import Floats
from mapmend.core.errors import SampleError

Limits = tuple[Floats, Floats]
Squares = tuple[Floats | float, Floats | float, Floats | float]


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


def jeffreys(hits: npt.ArrayLike, trials: npt.ArrayLike, level: float = 0.95, prior: float = 0.5) -> Limits:
    """Limits of a proportion, the quantiles of Beta(hits + ½, trials − hits + ½).

    Another `prior` c takes Beta(hits + c, trials − hits + 1 − c) below and Beta(hits + 1 − c, trials − hits + c) above;
    0 would be Clopper and Pearson's limits, which never fall short of the level but are wider.

    At levels below about 0.3 these quantiles may leave the observed share out; the limits are moved to it then, so
    that an interval always holds its estimate.

    Args:
        hits: units found; effective numbers need not be whole.
        trials: units sampled.
        level: of confidence.
        prior: above 0, up to ½.

    Returns:
        Lower and upper limits, in the shape of `hits` and `trials`; 0 and 1 where there are no trials.
    """
    found, tried = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(trials, np.float64))
    tail = (1 - checked_level(level)) / 2
    # many draws hold few different pairs, and a quantile costs far more than finding them
    pairs, place = np.unique((found + 1j * tried).ravel(), return_inverse=True)
    x, n = pairs.real, pairs.imag
    share = x / np.where(n > 0, n, 1)
    lower = np.where(x == 0, 0.0, np.minimum(betaincinv(x + prior, n - x + 1 - prior, tail), share))
    upper = np.where(x == n, 1.0, np.maximum(betainccinv(x + 1 - prior, n - x + prior, tail), share))
    return lower[place].reshape(found.shape), upper[place].reshape(found.shape)


def mover_jeffreys_sums(
    weights: npt.ArrayLike, hits: npt.ArrayLike, samples: npt.ArrayLike, level: float = 0.95
) -> Limits:
    """Limits of Σ W_h p_h, for independent binomial samples.

    Args:
        weights: H or …×H, W_h ≥ 0 of each stratum.
        hits: …×H units found in it.
        samples: H or …×H units sampled in it.
        level: of confidence.

    Returns:
        Lower and upper limits, NaN where a stratum with a weight has no sample.
    """
    weight, found, tried = _aligned(weights, hits, samples)
    share = found / np.where(tried > 0, tried, 1)
    lower, upper = jeffreys(found, tried, level)
    centre = (weight * share).sum(axis=-1)
    down, up = (np.sqrt((weight**2 * (limit - share) ** 2).sum(axis=-1)) for limit in (lower, upper))
    unknown = ((weight > 0) & (tried == 0)).any(axis=-1)
    low, high = np.maximum(centre - down, 0.0), np.minimum(centre + up, weight.sum(axis=-1))
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def mover_jeffreys_ratios(
    weights_hits: npt.ArrayLike,
    hits: npt.ArrayLike,
    weights_misses: npt.ArrayLike,
    misses: npt.ArrayLike,
    samples: npt.ArrayLike,
    level: float = 0.95,
    prior: float = 0.5,
    common: Squares = (0.0, 0.0, 0.0),
) -> Limits:
    """Limits of A / (A + B) with A = Σ W_h p_h and B = Σ W_h q_h, p_h and q_h shares that exclude each other.

    Args:
        weights_hits: H or …×H, W_h, or 0 where the stratum cannot hold a hit.
        hits: …×H units of A found in each stratum.
        weights_misses: H or …×H, W_h, or 0 where the stratum cannot hold a miss.
        misses: …×H units of B found in each stratum.
        samples: H or …×H units sampled in it.
        level: of confidence.
        prior: of the limits of p_h and q_h, see `jeffreys`.
        common: as in `ratio_limits`.

    Returns:
        Lower and upper limits, NaN where neither was found, or a stratum with a weight has no sample.
    """
    weight_a, found_a, weight_b, found_b, tried = _aligned(weights_hits, hits, weights_misses, misses, samples)
    number = np.where(tried > 0, tried, 1)
    share_a, share_b = found_a / number, found_b / number
    others = (1 - share_a) * (1 - share_b)
    correlated = np.sqrt(share_a * share_b / np.where(others > 0, others, 1))
    # minus the correlation of two counts of one multinomial sample; where nothing else was found, one tells the other
    against = np.where(found_a + found_b == tried, 1.0, correlated)
    lower, upper = ratio_limits(
        weight_a,
        (share_a, *jeffreys(found_a, tried, level, prior)),
        weight_b,
        (share_b, *jeffreys(found_b, tried, level, prior)),
        -against,
        common,
    )
    unknown = ((weight_a + weight_b > 0) & (tried == 0)).any(axis=-1)
    return np.where(unknown, np.nan, lower), np.where(unknown, np.nan, upper)


def ratio_limits(
    weights_a: Floats,
    shares_a: tuple[Floats, Floats, Floats],
    weights_b: Floats,
    shares_b: tuple[Floats, Floats, Floats],
    correlation: Floats,
    common: Squares = (0.0, 0.0, 0.0),
) -> Limits:
    """Limits of A / (A + B) from those of the shares in each stratum, all …×H.

    Args:
        weights_a: W_h of A.
        shares_a: p_h, with its lower and upper limits.
        weights_b: W_h of B.
        shares_b: q_h, with its lower and upper limits.
        correlation: of the errors of p_h and q_h.
        common: what is uncertain beside the shares, as squared half-widths: of A, of B, and their product with the
            sign of the covariance; such as that of estimated weights.

    Returns:
        Lower and upper limits, NaN where A + B is 0.
    """
    a, b = (weights_a * shares_a[0]).sum(axis=-1), (weights_b * shares_b[0]).sum(axis=-1)
    low_a, up_a = (weights_a * (limit - shares_a[0]) for limit in shares_a[1:])
    low_b, up_b = (weights_b * (limit - shares_b[0]) for limit in shares_b[1:])
    own_a, own_b, both = common
    down_a2, up_a2 = ((move**2).sum(axis=-1) + own_a for move in (low_a, up_a))
    down_b2, up_b2 = ((move**2).sum(axis=-1) + own_b for move in (low_b, up_b))

    middle = a * b + (correlation * low_a * up_b).sum(axis=-1) - both
    root = np.sqrt(np.maximum(middle**2 - (b**2 - up_b2) * (a**2 - down_a2), 0.0))
    lower = _share(a**2 - down_a2, middle + root)

    middle = a * b + (correlation * up_a * low_b).sum(axis=-1) - both
    root = np.sqrt(np.maximum(middle**2 - (b**2 - down_b2) * (a**2 - up_a2), 0.0))
    upper = np.where(weights_a.any(axis=-1), _share(middle + root, b**2 - down_b2), 0.0)
    with np.errstate(invalid="ignore"):
        estimate = a / (a + b)  # NaN where both are 0, which the limits take over
    return np.minimum(lower, estimate), np.maximum(upper, estimate)


def _aligned(*values: npt.ArrayLike) -> list[Floats]:
    return list(np.broadcast_arrays(*(np.asarray(each, np.float64) for each in values)))


def _share(above: Floats, below: Floats) -> Floats:
    """R / (1 + R) of R = above / below, where nothing below is an R without bound."""
    above, below = np.maximum(above, 0.0), np.maximum(below, 0.0)
    whole = above + below
    return np.where(whole > 0, above / np.where(whole > 0, whole, 1.0), 1.0)
