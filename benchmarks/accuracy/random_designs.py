"""Random designs whose truth is known, estimates of many draws at once, and a count of how often limits hold it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Values = dict[str, Floats]


@dataclass(frozen=True)
class Design:
    """Shares of the map W_i, shares of the reference's classes in each map class f_ij, and samples n_i."""

    weights: Floats
    shares: Floats
    samples: npt.NDArray[np.int64]

    @property
    def truth(self) -> Values:
        """The true value of everything that is estimated."""
        return {name: value[0] for name, value in statistics(self.shares[None], self.weights).items()}


def random_design(rng: np.random.Generator, sparse: bool) -> Design:
    """A design as the head of this file says."""
    classes = int(rng.integers(2, 9))
    weights = 10 ** rng.uniform(-2.5 if sparse else -2, 0, classes)
    weights /= weights.sum()
    users = rng.uniform(0.5, 0.99, classes)
    errors = rng.gamma(0.7, size=(classes, classes)) * (weights if rng.random() < 0.5 else 1)
    np.fill_diagonal(errors, 0)
    shares = errors / errors.sum(axis=1, keepdims=True) * (1 - users)[:, None]
    np.fill_diagonal(shares, users)
    if sparse:
        total, least = round(50 * 20 ** rng.random()), round(5 * 10 ** rng.random())
    else:
        total, least = int(rng.integers(50, 1001)), int(rng.integers(5, 51))
    least = min(least, total // classes)
    kind = rng.integers(3)
    spread = (np.ones(classes), weights, weights * np.sqrt(users * (1 - users)))[kind]
    rest = spread / spread.sum() * (total - least * classes)
    samples = np.floor(rest).astype(np.int64)
    samples[np.argsort(samples - rest)[: total - least * classes - samples.sum()]] += 1
    return Design(weights, shares, samples + least)


def statistics(shares: Floats, weights: Floats) -> Values:
    """Every estimate from shares of the strata …×K×K; NaN where undefined."""
    cells = weights[:, None] * shares
    correct, areas = np.diagonal(cells, axis1=-2, axis2=-1), cells.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        producers = correct / areas
    users = np.diagonal(shares, axis1=-2, axis2=-1)
    return {"areas": areas, "overall": correct.sum(-1), "users": users, "producers": producers, "cells": cells}


def classical(counts: Floats, weights: Floats) -> Values:
    """Standard errors of Olofsson et al. 2014 for many draws at once."""
    samples = counts.sum(axis=-1, keepdims=True)
    shares = counts / samples
    variances = shares * (1 - shares) / (samples - 1)
    parts = weights[:, None] ** 2 * variances
    found = statistics(shares, weights)
    own = np.diagonal(parts, axis1=-2, axis2=-1)
    accuracy = found["producers"]
    with np.errstate(invalid="ignore", divide="ignore"):
        omitted = parts.sum(axis=-2) - own
        producers = ((1 - accuracy) ** 2 * own + accuracy**2 * omitted) / found["areas"] ** 2
    users = np.diagonal(variances, axis1=-2, axis2=-1)
    squares = {"areas": parts.sum(-2), "overall": own.sum(-1), "users": users, "producers": producers, "cells": parts}
    return {name: np.sqrt(np.maximum(square, 0)) for name, square in squares.items()}


class Tally:
    """How often limits hold the truth, by level, method and kind."""

    def __init__(self, truth: Values) -> None:
        self.truth = truth
        self.sums: dict[tuple[float, str, str], list[Floats]] = {}

    def add(self, level: float, method: str, kind: str, lower: Floats, upper: Floats) -> None:
        """Count draws …, whose undefined limits are NaN."""
        defined, truth = ~np.isnan(lower), self.truth[kind]
        # a truth of exactly 1, in two ways of adding, must not fall beside a limit of 1
        held = defined & (lower <= truth + 1e-12) & (truth - 1e-12 <= upper)
        width = np.where(defined, upper - lower, 0)
        new = [np.asarray(each, np.float64) for each in (defined.sum(0), held.sum(0), width.sum(0), len(lower))]
        old = self.sums.get((level, method, kind))
        self.sums[level, method, kind] = new if old is None else [a + b for a, b in zip(old, new, strict=True)]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Coverage, mean width and share of undefined draws, as plain values."""
        for (level, method, kind), (defined, held, width, number) in self.sums.items():
            some = np.maximum(defined, 1)
            values = {"coverage": held / some, "width": width / some, "undefined": 1 - defined / number}
            flat = {name: np.ravel(value).round(6).tolist() for name, value in values.items()}
            yield {"level": level, "method": method, "kind": kind, **flat}
