"""From answered units to figures, each design by its own estimator.

- `matched`: the strata are the map's classes (Olofsson et al. 2014), without finite-population correction.
- `stratified`: the strata are others (Stehman 2014), with the correction.
- `post`: a simple random sample weighted by the map's classes after the draw (Cochran 1977, 5A.42); intervals are
  conditional on how many units fell into each class.
- `plain`: a simple random sample.
- `clusters`: whole patches; intervals are those of `design_intervals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.design_intervals import of_clusters
from mapmend.accuracy.estimators import Estimate, olofsson
from mapmend.accuracy.intervals import (
    AccuracyIntervals,
    Interval,
    counted,
    mover_jeffreys_sum,
    of_matrix,
    of_table,
)
from mapmend.accuracy.stratified import accuracies, clusters, stratified_ratio
from mapmend.accuracy.two_phase import post_stratified_ratio
from mapmend.assessing.figure import NO_FIGURE, Accuracy, Figure, accuracy_of, figure_of

Ints = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

FORMS = {
    "matched": "Olofsson et al. 2014, without finite-population correction",
    "stratified": "Stehman 2014, with finite-population correction",
    "post": "post-stratified by the map's classes (Cochran 1977, 5A.42), with finite-population correction",
    "plain": "simple random sampling, with finite-population correction",
    "clusters": "totals of patches (Stehman 2014, ratios), with finite-population correction",
}


@dataclass(frozen=True)
class Units:
    """Answered units of a sample.

    Attributes:
        form: key of `FORMS`.
        stratum: n, index of each unit's stratum: the design's, or the one given after the draw.
        sizes: H, of the strata, in mean pixels; in patches for clusters.
        patches: n, of each unit, for clusters.
    """

    form: str
    stratum: Ints
    sizes: Floats
    patches: Ints | None = None

    @property
    def weights(self) -> Floats:
        """Share of each stratum."""
        weights: Floats = self.sizes / self.sizes.sum()
        return weights

    @property
    def answered(self) -> Ints:
        """Answered units of each stratum; patches for clusters."""
        stratum = self.stratum
        if self.patches is not None:
            stratum = stratum[np.unique(self.patches, return_index=True)[1]]
        return np.bincount(stratum, minlength=self.sizes.size)

    def within(self, chosen: Bool) -> Units:
        """The units for which `chosen`, of the same strata."""
        return replace(
            self,
            stratum=self.stratum[chosen],
            patches=None if self.patches is None else self.patches[chosen],
        )

    def ratio(self, y: npt.ArrayLike, x: npt.ArrayLike) -> Estimate:
        """Σ y / Σ x over the population; every stratum must have a unit."""
        if self.form == "post":
            return post_stratified_ratio(self.stratum, y, x, self.sizes)
        if self.patches is None:
            return stratified_ratio(self.stratum, y, x, self.sizes, correction=self.form != "matched")
        _, first, member = np.unique(self.patches, return_index=True, return_inverse=True)
        above, below = (np.bincount(member, np.asarray(each, np.float64)) for each in (y, x))
        return stratified_ratio(self.stratum[first], above, below, self.sizes)


def share(units: Units, hits: Bool, level: float) -> Figure:
    """The share of the population of which `hits` are the units found."""
    if (units.answered == 0).any():
        return NO_FIGURE
    estimate = units.ratio(hits, np.ones(len(hits)))
    if units.patches is not None:
        truth = hits.astype(np.intp)
        return figure_of(estimate, _of_clusters(units, truth, truth, 2, level).areas[1], level)
    found, tried = (np.bincount(units.stratum, each, units.sizes.size) for each in (hits, np.ones(len(hits))))
    return figure_of(estimate, mover_jeffreys_sum(units.weights, found, tried, level), level)


def judge(
    units: Units,
    mapped: Ints,
    reference: Ints,
    classes: int,
    level: float,
    possible: Bool | None = None,
) -> Accuracy:
    """Accuracy and areas; where a stratum has no answer, what does not depend on it.

    Args:
        units: the answered units.
        mapped: n, index of each unit's class in the map.
        reference: n, index of its true class.
        classes: K.
        level: of confidence.
        possible: H×K, whether the map has the class anywhere in the stratum; None: all may be.
    """
    empty = units.answered == 0
    may = np.ones((empty.size, classes), bool) if possible is None else possible
    none = (NO_FIGURE,) * classes
    if empty.all():
        return Accuracy(NO_FIGURE, none, none, none, (none,) * classes)
    live = replace(units, stratum=(np.cumsum(~empty) - 1)[units.stratum], sizes=units.sizes[~empty])
    if live.patches is not None:
        estimates = clusters(live.patches, live.stratum, mapped, reference, live.sizes, classes)
        found = accuracy_of(estimates, _of_clusters(live, mapped, reference, classes, level), level)
    else:
        table = counted(live.stratum, mapped, reference, live.sizes.size, classes)
        limits = of_table(table, live.sizes, level, possible=may[~empty])
        found = accuracy_of(accuracies(mapped, reference, classes, live.ratio), limits, level)
    if not empty.any():
        return found
    left = float(live.sizes.sum() / units.sizes.sum())
    return _without(found, may[empty].any(axis=0), [[_times(cell, left) for cell in row] for row in found.cells])


def matched_matrix(counts: npt.ArrayLike, sizes: npt.ArrayLike, level: float) -> Accuracy:
    """Figures from a matrix K×K, [map, reference], whose rows are the strata; see `estimators.olofsson`.

    Raises:
        SampleError: see `estimators.checked_matrix`.
    """
    return accuracy_of(olofsson(counts, sizes), of_matrix(counts, sizes, level), level)


def _without(found: Accuracy, missing: Bool, cells: Sequence[Sequence[Figure]]) -> Accuracy:
    """What is left where strata have no answer: nothing that depends on them.

    Args:
        found: figures of the strata with answers.
        missing: K, classes of the map that may be in the others.
        cells: K×K, as shares of the whole population.
    """
    none = (NO_FIGURE,) * len(missing)
    return Accuracy(
        overall=NO_FIGURE,
        users=tuple(NO_FIGURE if lost else figure for lost, figure in zip(missing, found.users, strict=True)),
        producers=none,
        areas=none,
        cells=tuple(none if lost else tuple(row) for lost, row in zip(missing, cells, strict=True)),
    )


def _times(figure: Figure, factor: float) -> Figure:
    value, se = (None if each is None else each * factor for each in (figure.estimate, figure.se))
    return Figure(value, se, _scaled(figure.interval, factor), _scaled(figure.wald, factor))


def _scaled(interval: Interval | None, factor: float) -> Interval | None:
    return None if interval is None else Interval(interval.lower * factor, interval.upper * factor)


def _of_clusters(units: Units, mapped: Ints, reference: Ints, classes: int, level: float) -> AccuracyIntervals:
    assert units.patches is not None
    names, first, member = np.unique(units.patches, return_index=True, return_inverse=True)
    totals = counted(member, mapped, reference, names.size, classes)
    return of_clusters(totals, units.stratum[first], units.sizes, level)
