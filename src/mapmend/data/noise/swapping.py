"""The right objects under the wrong names: classes swapped, merged, split."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from mapmend.core.errors import ProjectError
from mapmend.core.legend import NODATA
from mapmend.core.settings import settings
from mapmend.data.noise.injecting import Truth, injector
from mapmend.data.noise.objects import objects_of, take

Rate = Annotated[float, Field(ge=0, le=1)]
Index = Annotated[int, Field(ge=0, le=254)]


@injector("swap")
@settings
class Swap:
    """Whole objects carry another class.

    Attributes:
        rate: share of every class's pixels; any other class is as likely as the next.
        matrix: K×K, P(label | truth), which stands in for the rate; rows sum to one.

    Raises:
        ProjectError: a row that does not sum to one, or a matrix that is not square.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    rate: Rate = 0.2
    matrix: tuple[tuple[Rate, ...], ...] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.matrix, start=1):
            if len(row) != len(self.matrix) or abs(sum(row) - 1) > 1e-3:
                raise ProjectError(
                    f"row {number} of the matrix has {len(row)} values that sum to {sum(row):.4g}",
                    fix="give K rows of K shares that sum to one",
                )

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, float | None]:
        """Objects at random, class by class, up to the rate.

        Raises:
            ProjectError: the matrix is of another number of classes.
        """
        if self.matrix and len(self.matrix) != truth.classes:
            raise ProjectError(f"matrix of {len(self.matrix)} classes for a legend of {truth.classes}", where="swap")
        label, out = truth.label, truth.label.copy()
        for index in np.unique(label[label != NODATA]).tolist():
            own = label == index
            total = int(own.sum())
            others = [other for other in range(truth.classes) if other != index]
            if not self.matrix and others:
                for places in take(objects_of(own, rng), self.rate, total, rng):
                    out[places] = rng.choice(others)
            for other in others if self.matrix else ():
                left = own & (out == index)
                for places in take(objects_of(left, rng), self.matrix[index][other], total, rng):
                    out[places] = other
        return out, None if self.matrix else self.rate


@injector("merge")
@settings
class Merge:
    """A legend with fewer classes: some carry the name of others.

    Attributes:
        pairs: (class, the one whose name it carries); where none is given, the rarest carries the next rarest's.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    pairs: tuple[tuple[Index, Index], ...] = ()

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """All of them."""
        order = _by_size(truth.label)
        pairs = self.pairs or ((order[0], order[1]),) if len(order) > 1 else self.pairs
        out = truth.label.copy()
        for one, other in pairs:
            out[truth.label == one] = other
        return out, None


@injector("split")
@settings
class Split:
    """A legend with other borders: some objects of a class belong to another one there.

    Attributes:
        pairs: (class, the one that some of its objects go to); where none is given, from the commonest to the rarest.
        rate: share of the class's pixels.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    pairs: tuple[tuple[Index, Index], ...] = ()
    rate: Rate = 0.5

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """Objects at random."""
        order = _by_size(truth.label)
        pairs = self.pairs or ((order[-1], order[0]),) if len(order) > 1 else self.pairs
        out = truth.label.copy()
        for one, other in pairs:
            own = truth.label == one
            for places in take(objects_of(own, rng), self.rate, int(own.sum()), rng):
                out[places] = other
        return out, self.rate


def _by_size(label: np.ndarray) -> list[int]:
    """Classes that are present, the rarest first."""
    counts = np.bincount(label[label != NODATA].ravel(), minlength=1)
    return [int(index) for index in np.argsort(counts, kind="stable") if counts[index]]
