"""What decides about a change, and which changes are too small to be kept."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mapmend.core.errors import GridError, ProjectError
from mapmend.core.grid import Grid
from mapmend.core.settings import settings

_ROUNDING = 1e-9  # of an area that is a sum of pixels'


@settings
class ChangeSettings:
    """Settings of a change job.

    Attributes:
        threshold: change probability from which on a pixel whose classes differ counts as changed.
        mmu_ha: minimum mapping unit in hectares; smaller patches become unchanged. None: none.
        mmu_pixels: the same in pixels, where hectares are unknown.
        old: the old map that changes are put into; empty: the site's old label if it has one, else the earlier map.
    """

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    mmu_ha: Annotated[float, Field(gt=0)] | None = None
    mmu_pixels: Annotated[int, Field(ge=1)] | None = None
    old: str = ""

    def __post_init__(self) -> None:
        if self.mmu_ha is not None and self.mmu_pixels is not None:
            raise ProjectError("mmu_ha and mmu_pixels are both given", where="change", fix="give one of them")

    @property
    def mmu(self) -> str:
        """The minimum mapping unit as a reader writes it; empty for none."""
        if self.mmu_ha is not None:
            return f"{self.mmu_ha:g} ha"
        return f"{self.mmu_pixels} px" if self.mmu_pixels is not None else ""

    def check_unit(self, grid: Grid, where: str) -> None:
        """Refuse hectares on a grid without a place on Earth.

        Raises:
            GridError: it has no CRS, and the minimum mapping unit is in hectares.
        """
        if self.mmu_ha is not None and grid.crs is None:
            raise GridError("has no CRS, so hectares are unknown", where=where, fix="use mmu_pixels instead of mmu_ha")

    def keeps(self, pixels: npt.NDArray[np.int64], areas: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which patches reach the minimum mapping unit, by their pixels and their areas in hectares."""
        if self.mmu_ha is not None:
            return areas >= self.mmu_ha * (1 - _ROUNDING)
        return pixels >= (self.mmu_pixels or 1)
