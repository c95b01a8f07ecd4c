"""What a report shows of two dates, beside what it shows of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.change import ChangeAccuracy

Classes = npt.NDArray[np.uint8]
Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class ChangePanel:
    """The earlier date of a site and what changed since, all on the H×W pixels of its `SitePanel`.

    Attributes:
        valid: H×W bool, False where the earlier image must not be used.
        date: of the earlier image.
        image: H×W×3 uint8, in the same stretch as the later image where one sensor took both.
        label: H×W legend ids, 255 where there is none; so are `map`, `reference` and `updated`.
        map: at the earlier date.
        confidence: H×W uint8, 200·p, 255 where there is none; so is `probability`.
        reference: what the earlier map is scored against.
        probability: of change.
        updated: the old map, mended where it changed.
        decided: where the two dates' maps differ, the place has changed. False: each map was made for itself, and their
            difference is mostly error, which is not drawn.
    """

    valid: npt.NDArray[np.bool_]
    date: str = ""
    image: npt.NDArray[np.uint8] | None = None
    label: Classes | None = None
    map: Classes | None = None
    confidence: Classes | None = None
    reference: Classes | None = None
    probability: Classes | None = None
    updated: Classes | None = None
    decided: bool = True

    def __post_init__(self) -> None:
        for name in ("label", "map", "confidence", "reference", "probability", "updated"):
            layer = getattr(self, name)
            if layer is not None and (layer.shape != self.valid.shape or layer.dtype != np.uint8):
                raise ValueError(f"{name} is {layer.dtype} {layer.shape}, not uint8 {self.valid.shape}")
        if self.image is not None and (self.image.shape != (*self.valid.shape, 3) or self.image.dtype != np.uint8):
            raise ValueError(f"image is {self.image.dtype} {self.image.shape}, not uint8 {(*self.valid.shape, 3)}")


@dataclass(frozen=True, eq=False)
class ChangeReport:
    """What changed, all sites together.

    Attributes:
        unit: of areas, 'ha' or 'px'.
        areas: K×K, [class before][class after] in the legend's order; the diagonal is what stayed.
        patches: connected areas of one transition.
        patches_of: K×K, how many patches each transition has; None where they were not counted.
        dates: earlier and later date of each site.
        threshold: change probability from which a pixel counts as changed.
        mmu: the minimum mapping unit in words, '' without one.
        dropped_patches: patches below it, which were not taken for change.
        dropped_area: their area.
        accuracy: counts against the truth of both dates.
        reference: what the truth is and where it was used, in words.
    """

    unit: str
    areas: Table
    patches: int
    patches_of: tuple[tuple[int, ...], ...] | None = None
    dates: tuple[tuple[str, str], ...] = ()
    threshold: float | None = None
    mmu: str = ""
    dropped_patches: int = 0
    dropped_area: float = 0.0
    accuracy: ChangeAccuracy | None = None
    reference: str = ""

    @property
    def total(self) -> float:
        """Area mapped at both dates."""
        return sum(map(sum, self.areas))

    @property
    def changed(self) -> float:
        """Area whose class differs."""
        return sum(area for i, row in enumerate(self.areas) for j, area in enumerate(row) if i != j)

    @property
    def when(self) -> tuple[str, str]:
        """Earlier and later date in words, as far as all sites share them."""
        pairs = set(self.dates)
        before, after = pairs.pop() if len(pairs) == 1 else ("", "")
        return before or "before", after or "after"
