"""Tests that a share is below a limit, from blocks of pixels: the blocks are drawn, never the pixels.

Of every block the *excess* e_b = false_b - α·called_b is given; the share Σ false / Σ called is below α exactly where
the mean excess is below 0. The hypothesis that a small p-value speaks against is: the mean excess is 0 or more. Each
test takes n×T excesses, T thresholds at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

_DRAWS = 999
_BOLDEST = 0.9  # of the largest bet that cannot go below nothing

Floats = npt.NDArray[np.float64]


def student_t(excess: Floats, doubt: Floats | None = None, widening: float = 1.0) -> Floats:
    """p-values T of the t-test over blocks; too small where few blocks hold most of the errors.

    Args:
        excess: n×T.
        doubt: T, excess of one imagined block more.
        widening: of the standard error, for a promise about finitely many other blocks.
    """
    found: Floats = stats.t.cdf(_statistic(excess, doubt, widening), len(excess) - 1)
    return found


def bootstrap_t(excess: Floats, doubt: Floats | None = None, widening: float = 1.0, seed: int = 0) -> Floats:
    """p-values T of the studentised bootstrap over blocks, which sees the errors' skewness (Hall 1988).

    Args:
        excess: n×T.
        doubt: T, excess of one imagined block more; it counts in the statistic and is never drawn.
        widening: of the standard error, for a promise about finitely many other blocks.
        seed: of the draws; one for all thresholds.
    """
    blocks = len(excess)
    weights = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), _DRAWS) / blocks
    means = weights @ excess
    variances = weights @ excess**2 - means**2
    alike = variances <= (1e-6 * np.abs(excess).max(0)) ** 2  # every drawn block the same, up to rounding
    errors = np.sqrt(np.where(alike, 0, variances) / (blocks - 1))
    shifts = np.where(alike & (np.ptp(excess, axis=0) == 0), 0, means - excess.mean(0))
    drawn = np.where(shifts == 0, 0, _studentised(shifts, errors))
    found: Floats = ((drawn <= _statistic(excess, doubt, widening)).sum(0) + 1) / (_DRAWS + 1)
    return found


def betting(excess: Floats, alpha: float, largest: float, delta: float, seed: int = 0) -> Floats:
    """p-values T by betting against a mean of 0 or more, block after block: valid for any distribution.

    Waudby-Smith & Ramdas 2024 (J. R. Stat. Soc. B 86), predictable plug-in bets for x_b = e_b/largest + α in [0, 1],
    whose mean is at least α under the hypothesis; by Ville's inequality 1 over the highest capital is a p-value. The
    best a bet can do is a factor of 1/(1 - α) for a block that is called whole and flawless, so that at α = δ = .05
    nothing is promised below 59 such blocks, and the fewer of its pixels a block has called, the more blocks it takes.

    Args:
        excess: n×T.
        alpha: the limit.
        largest: pixels of the largest block there can be.
        delta: the risk that the bets are made for.
        seed: of the blocks' order.
    """
    order = np.random.default_rng(seed).permutation(len(excess))
    values = np.clip(excess[order] / largest + alpha, 0, 1)
    boldest = _BOLDEST / (1 - alpha)
    fortune, highest = np.zeros(values.shape[1]), np.zeros(values.shape[1])  # logarithms
    total, squares = np.full_like(fortune, 0.5), np.full_like(fortune, 0.25)
    for number, value in enumerate(values, start=1):
        bet = np.minimum(np.sqrt(2 * np.log(1 / delta) / (len(values) * squares / number)), boldest)
        fortune += np.log1p(bet * (alpha - value))
        highest = np.maximum(highest, fortune)
        total += value
        squares += (value - total / (number + 1)) ** 2
    found: Floats = np.exp(-highest)
    return found


def _statistic(excess: Floats, doubt: Floats | None, widening: float) -> Floats:
    every = excess if doubt is None else np.concatenate([excess, doubt[None]])
    return _studentised(every.mean(0), every.std(0, ddof=1) / np.sqrt(len(every)) * widening)


def _studentised(mean: Floats, error: Floats) -> Floats:
    """Mean over its standard error, infinite with its sign where the error is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error > 0, mean / error, np.where(mean < 0, -np.inf, np.inf))
