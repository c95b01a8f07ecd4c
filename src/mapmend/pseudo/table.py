"""The quality table of pseudo-labels: what was kept of each class, how sure it is, and how far the models agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from mapmend.core.legend import Legend
from mapmend.core.stored import STEPS
from mapmend.pseudo.tally import Tally

BINS = 10  # of the histogram, over confidences 0 to 1


@dataclass(frozen=True)
class ClassRow:
    """A class.

    Attributes:
        name: of the class.
        shown: pixels that the models show of it, each model's mean.
        agreed: pixels that all say together.
        kept: pixels that became a label.
        threshold: least confidence of these.
        kept_share: of what is shown.
        histogram: pixels that all say together by confidence, in tenths from 0 to 1.
    """

    name: str
    shown: float
    agreed: int
    kept: int
    threshold: float
    kept_share: float | None
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """Two models, counted from 1: the share of pixels on which they agree, and the IoU of each class of their maps."""

    models: tuple[int, int]
    pixels: float | None
    iou: tuple[float | None, ...]


@dataclass(frozen=True)
class Table:
    """What pseudo-labels hold.

    Attributes:
        classes: a row each.
        agreements: of each two models.
        mapped: pixels that the first model maps.
        kept_share: of these, what became a label.
    """

    classes: tuple[ClassRow, ...]
    agreements: tuple[Agreement, ...]
    mapped: int
    kept_share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, after JSON."""
        rows = tuple(ClassRow(**{**row, "histogram": tuple(row["histogram"])}) for row in plain["classes"])
        agreements = tuple(
            Agreement((one["models"][0], one["models"][1]), one["pixels"], tuple(one["iou"]))
            for one in plain["agreements"]
        )
        return cls(rows, agreements, plain["mapped"], plain["kept_share"])

    def lines(self) -> list[tuple[str, ...]]:
        """Head and rows of a table for readers."""
        head = ("class", "shown", "kept", "kept, %", "from confidence")
        rows = [
            (
                row.name,
                f"{row.shown:.0f}",
                str(row.kept),
                "" if row.kept_share is None else f"{100 * row.kept_share:.1f}",
                f"{row.threshold:.3f}",
            )
            for row in self.classes
        ]
        return [head, *rows]


def table_of(tally: Tally, legend: Legend, least: Sequence[int]) -> Table:
    """The table of what was counted, with the thresholds that were used."""
    shown = tally.shown.mean(0)
    edges = np.minimum(np.arange(STEPS + 1) * BINS // STEPS, BINS - 1)
    rows = tuple(
        ClassRow(
            name,
            float(shown[index]),
            int(tally.candidates[index].sum()),
            int(tally.kept[index]),
            least[index] / STEPS,
            float(tally.kept[index] / shown[index]) if shown[index] else None,
            tuple(np.bincount(edges, tally.candidates[index], BINS).astype(int).tolist()),
        )
        for index, name in enumerate(legend.names)
    )
    agreements = []
    for one, other in tally.pairs:
        pixels, iou = tally.agreement((one, other))
        agreements.append(Agreement((one + 1, other + 1), pixels, tuple(iou)))
    return Table(rows, tuple(agreements), tally.mapped, float(tally.kept.sum() / max(tally.mapped, 1)))
