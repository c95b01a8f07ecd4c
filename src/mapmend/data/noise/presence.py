"""Objects that a label does not have, and objects that only the label has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy import ndimage

from mapmend.core.legend import NODATA
from mapmend.core.settings import settings
from mapmend.data.noise.injecting import Truth, injector
from mapmend.data.noise.objects import Places, class_around, objects_of, part_of, smaller_classes, take

Rate = Annotated[float, Field(ge=0, le=1)]
Index = Annotated[int, Field(ge=0, le=254)]

_DRAWN = tuple(step / 10 for step in range(7))
_TRIES = 400  # places that are tried for copies of a class's objects before what is left goes wherever there is room


@injector("missing")
@settings
class MissingObjects:
    """Objects that were not mapped: what surrounds them covers them.

    Attributes:
        rate: share of a class's pixels whose objects are missing; None draws one of 0, .1, … .6 for each label.
        classes: whose objects; all but the commonest class where none is named.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    rate: Rate | None = None
    classes: tuple[Index, ...] = ()

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """Objects at random, class by class, up to the rate."""
        label, out = truth.label, truth.label.copy()
        rate = float(rng.choice(_DRAWN)) if self.rate is None else self.rate
        for index in smaller_classes(label, self.classes):
            own = label == index
            for places in take(objects_of(own, rng), rate, int(own.sum()), rng):
                cover = class_around(label, places, index, anywhere=True)
                if cover is not None:
                    out[places] = cover
        return out, rate


@injector("false")
@settings
class FalseObjects:
    """Objects that are not there: copies of others, turned and put where the class is not.

    Attributes:
        rate: their pixels as a share of the class's true ones.
        classes: whose objects; all but the commonest class where none is named.
    """

    measures: ClassVar[Literal["gained"]] = "gained"
    rate: Rate = 0.2
    classes: tuple[Index, ...] = ()

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """As many as make the rate, as far as there is room."""
        label, out = truth.label, truth.label.copy()
        for index in smaller_classes(label, self.classes):
            models = objects_of(label == index, rng)
            _add(out, label, index, models, round(self.rate * int((label == index).sum())), rng)
        return out, self.rate


def _add(
    out: np.ndarray, label: np.ndarray, index: int, models: Sequence[Places], count: int, rng: np.random.Generator
) -> None:
    """Put `count` pixels of a class into `out`: copies that touch neither the class nor each other, then the rest."""
    free = (label != NODATA) & (out == label)
    clear = free & ~ndimage.binary_dilation(label == index)
    for _ in range(_TRIES):
        if not count:
            return
        rows, cols = _placed(models[int(rng.integers(len(models)))], label.shape, rng)
        if rows.size > count:
            rows, cols = part_of((rows, cols), count, rng)
        if rows.size and clear[rows, cols].all():
            out[rows, cols] = index
            clear[_around(rows, label.shape[0]), _around(cols, label.shape[1])] = False
            count -= rows.size
    usual = int(np.median([rows.size for rows, _ in models]))
    free &= (out == label) & (label != index)
    while count and free.any():
        rows, cols = np.nonzero(free)
        seed = rng.integers(rows.size)
        nearest = np.argsort((rows - rows[seed]) ** 2 + (cols - cols[seed]) ** 2, kind="stable")[: min(count, usual)]
        out[rows[nearest], cols[nearest]] = index
        free[rows[nearest], cols[nearest]] = False
        count -= nearest.size


def _placed(model: Places, shape: tuple[int, ...], rng: np.random.Generator) -> Places:
    """An object turned by quarters, maybe mirrored, and put somewhere; only what lies inside."""
    rows, cols = model[0] - model[0].min(), model[1] - model[1].min()
    if rng.integers(2):
        rows = rows.max() - rows
    if rng.integers(2):
        cols = cols.max() - cols
    if rng.integers(2):
        rows, cols = cols, rows
    rows = rows + rng.integers(-int(rows.max()) // 2, shape[0])
    cols = cols + rng.integers(-int(cols.max()) // 2, shape[1])
    inside = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    return rows[inside], cols[inside]


def _around(places: np.ndarray, size: int) -> slice:
    return slice(max(int(places.min()) - 1, 0), min(int(places.max()) + 2, size))
