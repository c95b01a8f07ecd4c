"""Strata made from a map: by class, by change, by the risk that a class was missed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.risk import RiskPlan, plan_risk
from mapmend.core.errors import SampleError
from mapmend.core.stored import STEPS
from mapmend.sampling.population import CHANGE, Population

Ints = npt.NDArray[np.int64]

ALL, CHANGED, UNCHANGED, OTHER = "all", "changed", "unchanged", "other change"


@dataclass(frozen=True)
class Split:
    """Where the pixels of a code go: to one stratum, or by the steps of the probability to several.

    Attributes:
        strata: numbers of strata.
        cuts: rising steps, each the first of the next stratum; one less than there are strata.
    """

    strata: tuple[int, ...]
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True)
class StrataRule:
    """Which stratum holds a pixel, by its code and probability. Where that is unknown, the first of its code's does.

    Attributes:
        names: of the strata.
        splits: of each code.
    """

    names: tuple[str, ...]
    splits: Mapping[int, Split]

    def table(self) -> npt.NDArray[np.int16]:
        """Stratum by code · 256 + step up to the highest code, and at the end one −1 for all that is beyond."""
        table = np.full((max(self.splits) + 1, 256), -1, np.int16)
        for code, split in self.splits.items():
            for first, stratum in zip((0, *split.cuts), split.strata, strict=True):
                table[code, first:] = stratum
            table[code, STEPS + 1 :] = split.strata[0]
        return np.append(table.ravel(), np.int16(-1))

    def of(self, keys: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
        """Strata of keys; −1 for none."""
        table = self.table()
        strata: npt.NDArray[np.int16] = table[np.minimum(keys, len(table) - 1).astype(np.intp)]
        return strata

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which the same strata can be made again."""
        splits = {str(code): {"strata": list(one.strata), "cuts": list(one.cuts)} for code, one in self.splits.items()}
        return {"names": list(self.names), "codes": splits}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            SampleError: the values do not say which stratum holds what.
        """
        try:
            splits = {
                int(code): Split(tuple(map(int, one["strata"])), tuple(map(int, one["cuts"])))
                for code, one in plain["codes"].items()
            }
            return cls(tuple(map(str, plain["names"])), splits)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise SampleError(
                "the design does not say how its strata were made", fix="give the design that `mapmend sample` wrote"
            ) from None


def single(population: Population) -> StrataRule:
    """One stratum of all pixels."""
    return StrataRule((ALL,), dict.fromkeys(population.codes, Split((0,))))


def by_class(population: Population) -> StrataRule:
    """A stratum for each class that the map has; of a from-to map, for each class and transition."""
    return StrataRule(population.names, {code: Split((at,)) for at, code in enumerate(population.codes)})


def by_transition(population: Population, least_share: float) -> StrataRule:
    """A stratum for each class that stayed, for each large transition, and one for all other change.

    Args:
        population: of a from-to map.
        least_share: of the changed area, from which on a transition has a stratum of its own.

    Raises:
        SampleError: the map is not of two dates.
    """
    _needs_two_dates(population)
    moved = list(zip(population.codes, population.changed, population.areas, population.names, strict=True))
    total = sum(area for _, changed, area, _ in moved if changed)
    small = [code for code, changed, area, _ in moved if changed and area < least_share * total]
    small = small if len(small) > 1 else []
    ordered = [one for one in moved if not one[1]] + [one for one in moved if one[1] and one[0] not in small]
    splits = {code: Split((number,)) for number, (code, *_) in enumerate(ordered)}
    splits |= dict.fromkeys(small, Split((len(ordered),)))
    return StrataRule((*(name for *_, name in ordered), *([OTHER] if small else [])), splits)


def by_change(population: Population) -> StrataRule:
    """Two strata: what changed and what did not.

    Raises:
        SampleError: the map is not of two dates.
    """
    _needs_two_dates(population)
    both = all(any(flag is changed for flag in population.changed) for changed in (True, False))
    names = (UNCHANGED, CHANGED) if both else (CHANGED,) if any(population.changed) else (UNCHANGED,)
    number = {False: 0, True: 1 if both else 0}
    splits = {
        code: Split((number[changed],)) for code, changed in zip(population.codes, population.changed, strict=True)
    }
    return StrataRule(names, splits)


def with_risk(
    population: Population, rule: StrataRule, target: str, total: int, minimum: int
) -> tuple[StrataRule, RiskPlan]:
    """Strata split by the probability of a class: where it is likely, in what the map gives to others.

    All pixels outside the class whose probability reaches a cut come together in a stratum of omission risk; the
    class's own stratum is split where that pays.

    Args:
        population: with probabilities of the target.
        rule: the strata so far.
        target: the class, or "change"; see `Population.members`.
        total: samples in all, for which the cuts are best.
        minimum: of samples in each stratum.

    Raises:
        SampleError: the class is in strata with others, or is nowhere probable, or samples are too few.
        LegendError: there is no such class.
    """
    inside = {population.codes[at] for at in population.members(target)}
    own = {stratum for code in inside for stratum in rule.splits[code].strata}
    if any(set(split.strata) & own for code, split in rule.splits.items() if code not in inside):
        raise SampleError(f"'{target}' shares a stratum with other classes", fix="choose strata by class or transition")
    histogram = np.zeros((len(rule.names), STEPS + 1))
    for at, code in enumerate(population.codes):
        histogram[rule.splits[code].strata[0]] += population.histogram[at] / population.pixel_area_ha
    rest = [number for number in range(len(rule.names)) if number not in own]
    if not rest:
        raise SampleError(f"all of the map is '{target}'", fix="leave the risk stratum out")
    rows = np.vstack([histogram[sorted(own)].sum(axis=0), histogram[rest]])
    plan = plan_risk(rows, 0, total, minimum=minimum, split_own=len(own) == 1)
    return _apply(rule, plan, own, target), plan


def _apply(rule: StrataRule, plan: RiskPlan, own: set[int], target: str) -> StrataRule:
    names, splits = list(rule.names), dict(rule.splits)
    risky = _bands(f"omission risk of {target}", plan.cuts, len(names))
    inside = _bands(f"{rule.names[min(own)]}, likely", plan.own_cuts, len(names) + len(risky))
    names += [*risky.values(), *inside.values()]
    for code, split in rule.splits.items():
        added, cuts = (inside, plan.own_cuts) if split.strata[0] in own else (risky, plan.cuts)
        splits[code] = Split((*split.strata, *added), cuts)
    return StrataRule(tuple(names), splits)


def _bands(name: str, cuts: tuple[int, ...], first: int) -> dict[int, str]:
    """Number and name of the stratum above each cut."""
    several = len(cuts) > 1
    return {first + at: f"{name} (p ≥ {cut / STEPS:g})" if several else name for at, cut in enumerate(cuts)}


def without_empty(rule: StrataRule, pixels: Ints) -> StrataRule:
    """The rule without strata that hold no pixel.

    Args:
        rule: the strata.
        pixels: of each stratum.
    """
    kept = np.flatnonzero(pixels).tolist()
    number = {old: new for new, old in enumerate(kept)}
    splits = {}
    for code, split in rule.splits.items():
        edges = [(cut, number[old]) for cut, old in zip((0, *split.cuts), split.strata, strict=True) if old in number]
        if edges:
            splits[code] = Split(tuple(new for _, new in edges), tuple(cut for cut, _ in edges[1:]))
    return StrataRule(tuple(rule.names[old] for old in kept), splits)


def _needs_two_dates(population: Population) -> None:
    if not population.source.two_dates:
        raise SampleError(
            f"strata of {CHANGE} need a from-to map", where=population.source.path, fix="give the folder of a change"
        )
