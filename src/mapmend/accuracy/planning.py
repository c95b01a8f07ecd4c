"""How many samples a target needs, and how wide an interval a sample will give.

`samples_for_accuracy` is the usual formula, for the overall accuracy's standard error. What is reported is the honest
interval (MOVER-Jeffreys), for whose width no formula holds: it is simulated, from the shares that are expected in each
stratum. All totals that are tried get the same random numbers, so that a plan depends on its seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from mapmend.accuracy.allocation import checked_shares
from mapmend.accuracy.estimators import Floats
from mapmend.accuracy.mover import checked_level, mover_jeffreys_sums
from mapmend.core.errors import SampleError

DRAWS = 2000
MOST_SAMPLES = 200_000  # more than anyone interprets
_TAIL = 10  # standard deviations of a count, beyond which no draw of ours falls


@dataclass(frozen=True)
class Precision:
    """What to expect of a sample.

    Attributes:
        samples: of each stratum.
        half_width: (upper − lower) / 2 of the interval, as a share of the population; relative to the expected share
            where that was asked for.
    """

    samples: tuple[int, ...]
    half_width: float

    @property
    def total(self) -> int:
        """Samples in all."""
        return sum(self.samples)


def samples_for_accuracy(sizes: npt.ArrayLike, users: npt.ArrayLike, se: float) -> int:
    """Samples for a standard error of the overall accuracy, allocated in proportion to the strata's sizes.

    n = (Σ W_i S_i)² / (S(OA)² + N⁻¹ Σ W_i S_i²), S_i² = U_i (1 − U_i) (Cochran 1977, equation 5.25; Olofsson et al.
    2014, equation 13).

    Args:
        sizes: N_i, units of each stratum.
        users: U_i, user's accuracy that is expected of each.
        se: the standard error wanted, S(OA) > 0.

    Raises:
        SampleError: a standard error that is not positive, or an accuracy outside 0 to 1.
    """
    size, share = _checked(sizes, users)
    if not se > 0:
        raise SampleError(f"a standard error of {se:g} cannot be reached", fix="give 0.01 for one percentage point")
    weight, variance, total = size / size.sum(), share * (1 - share), float(size.sum())
    number = float(weight @ np.sqrt(variance)) ** 2 / (se**2 + float(weight @ variance) / total)
    return math.ceil(number - 1e-9)  # a rounding error above a whole number is not another sample


def shares_from_users(sizes: npt.ArrayLike, users: npt.ArrayLike) -> Floats:
    """K×K shares f_ij of reference class j in the stratum of map class i, where only user's accuracies are known.

    What is wrong in a stratum is taken to be of the other classes in proportion to their sizes in the map.

    Args:
        sizes: K, units of each map class.
        users: K, user's accuracy that is expected of each.

    Raises:
        SampleError: an accuracy outside 0 to 1, fewer than two classes, or values that do not fit.
    """
    size, share = _checked(sizes, users)
    if size.size < 2:
        raise SampleError("a map of one class has no errors to share out", fix="give two or more classes")
    others = np.where(np.eye(size.size, dtype=bool), 0.0, size)
    return np.asarray(np.diag(share) + (1 - share)[:, None] * others / others.sum(axis=1, keepdims=True))


def half_widths(
    sizes: npt.ArrayLike,
    shares: npt.ArrayLike,
    samples: Sequence[int],
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Floats:
    """Half-widths (upper − lower) / 2 of the honest interval of Σ W_h f_h, one for each of many simulated samples.

    Args:
        sizes: H, N_h of each stratum.
        shares: H, f_h: share of the stratum that is truly of the class; or that is mapped rightly.
        samples: H, n_h > 0.
        level: of confidence.
        draws: simulated samples.
        seed: of the random numbers; the same ones for all `samples`.

    Raises:
        SampleError: a stratum without samples, a share or a level outside 0 to 1, or values that do not fit.
    """
    size, share = _checked(sizes, shares)
    if len(samples) != size.size or any(number < 1 for number in samples):
        raise SampleError("a stratum gets no sample", fix="give each stratum one or more")
    chances = _chances(draws, size.size, seed)
    hits = np.stack([_counts(chances[:, h], samples[h], float(share[h])) for h in range(size.size)], axis=1)
    lower, upper = mover_jeffreys_sums(size / size.sum(), hits, samples, checked_level(level))
    return np.asarray((upper - lower) / 2)


def expected_half_width(
    sizes: npt.ArrayLike,
    shares: npt.ArrayLike,
    samples: Sequence[int],
    *,
    level: float = 0.95,
    quantile: float | None = None,
    relative: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """The mean half-width that a sample will give, or the one that it will keep with a chance of `quantile`.

    Args:
        sizes: as in `half_widths`.
        shares: as in `half_widths`.
        samples: as in `half_widths`.
        level: of confidence.
        quantile: between 0 and 1; None: the mean.
        relative: to the share of the population that is expected, Σ W_h f_h.
        draws: simulated samples.
        seed: of the random numbers.

    Raises:
        SampleError: as in `half_widths`, and nothing expected to which a width could be relative.
    """
    found = half_widths(sizes, shares, samples, level=level, draws=draws, seed=seed)
    if quantile is not None and not 0 < quantile < 1:
        raise SampleError(f"the quantile {quantile:g} is not between 0 and 1", fix="give 0.9 for nine cases of ten")
    width = float(found.mean() if quantile is None else np.quantile(found, quantile))
    if not relative:
        return width
    size, share = _checked(sizes, shares)
    expected = float(size @ share / size.sum())
    if expected == 0:
        raise SampleError("nothing of the class is expected", fix="give a small share where it may be missed")
    return width / expected


def smallest_sample(
    sizes: npt.ArrayLike,
    shares: npt.ArrayLike,
    target: float,
    split: Callable[[int], Sequence[int]],
    *,
    least: int,
    most: int = MOST_SAMPLES,
    level: float = 0.95,
    quantile: float | None = None,
    relative: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Precision:
    """The fewest samples whose expected half-width is no wider than the target.

    Totals are doubled from `least` until one will do, and the last step is halved until two neighbours differ. So a
    narrower target never needs fewer samples, even where chance makes the width rise a little with the total.

    Args:
        sizes: as in `half_widths`.
        shares: as in `half_widths`.
        target: half-width, as a share of the population or `relative` to that of the class.
        split: the samples of each stratum, from their total; see `allocation.allocate`.
        least: total from which on `split` has an answer.
        most: total beyond which none is tried; nor is any above the population's size.
        level: of confidence.
        quantile: as in `expected_half_width`.
        relative: as in `expected_half_width`.
        draws: simulated samples.
        seed: of the random numbers.

    Raises:
        SampleError: the target is out of reach, and what `expected_half_width` and `split` raise.
    """
    if not target > 0:
        raise SampleError(f"a half-width of {target:g} cannot be reached", fix="give a positive one")

    most = min(most, int(_checked(sizes, shares)[0].sum()))
    width = partial(expected_half_width, sizes, shares, level=level, quantile=quantile, relative=relative)

    def tried(total: int) -> Precision:
        samples = tuple(split(total))
        return Precision(samples, width(samples, draws=draws, seed=seed))

    below, total = least - 1, min(least, most)
    found = tried(total)
    while found.half_width > target:
        if total == most:
            raise SampleError(
                f"{most} samples give a half-width of {found.half_width:.3g}, and {target:.3g} is wanted",
                fix="allow more samples or a wider interval, or use strata that hold the errors apart",
            )
        below, total = total, min(2 * total, most)
        found = tried(total)
    while total - below > 1:
        middle = (below + total) // 2
        one = tried(middle)
        if one.half_width > target:
            below = middle
        else:
            total, found = middle, one
    return found


def _chances(draws: int, strata: int, seed: int) -> Floats:
    """Uniform numbers draws×strata, spread evenly over each column, which makes means more exact."""
    if draws < 1:
        raise SampleError("no simulated samples", fix=f"give some {DRAWS}")
    random = np.random.default_rng(seed)
    places = random.permuted(np.tile(np.arange(draws)[:, None], strata), axis=0)
    return np.asarray((places + random.random((draws, strata))) / draws)


def _counts(chances: Floats, samples: int, share: float) -> Floats:
    """Binomial counts with the given cumulated probabilities."""
    spread = _TAIL * math.sqrt(samples * share * (1 - share)) + _TAIL
    first = max(math.floor(samples * share - spread), 0)
    last = min(math.ceil(samples * share + spread), samples)
    counts = np.arange(first, last)  # all but the last, whose cumulated probability is one
    return np.asarray(first + np.searchsorted(bdtr(counts, samples, share), chances), np.float64)


def _checked(sizes: npt.ArrayLike, shares: npt.ArrayLike) -> tuple[Floats, Floats]:
    size, share = np.asarray(sizes, np.float64), checked_shares(shares)
    if size.ndim != 1 or size.size == 0 or not np.all(np.isfinite(size) & (size > 0)):
        raise SampleError("a stratum has no units", fix="leave it out")
    if share.shape != size.shape:
        raise SampleError(f"{size.size} strata and {share.size} expected shares", fix="give one for each stratum")
    return size, share
