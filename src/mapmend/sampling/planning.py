"""How many units each stratum gets, and what intervals to expect of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.allocation import accuracy_spread, allocate, allocate_for_intervals
from mapmend.accuracy.planning import expected_half_width, shares_from_users, smallest_sample
from mapmend.core.errors import SampleError
from mapmend.core.stored import STEPS
from mapmend.sampling.population import Population
from mapmend.sampling.settings import ACCURACY, SampleSettings, width_of
from mapmend.sampling.strata import StrataRule

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TOTAL = 500
_MINIMUM = 30
_RIGHT, _RIGHT_UNCHANGED, _RIGHT_CHANGED = 0.8, 0.9, 0.7  # user's accuracies where nobody expects others


@dataclass(frozen=True)
class Expected:
    """What is expected in each stratum.

    Attributes:
        names: of the strata.
        sizes: H, of the strata in mean pixels.
        pixels: H.
        right: H, share that is mapped rightly.
        aims: of each name, H shares that truly are of it.
    """

    names: tuple[str, ...]
    sizes: Floats
    pixels: Ints
    right: Floats
    aims: Mapping[str, Floats]


def expect(
    population: Population, names: tuple[str, ...], sizes: Floats, pixels: Ints, mix: Floats, chosen: SampleSettings
) -> Expected:
    """What a map with the given user's accuracies, or with the given probabilities, has in its strata.

    Args:
        population: the map's.
        names: of the strata.
        sizes: H, of the strata in mean pixels.
        pixels: H.
        mix: H×codes×202, area of each code and step in each stratum; the last step is "unknown".
        chosen: aims, risk and user's accuracies.

    Raises:
        LegendError: a name that is unknown.
        SampleError: a class that the map does not have, or an accuracy outside 0 to 1.
    """
    users = _users(population, chosen.users)
    areas = np.array(population.areas)
    truly = shares_from_users(areas, users) if len(areas) > 1 else np.array([[users[0]]])
    by_code = mix.sum(axis=2)
    by_code /= by_code.sum(axis=1, keepdims=True)
    aims = {}
    for name in dict.fromkeys((*(one for one in chosen.aims if one != ACCURACY), *filter(None, [chosen.risk]))):
        members = list(population.members(name))
        aims[name] = np.clip((by_code @ truly)[:, members].sum(axis=1), 0, 1)
        if name == chosen.risk:
            aims[name] = _by_probability(mix, aims[name])
    return Expected(names, sizes, pixels, by_code @ users, aims)


def mix_of(keys: Ints, areas: Floats, rule: StrataRule, codes: Sequence[int]) -> Floats:
    """Area of each code and step in each stratum, H×codes×202; the last step is "unknown"."""
    mix = np.zeros((len(rule.names), len(codes), STEPS + 2))
    strata, places = rule.of(keys).astype(np.int64), np.searchsorted(np.array(codes), keys >> 8)
    np.add.at(mix, (strata, places, np.minimum(keys & 255, STEPS + 1)), areas)
    return mix


def plan_samples(expected: Expected, chosen: SampleSettings, *, area_ha: float) -> tuple[int, ...]:
    """Units of each stratum.

    Args:
        expected: in the strata.
        chosen: allocation, and total or target.
        area_ha: of the whole map.

    Raises:
        SampleError: a stratum smaller than the minimum, too few samples in all, or a target out of reach.
    """
    if chosen.minimum is not None and (expected.pixels < chosen.minimum).any():
        at = int(expected.pixels.argmin())
        smallest = int(expected.pixels[at])
        raise SampleError(
            f"stratum '{expected.names[at]}' has {smallest} pixels, fewer than the minimum of {chosen.minimum} samples",
            fix=f"lower the minimum to {smallest}, or leave it out",
        )
    split = splitter(expected, chosen)
    if not chosen.half_width:
        return split(chosen.total if chosen.total is not None else min(TOTAL, int(expected.pixels.sum())))
    target, relative = width_of(chosen.half_width)
    samples: list[int] = []
    for name in chosen.aims:
        shares = expected.right if name == ACCURACY else expected.aims[name]
        if name == ACCURACY and not relative:
            raise SampleError("an accuracy has no area", fix="give its half-width as '2 %'")
        found = smallest_sample(
            expected.sizes,
            shares,
            target if relative else target / area_ha,
            split,
            least=max(sum(samples), _least(expected, chosen)),
            most=int(expected.pixels.sum()),
            level=chosen.level,
            relative=relative and name != ACCURACY,
        )
        samples = list(found.samples)
    return tuple(samples)


def splitter(expected: Expected, chosen: SampleSettings) -> Callable[[int], tuple[int, ...]]:
    """From a total to the units of each stratum."""
    kind = chosen.allocation or ("optimal" if expected.aims else "proportional")
    if kind == "optimal" and not expected.aims:
        kind = "neyman"  # the overall accuracy is the only aim
    spread = accuracy_spread(expected.sizes, expected.right) if kind == "neyman" else None

    def split(total: int) -> tuple[int, ...]:
        minimum = chosen.minimum
        if minimum is None:
            minimum = min(_MINIMUM, max(2, total // (2 * len(expected.sizes))))
        if kind != "optimal":
            return allocate(expected.sizes, total, kind, spread=spread, minimum=minimum, most=expected.pixels)
        shares = np.column_stack(list(expected.aims.values()))
        return allocate_for_intervals(
            expected.sizes,
            shares,
            range(shares.shape[1]),
            total,
            level=chosen.level,
            minimum=minimum,
            most=expected.pixels,
        )

    return split


def half_widths(expected: Expected, samples: Sequence[int], level: float) -> dict[str, float]:
    """Expected half-width of the honest interval of each aim's share of the map, and of the overall accuracy."""
    wanted = {ACCURACY: expected.right, **expected.aims}
    return {name: expected_half_width(expected.sizes, shares, samples, level=level) for name, shares in wanted.items()}


def _least(expected: Expected, chosen: SampleSettings) -> int:
    minimum = 2 if chosen.minimum is None else max(chosen.minimum, 1)
    return int(np.minimum(expected.pixels, minimum).sum())


def _users(population: Population, given: Mapping[str, float]) -> Floats:
    """User's accuracy that is expected of each code."""
    if population.source.two_dates:
        users = np.where(population.changed, _RIGHT_CHANGED, _RIGHT_UNCHANGED)
    else:
        users = np.full(len(population.codes), _RIGHT)
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise SampleError(f"user's accuracy of '{name}' is {value:g}", fix="give 0.9 for 90 %")
        users[list(population.members(name))] = value
    return users


def _by_probability(mix: Floats, otherwise: Floats) -> Floats:
    """Mean probability in each stratum; what its class says where none is known."""
    by_step = mix.sum(axis=1)
    known = by_step[:, :-1].sum(axis=1)
    mean = by_step[:, :-1] @ np.arange(STEPS + 1) / STEPS / np.where(known > 0, known, 1)
    return np.where(known > 0, mean, otherwise)
