"""How many samples each stratum gets.

n_h is made proportional to N_h (proportional), to 1 (equal) or to N_h S_h, with S_h the standard deviation inside the
stratum of what is to be estimated (Neyman 1934; Cochran 1977, Sampling Techniques, section 5.5), between a minimum and
N_h; what a full stratum cannot take goes to the others. `allocate_for_intervals` makes the honest interval short
instead of the standard error, which differs where little is expected in a large stratum.

Several aims are met by one spread: a weighted sum of their variances is least with S_h² the same weighted sum of the
aims' own (Cochran 1977, chapter 5A, allocation with more than one item). See `area_spread`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

from mapmend.accuracy.apportion import apportion, fractions
from mapmend.accuracy.estimators import Floats
from mapmend.accuracy.mover import z_of
from mapmend.core.errors import SampleError
from mapmend.core.plain import suggestion

ALLOCATIONS = ("proportional", "equal", "neyman", "optimal")
MINIMUM = 2  # a variance needs two
DOUBT = 0.05  # of a class's area: what may lie anywhere, whatever is expected
_ROUNDS = 30  # each halves the error of the logarithm at least
_LAST = 1e-9  # of the largest weight: what a stratum counts whose spread is zero, once the others are full


def allocate(
    sizes: npt.ArrayLike,
    total: int,
    kind: str,
    *,
    spread: npt.ArrayLike | None = None,
    minimum: int = MINIMUM,
    most: npt.ArrayLike | None = None,
) -> tuple[int, ...]:
    """Samples of each stratum; they sum to `total`.

    Args:
        sizes: H, N_h > 0 of each stratum.
        total: samples in all.
        kind: "proportional", "equal", "neyman" or "optimal"; the last two differ in what the spread is that of.
        spread: H, S_h ≥ 0: for "neyman" that of being mapped rightly (`accuracy_spread`), for "optimal" that of the
            named classes' areas (`area_spread`). If all are zero, samples are in proportion to the sizes.
        minimum: of samples in each stratum, or all of its units where it has fewer. With 0 a stratum may get none.
        most: H, units that can be drawn; default: the sizes.

    Raises:
        SampleError: fewer samples than the minimum takes, more than there are units, or values that make no sense.
    """
    size = _positive(sizes)
    if kind not in ALLOCATIONS:
        raise SampleError(f"unknown allocation '{kind}'", fix=suggestion(kind, ALLOCATIONS))
    if kind == "proportional":
        weight = size
    elif kind == "equal":
        weight = np.ones_like(size)
    elif spread is None:
        raise SampleError(f"the allocation '{kind}' needs the strata's spreads", fix="give what accuracy is expected")
    else:
        weight = _weights(size, spread)
    upper = _most(size, most)
    return apportion(weight, _least([0] * size.size, upper, minimum), upper, total)


def allocate_further(
    sizes: npt.ArrayLike,
    drawn: Sequence[int],
    further: int,
    spread: npt.ArrayLike,
    *,
    minimum: int = MINIMUM,
    most: npt.ArrayLike | None = None,
) -> tuple[int, ...]:
    """How many more samples each stratum gets in a later round; they sum to `further`.

    Both rounds together come as near to the best allocation as what has been drawn allows. Their pooled estimate is a
    little low, because a stratum that showed much by chance gets more samples; a first round that is not too small
    keeps that far below the standard error.

    Args:
        sizes: H, N_h of each stratum.
        drawn: H, samples of the earlier rounds.
        further: samples to be drawn now.
        spread: H, S_h, see `allocate`; from answers by `smoothed_shares`.
        minimum: of samples in each stratum, all rounds together.
        most: as in `allocate`.

    Raises:
        SampleError: as in `allocate`.
    """
    size = _positive(sizes)
    upper = _most(size, most)
    lower = _least(drawn, upper, minimum)
    both = apportion(_weights(size, spread), lower, upper, sum(drawn) + further)
    return tuple(after - before for after, before in zip(both, drawn, strict=True))


def allocate_for_intervals(
    sizes: npt.ArrayLike,
    shares: npt.ArrayLike,
    targets: Sequence[int],
    total: int,
    *,
    level: float = 0.95,
    drawn: Sequence[int] | None = None,
    minimum: int = MINIMUM,
    most: npt.ArrayLike | None = None,
) -> tuple[int, ...]:
    """Samples of each stratum that make the honest intervals of the target classes' areas short; they sum to `total`.

    With v = f_h (1 − f_h), the mean squared distance of Jeffreys limits from the observed share is close to
    z² (v / n_h + c (1 − 8 v) / n_h²), c = q² / (2 z²) with q the (1 + level) / 2 quantile of Gamma(½), that of the
    limits' scaled distance where nothing is found: exact for f = 0 and many samples, fitted to enumerated binomial
    samples otherwise. Its sum over strata, W_h² each and relative to the areas' squares, is least for n_h in
    proportion to N_h S_h with S_h² = v + 2 c (1 − 8 v) / n_h, which is iterated.

    Args:
        sizes: H, N_h > 0 of each stratum.
        shares: H×K, f_hk, share of the stratum that truly is of each class; need not be doubted.
        targets: indices of classes.
        total: samples in all, those of earlier rounds among them.
        level: of confidence.
        drawn: H, samples of earlier rounds.
        minimum: as in `allocate`.
        most: as in `allocate`.

    Raises:
        SampleError: as in `allocate` and `area_spread`.
    """
    size, (found, importance) = _positive(sizes), _targeted(sizes, shares, targets)
    upper = _most(size, most)
    lower = _least([0] * size.size if drawn is None else drawn, upper, minimum)
    bounds = np.array(lower, np.float64), np.array(upper, np.float64)
    variance = found * (1 - found)
    # a cost that bends the other way, of shares near one half in few samples, is left out
    scarce = gammaincinv(0.5, (1 + level) / 2) ** 2 / z_of(level) ** 2 * np.maximum(1 - 8 * variance, 0)
    number: Floats = np.full(size.size, total / size.size)
    weight = size
    for _ in range(_ROUNDS):
        spread = np.sqrt(((variance + scarce / np.maximum(number, 1)[:, None]) * importance**2).sum(axis=1))
        weight = _weights(size, spread)
        number = fractions(weight, *bounds, total)
    return apportion(weight, lower, upper, total)


def smoothed_shares(hits: npt.ArrayLike, samples: npt.ArrayLike) -> Floats:
    """Shares (x + ½) / (n + 1), so that no hit in five samples is not taken for none in the stratum.

    Args:
        hits: H or H×K, units found in each stratum.
        samples: H, units looked at; a stratum without any has a share of ½.
    """
    found, tried = np.asarray(hits, np.float64), np.asarray(samples, np.float64)
    tried = tried.reshape(tried.shape + (1,) * (found.ndim - tried.ndim))
    return np.asarray((found + 0.5) / (tried + 1))


def doubted(sizes: npt.ArrayLike, shares: npt.ArrayLike, doubt: float = DOUBT) -> Floats:
    """Expected shares that are not believed to the last: (1 − d) f_h + d p with p = Σ W_h f_h, the same in total.

    A share `doubt` of what is looked for is taken to lie anywhere, so that a stratum in which nothing is expected gets
    samples in proportion to its size, rather than none: where none are drawn, none can be found.

    Args:
        sizes: H, N_h of each stratum.
        shares: H or H×K, f_h.
        doubt: d, from 0 to 1.

    Raises:
        SampleError: a share or the doubt outside 0 to 1, or shares that do not fit the strata.
    """
    size, share = _positive(sizes), checked_shares(shares)
    if len(share) != size.size:
        raise SampleError("the expected shares do not fit the strata", fix="give one for each stratum")
    checked_shares(doubt)
    return np.asarray((1 - doubt) * share + doubt * (size @ share) / size.sum())


def accuracy_spread(sizes: npt.ArrayLike, right: npt.ArrayLike, doubt: float = DOUBT) -> Floats:
    """S_h = √(p (1 − p)) of the overall accuracy, p the share of each stratum that is mapped rightly.

    Raises:
        SampleError: as in `doubted`.
    """
    share = doubted(sizes, right, doubt)
    return np.asarray(np.sqrt(share * (1 - share)))


def area_spread(sizes: npt.ArrayLike, shares: npt.ArrayLike, targets: Sequence[int], doubt: float = DOUBT) -> Floats:
    """The spread for which `allocate` makes Σ_k V(A_k) / A_k² least, over the target classes k.

    S_h² = Σ_k f_hk (1 − f_hk) (p / p_k)² with p_k = Σ_h W_h f_hk, p the smallest of them: each variance counts relative
    to the square of its area. With one target it is that of Neyman's allocation.

    Args:
        sizes: H, N_h of each stratum.
        shares: H×K, f_hk, share of the stratum that truly is of each class.
        targets: indices of classes.
        doubt: see `doubted`.

    Raises:
        SampleError: as in `doubted`, no target, or one that is expected nowhere.
    """
    found, importance = _targeted(sizes, doubted(sizes, shares, doubt), targets)
    return np.asarray(np.sqrt((found * (1 - found) * importance**2).sum(axis=1)))


def expected_se(sizes: npt.ArrayLike, shares: npt.ArrayLike, samples: npt.ArrayLike) -> float:
    """The standard error √Σ W_h² f_h (1 − f_h) / n_h that a share's estimate will have.

    Args:
        sizes: H, N_h of each stratum.
        shares: H, share of the stratum that has what is estimated.
        samples: H, n_h > 0.
    """
    size, share = _positive(sizes), checked_shares(shares)
    weight = size / size.sum()
    return float(np.sqrt(weight**2 @ (share * (1 - share) / np.asarray(samples, np.float64))))


def checked_shares(shares: npt.ArrayLike) -> Floats:
    """Shares as floats.

    Raises:
        SampleError: one is outside 0 to 1.
    """
    share: Floats = np.asarray(shares, np.float64)
    if not np.all((share >= 0) & (share <= 1)):  # NaN too
        raise SampleError("an expected share is not between 0 and 1", fix="give 0.9 for 90 %")
    return share


def _least(drawn: Sequence[int], upper: list[int], minimum: int) -> list[int]:
    if len(drawn) != len(upper) or any(not 0 <= one <= top for one, top in zip(drawn, upper, strict=True)):
        raise SampleError("the samples drawn do not fit the strata", fix="give how many were drawn in each stratum")
    return [max(one, min(minimum, top)) for one, top in zip(drawn, upper, strict=True)]


def _targeted(sizes: npt.ArrayLike, shares: npt.ArrayLike, targets: Sequence[int]) -> tuple[Floats, Floats]:
    """The target classes' shares of each stratum, and their importance: smallest area over the class's area."""
    size, share = _positive(sizes), checked_shares(shares)
    if not targets or share.ndim != 2 or not all(0 <= k < share.shape[1] for k in targets):
        raise SampleError("no classes are named that there are", fix="name one or more of the legend's")
    if len(share) != size.size:
        raise SampleError("the expected shares do not fit the strata", fix="give one for each stratum")
    found = share[:, list(targets)]
    areas = size @ found / size.sum()
    if np.any(areas == 0):
        raise SampleError("a named class is expected in no stratum", fix="give it a small share where it may be missed")
    return found, areas.min() / areas


def _weights(size: Floats, spread: npt.ArrayLike) -> Floats:
    spreads: Floats = np.asarray(spread, np.float64)
    if spreads.shape != size.shape or not np.all(np.isfinite(spreads) & (spreads >= 0)):
        raise SampleError("the strata's spreads make no sense", fix="give one of zero or more for each stratum")
    weight = size * spreads
    largest = weight.max() or 1.0
    return np.asarray(np.maximum(weight, largest * _LAST * size / size.max()))


def _positive(sizes: npt.ArrayLike) -> Floats:
    size: Floats = np.asarray(sizes, np.float64)
    if size.ndim != 1 or size.size == 0 or not np.all(np.isfinite(size) & (size > 0)):
        raise SampleError("a stratum has no units", fix="leave it out")
    return size


def _most(size: Floats, most: npt.ArrayLike | None) -> list[int]:
    # a size in mean pixels that is a little below a whole number is that number
    units = np.maximum(np.floor(size * (1 + 1e-9)), 1) if most is None else np.asarray(most, np.float64)
    if units.shape != size.shape or not np.all(units >= 1):
        raise SampleError("a stratum has no units", fix="leave it out")
    return [int(one) for one in units]
