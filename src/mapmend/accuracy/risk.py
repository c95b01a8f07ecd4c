"""Strata of omission risk: where a map that lacks a class may have missed it, by the class's calibrated probability.

One omitted sample in a large stratum can make up most of a rare class's variance. The pixels of the other classes
whose probability of the class is at or above a cut become a stratum of their own; the large ones they leave are then
nearly free of omissions. The best cuts make Σ N_h S_h least, to which the standard error of Neyman's allocation is in
proportion (Cochran 1977, Sampling Techniques, sections 5.5 and 5A.7); they are searched among all steps of the
probability, so that no others are better.

Probabilities are not believed to the last (`allocation.doubted`): a share of the class's area is taken to lie anywhere.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.allocation import DOUBT, MINIMUM, allocate, expected_se
from mapmend.accuracy.estimators import Floats
from mapmend.core.errors import SampleError
from mapmend.core.stored import STEPS

WORTH = 0.005  # by what share one more cut has to lower the standard error: that of one sample in a hundred
MOST_BANDS = 3
_LEAST_SHARE = 1e-4  # that any stratum is expected to hold, and to lack, of any class
_LEAST_PIXELS = 1000


@dataclass(frozen=True)
class RiskStratum:
    """A stratum of pixels by their class in the map and their probability of the target class.

    Attributes:
        map_class: index; None: all classes but the target.
        first: lowest step of the probability.
        last: highest step.
        size: its pixels, or their area, as in the histogram.
        share: of it that is expected to be of the target class.
        samples: n_h.
    """

    map_class: int | None
    first: int
    last: int
    size: float
    share: float
    samples: int


@dataclass(frozen=True)
class RiskPlan:
    """Strata for the area of a class, and what they gain.

    Attributes:
        target: the class's index.
        cuts: steps at which strata of risk begin, among all pixels not mapped as the target; those below the first
            stay with their class. Empty where no such stratum is worth its samples.
        own_cuts: the same, splitting the target's own pixels.
        strata: in the order of `index`.
        se: standard error expected of the class's share of the population.
        se_by_class: the same with the map's classes as strata, Neyman's allocation, and as many samples.
    """

    target: int
    cuts: tuple[int, ...]
    own_cuts: tuple[int, ...]
    strata: tuple[RiskStratum, ...]
    se: float
    se_by_class: float

    @property
    def gain(self) -> float:
        """By what share the standard error falls."""
        return 1 - self.se / self.se_by_class

    @property
    def samples(self) -> tuple[int, ...]:
        """n_h of each stratum."""
        return tuple(one.samples for one in self.strata)

    def index(self, classes: int) -> npt.NDArray[np.intp]:
        """Which stratum holds a pixel: classes×201 by its class in the map and its step; −1 where there were none."""
        table = np.full((classes, STEPS + 1), -1, np.intp)
        for number, one in enumerate(self.strata):
            rows = [one.map_class] if one.map_class is not None else [k for k in range(classes) if k != self.target]
            table[rows, one.first : one.last + 1] = number
        return table


def plan_risk(
    histogram: npt.ArrayLike,
    target: int,
    total: int,
    *,
    minimum: int = MINIMUM,
    least_pixels: float = _LEAST_PIXELS,
    most_bands: int = MOST_BANDS,
    split_own: bool = True,
    worth: float = WORTH,
    doubt: float = DOUBT,
) -> RiskPlan:
    """The strata that make the standard error of a class's area least.

    All numbers of strata of risk up to `most_bands` are tried, with and without a split of the class's own stratum,
    each with its best cuts and its whole-number allocation. Cuts are made only where each lowers the standard error
    by `worth`.

    Args:
        histogram: K×201 pixels, or their areas in mean pixels, by class in the map and step of the target's
            probability.
        target: index of the class whose area is wanted.
        total: samples in all.
        minimum: of samples in each stratum.
        least_pixels: of a stratum of risk, and of both parts of the class's own.
        most_bands: most strata of risk.
        split_own: whether the class's own stratum may be split.
        worth: from 0 to less than 1.
        doubt: see `allocation.doubted`.

    Raises:
        SampleError: a histogram or class that makes no sense, or too few samples.
    """
    counts, minimum = _checked(histogram, target), max(minimum, 1)
    found = _expected(counts, doubt)
    others = np.arange(len(counts)) != target
    of_others = [
        best_cuts(counts[others], found[others], number, least_pixels, pooled=True) for number in range(most_bands + 1)
    ]
    of_own = [best_cuts(counts[~others], found[~others], number, least_pixels) for number in range(1 + split_own)]
    plans: list[RiskPlan] = []
    by_class = 0.0
    for cuts, own_cuts in itertools.product(of_others, of_own):
        if cuts is None or own_cuts is None:
            continue
        strata = _strata(counts, found, target, cuts, own_cuts)
        if plans and total < sum(min(minimum, one.size) for one in strata):
            continue
        strata, se = _allocated(strata, total, minimum)
        by_class = by_class or se  # the first has no cuts
        plans.append(RiskPlan(target, cuts, own_cuts, strata, se, by_class))
    return min(plans, key=lambda plan: plan.se / (1 - worth) ** len(plan.cuts + plan.own_cuts))


def best_cuts(
    counts: Floats, found: Floats, number: int, least: float = 0.0, *, pooled: bool = False
) -> tuple[int, ...] | None:
    """The steps that cut a histogram so that Σ N_h S_h is least, by dynamic programming over the 201 steps.

    Args:
        counts: K×201 pixels.
        found: K×201, how many of them are expected to be of the target class.
        number: of cuts.
        least: pixels that a stratum must have.
        pooled: the rows are one stratum from the first cut on, and one each below it, which may be smaller; otherwise
            they are one everywhere.

    Returns:
        Rising steps, each the first of a stratum; None where strata cannot be that large.
    """
    if number == 0:
        return ()
    steps = counts.shape[1]
    size = _cumulated(counts.sum(axis=0))
    hits = _cumulated(found.sum(axis=0))
    cost = _cost(size[None, :] - size[:, None], hits[None, :] - hits[:, None])  # [first, one past the last]
    large = size[None, :] - size[:, None] >= max(least, np.finfo(float).tiny)
    cost = np.where(large, cost, np.inf)
    below = cost[0]  # [one past the last]
    if pooled:
        below = _cost(_cumulated(counts), _cumulated(found)).sum(axis=0)
        below[0] = np.inf  # no class is to lose all of its own stratum to a cut
    reached, choices = below, []
    for _ in range(number):
        through = reached[:, None] + cost
        choices.append(np.argmin(through, axis=0))
        reached = through.min(axis=0)
    if not np.isfinite(reached[steps]):
        return None
    cuts: list[int] = []
    end = steps
    for choice in reversed(choices):
        end = int(choice[end])
        cuts.insert(0, end)
    return tuple(cuts)


def _strata(
    counts: Floats, found: Floats, target: int, cuts: tuple[int, ...], own_cuts: tuple[int, ...]
) -> tuple[RiskStratum, ...]:
    """The strata that cuts make, without samples; those without pixels are left out."""
    others = [k for k in range(len(counts)) if k != target]
    end = STEPS + 1
    parts: list[tuple[int | None, int, int]] = []
    for k in range(len(counts)):
        edges = (0, *own_cuts, end) if k == target else (0, cuts[0] if cuts else end)
        parts += [(k, *pair) for pair in itertools.pairwise(edges)]
    parts += [(None, *pair) for pair in itertools.pairwise((*cuts, end))]
    strata = []
    for own, first, past in parts:
        rows = others if own is None else [own]
        size, hits = (float(each[rows, first:past].sum()) for each in (counts, found))
        if size > 0:
            share = min(max(hits / size, _LEAST_SHARE), 1 - _LEAST_SHARE)
            strata.append(RiskStratum(own, first, past - 1, size, share, 0))
    return tuple(strata)


def _allocated(strata: tuple[RiskStratum, ...], total: int, minimum: int) -> tuple[tuple[RiskStratum, ...], float]:
    sizes, shares = (np.array([getattr(one, name) for one in strata]) for name in ("size", "share"))
    samples = allocate(sizes, total, "optimal", spread=np.sqrt(shares * (1 - shares)), minimum=minimum)
    with_samples = tuple(replace(one, samples=number) for one, number in zip(strata, samples, strict=True))
    return with_samples, expected_se(sizes, shares, samples)


def _expected(counts: Floats, doubt: float) -> Floats:
    """How many pixels of each cell are expected to be of the target class."""
    probability = np.arange(STEPS + 1) / STEPS
    overall = float((counts * probability).sum() / counts.sum())
    return counts * ((1 - doubt) * probability + doubt * overall)


def _cost(size: Floats, hits: Floats) -> Floats:
    """N S of strata of `size` pixels of which `hits` are of the class; 0 where there are none."""
    share = np.clip(hits / np.where(size > 0, size, 1.0), _LEAST_SHARE, 1 - _LEAST_SHARE)
    return np.asarray(np.where(size > 0, size, 0.0) * np.sqrt(share * (1 - share)))


def _cumulated(values: Floats) -> Floats:
    """Sums of the first 0, 1, … entries of the last axis."""
    return np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)


def _checked(histogram: npt.ArrayLike, target: int) -> Floats:
    counts: Floats = np.asarray(histogram, np.float64)
    if counts.ndim != 2 or counts.shape[1] != STEPS + 1 or not np.all(np.isfinite(counts) & (counts >= 0)):
        raise SampleError("the histogram of probabilities makes no sense", fix=f"give pixels in {STEPS + 1} steps")
    if not 0 <= target < len(counts):
        raise SampleError(f"there is no class {target} in the histogram", fix=f"give an index below {len(counts)}")
    if not (counts * np.arange(STEPS + 1)).any():
        raise SampleError("the target class is nowhere probable", fix="name another class")
    return counts
