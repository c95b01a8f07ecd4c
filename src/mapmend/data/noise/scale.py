"""Labels of another scale: large pixels, or no object below a minimum mapping unit."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy import ndimage

from mapmend.core.legend import NODATA
from mapmend.core.settings import settings
from mapmend.data.noise.injecting import Truth, injector
from mapmend.data.noise.objects import class_around, objects_of

_ROUNDS = 20  # of generalisation: each joins small objects, which may be too small still


@injector("coarse")
@settings
class Coarse:
    """Large pixels, each of the class that most of it has.

    Attributes:
        block: side of a large pixel.
        misplaced: whether the large pixels lie half of one further down and right than where they say.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    block: Annotated[int, Field(ge=2)] = 10
    misplaced: bool = True

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """Of equally common classes the first; a large pixel that saw no label leaves what is there."""
        label, side = truth.label, self.block
        offset = side // 2 if self.misplaced else 0
        cells = tuple(-(-size // side) for size in label.shape)
        beyond = [(0, count * side + offset - size) for count, size in zip(cells, label.shape, strict=True)]
        seen = np.pad(label, beyond, mode="edge")[offset:, offset:]
        most, winner = np.zeros(cells, np.int64), np.full(cells, NODATA, np.uint8)
        for index in np.unique(label[label != NODATA]).tolist():
            votes = (seen == index).reshape(cells[0], side, cells[1], side).sum((1, 3))
            winner = np.where(votes > most, np.uint8(index), winner)
            most = np.maximum(most, votes)
        large = winner.repeat(side, 0).repeat(side, 1)[: label.shape[0], : label.shape[1]]
        return np.where(large == NODATA, label, large), None


@injector("mmu")
@settings
class MinimumMappingUnit:
    """No object below a size: small ones carry the class around them.

    Attributes:
        pixels: the smallest object that is mapped.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    pixels: Annotated[int, Field(ge=2)] = 100

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """The smallest first, until none is left that has a neighbour."""
        out = truth.label.copy()
        for _ in range(_ROUNDS):
            if not _join_small(out, self.pixels):
                break
        return out, None


def _join_small(label: np.ndarray, least: int) -> bool:
    """Give every object below a size its neighbours' class, in place; whether any was."""
    found = []
    for index in np.unique(label[label != NODATA]).tolist():
        ids, _ = ndimage.label(label == index)
        small = np.bincount(ids.ravel()) < least
        small[0] = False
        found += [(index, places) for places in objects_of(small[ids])]
    joined = False
    for index, places in sorted(found, key=lambda one: one[1][0].size):
        around = class_around(label, places, index)
        if around is not None and (label[places] == index).all():
            label[places] = around
            joined = True
    return joined
