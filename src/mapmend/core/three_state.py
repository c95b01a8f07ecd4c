"""Thresholds that make a three-state map of one class: class, not class, cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from mapmend.core.classes import NODATA
from mapmend.core.errors import ModelError
from mapmend.core.stored import STEPS

CLASS, NOT_CLASS, CANNOT_TELL = 1, 0, 2
RISKS = (0.01, 0.02, 0.05, 0.1, 0.2)  # for which a model's card has thresholds
Method = Literal["bootstrap", "t", "betting"]

States = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ThreeState:
    """Thresholds on a class's stored probability, and what is promised of them.

    With probability 1 - δ over the draw of the calibration blocks, of the pixels called the class a share of at most α
    is not the class, and (a promise of its own, at its own δ) of the pixels called not the class a share of at most
    `omission` is. Both hold for maps of places like the calibration blocks, and for no others.

    Attributes:
        upper: steps from here on are called the class; None: no threshold can be promised and nothing is.
        lower: steps below are called not the class; None: nothing is.
        alpha: the largest share of false "class".
        omission: the largest share of false "not class".
        delta: risk that a promise does not hold.
        method: bootstrap, t or betting.
        blocks: blocks of the calibration.
        pixels: their pixels.
        abstains: share of these pixels that are neither.
        commission: share of false "class" among them; None where nothing is called so.
        false_omission: share of false "not class" among them; None where nothing is called so.
    """

    upper: int | None
    lower: int | None
    alpha: float
    omission: float
    delta: float
    method: Method
    blocks: int
    pixels: int
    abstains: float
    commission: float | None
    false_omission: float | None

    @property
    def promised(self) -> bool:
        """Whether both thresholds are."""
        return self.upper is not None and self.lower is not None

    def states(self, steps: npt.NDArray[np.uint8]) -> States:
        """1 class, 0 not class, 2 cannot tell, 255 where the stored probability is 255."""
        table = np.full(256, CANNOT_TELL, np.uint8)
        if self.lower is not None:
            table[: self.lower] = NOT_CLASS
        if self.upper is not None:
            table[self.upper :] = CLASS
        table[STEPS + 1 :] = NODATA
        found: States = table[steps]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a model's card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], *, where: str | None = None) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            ModelError: a key is missing or unknown, or thresholds that make no sense.
        """
        names = {one.name for one in fields(cls)}
        if set(plain) != names:
            wrong = ", ".join(sorted(names ^ set(plain)))
            raise ModelError(f"a three-state map's thresholds with missing or unknown keys: {wrong}", where=where)
        found = cls(**plain)
        limits = [limit for limit in (found.lower, found.upper) if limit is not None]
        if not all(isinstance(limit, int) and 0 <= limit <= STEPS + 1 for limit in limits) or limits != sorted(limits):
            raise ModelError(f"thresholds {found.lower} and {found.upper} of a three-state map", where=where)
        return found
