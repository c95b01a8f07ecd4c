"""How far two interpreters agree on the points that both answered, and what it does to the areas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mapmend.assessing.figure import Figure
from mapmend.assessing.inference import Ints


@dataclass(frozen=True)
class Agreement:
    """Two interpreters' answers to the same points.

    Attributes:
        first: name of one.
        second: name of the other.
        names: of the K classes.
        counts: K×K points, [first][second].
    """

    first: str
    second: str
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def points(self) -> int:
        """Points that both answered."""
        return sum(map(sum, self.counts))

    @property
    def overall(self) -> float | None:
        """Share of these on which they agree."""
        same = sum(self.counts[k][k] for k in range(len(self.names)))
        return same / self.points if self.points else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa; None where both always gave the same single class."""
        table = np.array(self.counts, np.float64)
        number = table.sum()
        if not number:
            return None
        chance = float(table.sum(axis=0) @ table.sum(axis=1)) / number**2
        return None if chance == 1 else (float(np.trace(table)) / number - chance) / (1 - chance)

    def of_class(self, k: int) -> float | None:
        """Specific agreement: 2 × both said it / (first said it + second said it); None where neither did."""
        said = sum(self.counts[k]) + sum(row[k] for row in self.counts)
        return 2 * self.counts[k][k] / said if said else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "points": self.points,
            "agreement": self.overall,
            "kappa": self.kappa,
            "classes": [{"name": name, "agreement": self.of_class(k)} for k, name in enumerate(self.names)],
            "counts": [list(row) for row in self.counts],
        }


@dataclass(frozen=True)
class ByInterpreter:
    """What one interpreter's answers alone give.

    Attributes:
        name: of the interpreter.
        points: answered.
        areas: K, as shares of the population.
    """

    name: str
    points: int
    areas: tuple[Figure, ...]


@dataclass(frozen=True)
class Interpreters:
    """All who answered, in the order in which they are named first.

    Attributes:
        names: of the K classes.
        total_ha: area of the population.
        each: their own estimates.
        agreements: of every two who share points.
    """

    names: tuple[str, ...]
    total_ha: float
    each: tuple[ByInterpreter, ...]
    agreements: tuple[Agreement, ...]

    def range_ha(self, k: int) -> tuple[float, float] | None:
        """Smallest and largest estimate of a class's area among the interpreters."""
        found = [one.areas[k].estimate for one in self.each]
        known = [value * self.total_ha for value in found if value is not None]
        return (min(known), max(known)) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; areas in hectares."""
        return {
            "each": [
                {
                    "name": one.name,
                    "points": one.points,
                    "area_ha": [figure.to_dict(self.total_ha) for figure in one.areas],
                }
                for one in self.each
            ],
            "area_range_ha": [
                {"name": name, "range": None if (found := self.range_ha(k)) is None else list(found)}
                for k, name in enumerate(self.names)
            ],
            "agreement": [one.to_dict() for one in self.agreements],
        }


def agreement(first: tuple[str, Ints], second: tuple[str, Ints], names: tuple[str, ...]) -> Agreement | None:
    """The agreement of two interpreters; None where they share no point.

    Args:
        first: name, and the class index of each point, -1 where there is no answer.
        second: the same of the other.
        names: of the classes.
    """
    both = (first[1] >= 0) & (second[1] >= 0)
    if not both.any():
        return None
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (first[1][both], second[1][both]), 1)
    return Agreement(first[0], second[0], names, tuple(map(tuple, counts.tolist())))
