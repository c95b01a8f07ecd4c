"""Which strata the units of a sample stand for, and which estimator that asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mapmend.accuracy.design import SampleDesign
from mapmend.assessing.inference import Bool, Floats, Ints
from mapmend.core.errors import SampleError

_AGREE = 1e-6  # relative, between areas that were rounded where they were written down

MATCHED, OWN, AFTER, NONE = "map classes", "of the design", "map classes, after the draw", "none"


@dataclass(frozen=True)
class Frame:
    """How a sample's units are weighted.

    Attributes:
        form: key of `inference.FORMS`.
        strata: in words.
        stratum: n, of every point.
        sizes: H.
        names: H, of the strata.
        possible: H×K, whether the map has the class in the stratum; None: all may be.
    """

    form: str
    strata: str
    stratum: Ints
    sizes: Floats
    names: tuple[str, ...]
    possible: Bool | None


def frame_of(
    design: SampleDesign,
    stratum: Ints,
    mapped: Ints,
    answered: Bool,
    class_pixels: Sequence[int],
    class_areas: Sequence[float] | None,
) -> Frame:
    """The frame of a sample on a map.

    Args:
        design: how it was drawn.
        stratum: n, index of each point's stratum in the design.
        mapped: n, index of its class in the map.
        answered: n, whether it has an answer.
        class_pixels: K, of the map.
        class_areas: K, of the map, in any unit; None where the map is not of the design's population.
    """
    names, sizes = tuple(one.name for one in design.strata), np.array(design.sizes)
    if design.kind == "cluster":
        return Frame("clusters", OWN if len(names) > 1 else NONE, stratum, sizes, names, None)
    if design.kind in ("simple", "systematic"):
        present = np.flatnonzero(np.array(class_pixels) > 0)
        counts = np.bincount(mapped[answered], minlength=len(class_pixels))
        if class_areas is None or len(present) < 2 or (counts[present] < 2).any():
            return Frame("plain", NONE, stratum, sizes, names, None)
        place = np.zeros(len(class_pixels), np.intp)
        place[present] = np.arange(len(present))
        areas = np.array(class_areas)[present]
        possible = np.eye(len(class_pixels), dtype=bool)[present]
        after = tuple(design.classes[k] for k in present)
        return Frame("post", AFTER, place[mapped], sizes.sum() * areas / areas.sum(), after, possible)
    possible = possible_classes(design, stratum, mapped, class_pixels, design.classes)
    matched = bool((possible.sum(axis=1) == 1).all() and (possible.sum(axis=0) <= 1).all())
    return Frame(*(("matched", MATCHED) if matched else ("stratified", OWN)), stratum, sizes, names, possible)


def possible_classes(
    design: SampleDesign, stratum: Ints, mapped: Ints, class_pixels: Sequence[int], names: Sequence[str] = ()
) -> Bool:
    """Whether the map has a class in a stratum, H×K, as far as the sample and the sizes tell.

    If all points of some strata are mapped as one class, and these strata together have exactly as many pixels as the
    class has in the map, they are the class: it is nowhere else, and nothing else is there. A stratum without points
    is taken for the class of its name, if `names` has it.
    """
    pixels = np.array([one.pixels for one in design.strata], float)
    own = np.full(pixels.size, -1)
    for h, one in enumerate(design.strata):
        seen = np.unique(mapped[stratum == h])
        if seen.size == 1:
            own[h] = seen[0]
        elif seen.size == 0 and one.name in names:
            own[h] = names.index(one.name)
    possible = np.ones((pixels.size, len(class_pixels)), bool)
    for k, total in enumerate(class_pixels):
        mine = own == k
        if abs(pixels[mine].sum() - total) <= _AGREE * total:
            possible[~mine, k] = False
            possible[mine] = False
            possible[mine, k] = True
    return possible


def check_strata(design: SampleDesign, ids: Ints, stratum: Ints, mapped: Ints, class_pixels: Sequence[int]) -> None:
    """Refuse points that lie in another class than their stratum, where the strata are the classes of this very map.

    It is so where strata that bear names of classes all have as many pixels as these.

    Raises:
        SampleError: there are such.
    """
    own = np.array([design.classes.index(one.name) if one.name in design.classes else -1 for one in design.strata])
    if any(one.pixels != class_pixels[k] for one, k in zip(design.strata, own, strict=True) if k >= 0):
        return
    wrong = (own[stratum] >= 0) & (mapped != own[stratum])
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise SampleError(
            f"point {ids[at]} is in stratum '{design.strata[stratum[at]].name}', and the map says "
            f"'{design.classes[mapped[at]]}' there ({int(wrong.sum())} points)",
            fix="keep each point's stratum and coordinates as they were drawn",
        )
