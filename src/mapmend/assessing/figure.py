"""A figure: an estimate with its standard error and both intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mapmend.accuracy.estimators import AccuracyEstimates, Estimate
from mapmend.accuracy.intervals import AccuracyIntervals, Interval, wald


@dataclass(frozen=True)
class Figure:
    """An estimate with its standard error and both intervals; None where undefined."""

    estimate: float | None
    se: float | None
    interval: Interval | None
    wald: Interval | None

    def to_dict(self, scale: float = 1.0) -> dict[str, Any]:
        """Plain values, for JSON, each times `scale`."""

        def limits(interval: Interval | None) -> list[float] | None:
            return None if interval is None else [interval.lower * scale, interval.upper * scale]

        return {
            "estimate": None if self.estimate is None else self.estimate * scale,
            "se": None if self.se is None else self.se * scale,
            "interval": limits(self.interval),
            "wald": limits(self.wald),
        }


NO_FIGURE = Figure(None, None, None, None)


@dataclass(frozen=True)
class Accuracy:
    """Figures of a map of K classes.

    Attributes:
        overall: overall accuracy.
        users: user's accuracy of each class.
        producers: producer's accuracy of each class.
        areas: share of the population that is truly of each class.
        cells: K×K, [map][reference], shares of the population.
    """

    overall: Figure
    users: tuple[Figure, ...]
    producers: tuple[Figure, ...]
    areas: tuple[Figure, ...]
    cells: tuple[tuple[Figure, ...], ...]


def figure_of(estimate: Estimate, interval: Interval | None, level: float) -> Figure:
    """The figure of an estimate; without one there is no interval either."""
    return Figure(estimate.value, estimate.se, None if estimate.value is None else interval, wald(estimate, level))


def accuracy_of(estimates: AccuracyEstimates, limits: AccuracyIntervals, level: float) -> Accuracy:
    """Figures of estimates and their intervals."""

    def row(values: tuple[Estimate, ...], intervals: tuple[Interval | None, ...]) -> tuple[Figure, ...]:
        return tuple(figure_of(*pair, level) for pair in zip(values, intervals, strict=True))

    return Accuracy(
        overall=figure_of(estimates.overall, limits.overall, level),
        users=row(estimates.users, limits.users),
        producers=row(estimates.producers, limits.producers),
        areas=row(estimates.areas, limits.areas),
        cells=tuple(row(*pair) for pair in zip(estimates.cells, limits.cells, strict=True)),
    )
