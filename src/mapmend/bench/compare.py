"""Scores of trials side by side: mean and spread over seeds, and differences paired by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

EVERY = "mean"
"""Stands for all noises together."""


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; None where one seed has no spread."""

    mean: float
    sd: float | None


@dataclass(frozen=True)
class Difference:
    """Mean and standard error of differences paired by seed, and what follows: `equal` within two of them."""

    mean: float
    se: float | None

    @property
    def verdict(self) -> str:
        """Equal, better or worse; empty for one seed, which tells nothing of chance."""
        if self.se is None:
            return ""
        if abs(self.mean) <= 2 * self.se:
            return "equal"
        return "better" if self.mean > 0 else "worse"


@dataclass(frozen=True)
class Line:
    """A method on a kind of noise, mIoU.

    Attributes:
        noise: title, or `EVERY`.
        method: name of the preset.
        seeds: how many were run.
        label: of the noisy label.
        map: of the map that was learned from it.
        difference: of the map to the baseline's; None for itself, or where that was not run.
    """

    noise: str
    method: str
    seeds: int
    label: Spread
    map: Spread
    difference: Difference | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        plain = asdict(self)
        if self.difference is not None:
            plain["difference"]["verdict"] = self.difference.verdict
        return plain


def compare(rows: Sequence[Mapping[str, Any]], baseline: str) -> list[Line]:
    """A line for each noise and method, in the order of the rows, then for each method over all noises.

    Over all noises a seed's score is its mean over them, of seeds that have every one of them.

    Args:
        rows: `noise`, `method`, `seed`, and mIoU as `label` → `miou` and `map` → `miou`.
        baseline: the method that the others are compared with.
    """
    label: dict[tuple[str, str], dict[int, float]] = {}
    mapped: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        for kind, scores in (("label", label), ("map", mapped)):
            scores.setdefault((row["noise"], row["method"]), {})[row["seed"]] = row[kind]["miou"]
    noises, methods = (list(dict.fromkeys(pair[at] for pair in mapped)) for at in (0, 1))
    if len(noises) > 1:
        for method in methods:
            for scores in (label, mapped):
                parts = [scores.get((noise, method), {}) for noise in noises]
                seeds = [seed for seed in parts[0] if all(seed in part for part in parts)]
                if seeds:
                    scores[EVERY, method] = {seed: statistics.mean(part[seed] for part in parts) for seed in seeds}
    return [
        Line(
            noise,
            method,
            len(scores),
            spread_of(list(label[noise, method].values())),
            spread_of(list(scores.values())),
            None if method == baseline else paired(scores, mapped.get((noise, baseline), {})),
        )
        for (noise, method), scores in mapped.items()
    ]


def spread_of(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    return Spread(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def paired(scores: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Scores minus a baseline's, by seed; None where they share no seed."""
    differences = [value - baseline[seed] for seed, value in scores.items() if seed in baseline]
    if not differences:
        return None
    spread = spread_of(differences)
    return Difference(spread.mean, None if spread.sd is None else spread.sd / math.sqrt(len(differences)))
