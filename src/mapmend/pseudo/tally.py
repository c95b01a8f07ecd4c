"""What is counted while labels are made: pixels by class and confidence, and how far models agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from mapmend.core.classes import NODATA
from mapmend.core.stored import STEPS
from mapmend.pseudo.combining import Bytes, Ints, histogram


@dataclass
class Tally:
    """Counts over all places.

    Attributes:
        classes: K.
        models: whose maps are compared.
        mapped: pixels that the first model maps.
        shown: pixels of each class in the models' maps, models×K.
        candidates: pixels that all agree on, by class and confidence, K×201.
        pairs: of each two models, how often one shows class i and the other class j, K×K.
        kept: pixels that became a label, K.
    """

    classes: int
    models: int
    mapped: int = 0
    shown: Ints = field(init=False)
    candidates: Ints = field(init=False)
    pairs: dict[tuple[int, int], Ints] = field(init=False)
    kept: Ints = field(init=False)

    def __post_init__(self) -> None:
        self.shown = np.zeros((self.models, self.classes), np.int64)
        self.candidates = np.zeros((self.classes, STEPS + 1), np.int64)
        self.pairs = {
            pair: np.zeros((self.classes, self.classes), np.int64) for pair in combinations(range(self.models), 2)
        }
        self.kept = np.zeros(self.classes, np.int64)

    def count(self, maps: Sequence[Bytes], label: Bytes, confidence: Bytes) -> None:
        """Count a window: each model's classes H×W, and what they say together."""
        self.mapped += int((maps[0] != NODATA).sum())
        for number, index in enumerate(maps):
            self.shown[number] += np.bincount(index.ravel(), minlength=256)[: self.classes]
        for (one, other), counts in self.pairs.items():
            known = (maps[one] != NODATA) & (maps[other] != NODATA)
            flat = maps[one][known].astype(np.int64) * self.classes + maps[other][known]
            counts += np.bincount(flat, minlength=self.classes**2).reshape(counts.shape)
        self.candidates += histogram(label, confidence, self.classes)

    def agreement(self, pair: tuple[int, int]) -> tuple[float | None, list[float | None]]:
        """Share of the pixels on which two models agree, and the IoU of each class of their maps."""
        counts = self.pairs[pair]
        same, both = np.diag(counts), counts.sum(0) + counts.sum(1)
        overlap = [float(s / (b - s)) if b > s else None for s, b in zip(same, both, strict=True)]
        return (float(same.sum() / counts.sum()) if counts.sum() else None), overlap
